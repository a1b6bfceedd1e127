package gossip

import "github.com/libp2p/go-libp2p/core/peer"

// Neighbours are the peers to which this host relays.
func (o *Orders) Neighbours() []peer.ID { return o.topic.ListPeers() }
