package discovery

import (
	"context"
	"errors"

	dht_pb "github.com/libp2p/go-libp2p-kad-dht/pb"
	"github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/protocol"

	"github.com/moyai-network/moyai/p2p"
)

// Bounds of one message, in bytes: a question holds at most a node record, an
// answer that and twenty peers with their addresses.
const (
	maxQuestion = 16 << 10
	maxAnswer   = 160 << 10
)

// guarded is a host as the DHT sees it: strangers' streams pass the host's guard
// and rate limits, and no message is read that is longer than it may be. The DHT
// by itself would make room for 4 MiB each.
type guarded struct {
	host.Host
	guard *p2p.Host
}

// SetStreamHandler implements host.Host.
func (g guarded) SetStreamHandler(id protocol.ID, fn network.StreamHandler) {
	g.guard.HandleRaw(id, func(s network.Stream) { fn(&bounded{Stream: s, most: maxQuestion}) })
}

// NewStream implements host.Host.
func (g guarded) NewStream(ctx context.Context, p peer.ID, ids ...protocol.ID) (network.Stream, error) {
	s, err := g.Host.NewStream(ctx, p, ids...)
	if err != nil {
		return nil, err
	}
	return &bounded{Stream: s, most: maxAnswer}, nil
}

var errTooLong = errors.New("message is longer than allowed here")

// bounded is a stream of messages, each behind its length as a varint. It fails
// at the length of one that is too long, before anybody makes room for it.
type bounded struct {
	network.Stream
	most int

	left   int // bytes of the present message still to come
	prefix int // of its length, as far as read
	shift  int
}

// Read implements io.Reader.
func (b *bounded) Read(p []byte) (int, error) {
	n, err := b.Stream.Read(p)
	if !b.within(p[:n]) {
		_ = b.Reset()
		return 0, errTooLong
	}
	return n, err
}

func (b *bounded) within(data []byte) bool {
	for len(data) > 0 {
		if b.left > 0 {
			n := min(b.left, len(data))
			b.left -= n
			data = data[n:]
			continue
		}
		c := data[0]
		data = data[1:]
		if b.shift > 21 { // four bytes of prefix reach 256 MiB
			return false
		}
		b.prefix |= int(c&0x7f) << b.shift
		if c&0x80 != 0 {
			b.shift += 7
			continue
		}
		if b.prefix > b.most {
			return false
		}
		b.left, b.prefix, b.shift = b.prefix, 0, 0
	}
	return true
}

// refuse strikes whoever wants something stored that has no place here. The
// store would refuse it, too.
func (f *Finder) refuse(_ context.Context, s network.Stream, m *dht_pb.Message) {
	var ok bool
	switch m.GetType() {
	case dht_pb.Message_ADD_PROVIDER:
		ok = isRoleKey(m.GetKey())
	case dht_pb.Message_PUT_VALUE:
		_, _, err := splitNodeKey(string(m.GetKey()))
		ok = err == nil
	default:
		ok = true
	}
	if !ok {
		f.host.Strike(s.Conn().RemotePeer(), errors.New("asked the DHT to keep what is neither a node record nor a role"))
		_ = s.Reset()
		m.Key = nil // which the DHT refuses
	}
}
