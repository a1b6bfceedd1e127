package p2p

import (
	"slices"
	"time"

	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/p2p/net/swarm"
	ma "github.com/multiformats/go-multiaddr"
	manet "github.com/multiformats/go-multiaddr/net"
)

// nextDial is how long an address may take before the next best is tried beside it.
const nextDial = 500 * time.Millisecond

// afterNear is the head start of a peer's nearby addresses over its relays: a
// neighbour answers long before, and a stranger's private addresses lead nowhere.
const afterNear = 250 * time.Millisecond

// afterQUIC is the head start of QUIC over TCP to a machine with a public address.
// Holes are punched over whichever of the two both ends speak with their relays:
// if one end got there over QUIC and the other over TCP, only because it was busy
// for a moment, nothing can be punched. Where UDP does not pass, it costs this
// once; libp2p remembers.
const afterQUIC = 2 * time.Second

// rankDials orders a peer's addresses. To a machine nearby (loopback, private
// networks) TCP comes first: there the kernel's TCP moves about 1.4 times as many
// bytes as QUIC in user space, at about half the round trip (see the benchmarks), and
// there is no NAT to punch. To everybody else libp2p's own order holds, QUIC first.
//
// Second choices wait longer than by default: on a busy machine a handshake takes
// longer than the 30 ms libp2p allows nearby, and two connections where one is
// enough cost memory and tear down streams when one is dropped.
func rankDials(addrs []ma.Multiaddr) []network.AddrDelay {
	var near, rest []ma.Multiaddr
	for _, a := range addrs {
		if isNear(a) {
			near = append(near, a)
		} else {
			rest = append(rest, a)
		}
	}
	ranked := swarm.DefaultDialRanker(rest)
	quic := slices.ContainsFunc(rest, func(a ma.Multiaddr) bool { return !throughRelay(a) && nearRank(a) > 0 })
	for i := range ranked {
		if ranked[i].Delay > 0 {
			ranked[i].Delay = max(ranked[i].Delay, nextDial)
		}
		if quic && !throughRelay(ranked[i].Addr) && nearRank(ranked[i].Addr) == 0 {
			ranked[i].Delay = max(ranked[i].Delay, afterQUIC)
		}
		if len(near) > 0 && throughRelay(ranked[i].Addr) {
			ranked[i].Delay = max(ranked[i].Delay, afterNear)
		}
	}
	// Stable: within a transport the peer's own order, loopback usually first.
	slices.SortStableFunc(near, func(a, b ma.Multiaddr) int { return nearRank(a) - nearRank(b) })
	for i, a := range near {
		ranked = append(ranked, network.AddrDelay{Addr: a, Delay: time.Duration(min(i, 2)) * nextDial})
	}
	return ranked
}

func isNear(a ma.Multiaddr) bool {
	if throughRelay(a) {
		return false
	}
	return manet.IsPrivateAddr(a) // loopback and link-local included
}

func throughRelay(a ma.Multiaddr) bool {
	_, err := a.ValueForProtocol(ma.P_CIRCUIT)
	return err == nil
}

func nearRank(a ma.Multiaddr) int {
	if _, err := a.ValueForProtocol(ma.P_TCP); err == nil {
		return 0
	}
	return 1
}
