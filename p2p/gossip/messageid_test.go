package gossip_test

import (
	"crypto/sha256"

	pb "github.com/libp2p/go-libp2p-pubsub/pb"
)

// messageID is what every host of the network computes; a stranger must, too, or
// its messages would be told apart differently.
func messageID(m *pb.Message) string {
	sum := sha256.Sum256(m.GetData())
	return string(sum[:20])
}
