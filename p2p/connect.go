package p2p

import (
	"context"
	"slices"
	"sync"
	"time"

	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/p2p/protocol/holepunch"
	ma "github.com/multiformats/go-multiaddr"
	manet "github.com/multiformats/go-multiaddr/net"
)

// Connect makes sure that there is a connection, a relayed one if there is no
// other way yet.
func (h *Host) Connect(ctx context.Context, to peer.AddrInfo) error {
	if !h.Linked(to.ID) {
		if relays := relaysOf(to.Addrs); len(relays) > 0 {
			h.punch.prepare(ctx, h, relays)
		}
	}
	return h.Host.Connect(network.WithAllowLimitedConn(ctx, "moyai"), to)
}

// Linked reports a connection to a peer, direct or relayed.
func (h *Host) Linked(id peer.ID) bool {
	c := h.Network().Connectedness(id)
	return c == network.Connected || c == network.Limited
}

// Direct reports a connection to a peer that no relay carries.
func (h *Host) Direct(id peer.ID) bool { return h.Network().Connectedness(id) == network.Connected }

// punch sees to it that this host can take part in punching before the first
// relayed connection is made.
//
// Whoever is dialled through a relay tries to punch as soon as the connection
// stands, and only then. A host that has just started does not know yet under
// which address its router shows it, so it does not speak the protocol, and the
// one attempt is lost. The relay tells it.
type punch struct {
	mu    sync.Mutex
	ready bool // or waited for in vain once
}

// punchWait bounds the wait for a relay to say under which address it sees us.
const punchWait = 2 * time.Second

func (p *punch) prepare(ctx context.Context, h *Host, relays []peer.AddrInfo) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.ready || !anyPublic(relays) { // within a private network nothing is punched
		return
	}
	ctx, cancel := context.WithTimeout(ctx, punchWait)
	defer cancel()
	met := false
	for _, r := range relays {
		met = h.Host.Connect(ctx, r) == nil || met
	}
	if !met {
		return // nobody to ask; the next peer may stand behind a relay that answers
	}
	for !slices.Contains(h.Mux().Protocols(), holepunch.Protocol) {
		select {
		case <-ctx.Done():
			p.ready = true
			return
		case <-time.After(10 * time.Millisecond):
		}
	}
	p.ready = true
}

func anyPublic(peers []peer.AddrInfo) bool {
	return slices.ContainsFunc(peers, func(p peer.AddrInfo) bool { return slices.ContainsFunc(p.Addrs, manet.IsPublicAddr) })
}

// relaysOf are the relays that addresses lead through, if all of them do: a
// peer with an address of its own needs no punching.
func relaysOf(addrs []ma.Multiaddr) (relays []peer.AddrInfo) {
	for _, a := range addrs {
		before, after := ma.SplitFunc(a, func(c ma.Component) bool { return c.Protocol().Code == ma.P_CIRCUIT })
		if len(after) == 0 {
			if !isNear(a) {
				return nil
			}
			continue
		}
		info, err := peer.AddrInfoFromP2pAddr(before)
		if err != nil {
			continue
		}
		// With all its addresses at once: the one that ranks first is to be dialled.
		if at := slices.IndexFunc(relays, func(r peer.AddrInfo) bool { return r.ID == info.ID }); at >= 0 {
			relays[at].Addrs = append(relays[at].Addrs, info.Addrs...)
			continue
		}
		relays = append(relays, *info)
	}
	return relays
}
