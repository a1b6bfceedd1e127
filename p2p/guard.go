package p2p

import (
	"sync"
	"time"

	"github.com/libp2p/go-libp2p/core/control"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	ma "github.com/multiformats/go-multiaddr"

	"github.com/moyai-network/moyai/p2p/limit"
)

// How much bad behaviour is forgiven: maxStrikes within strikeWindow, and the
// peer is disconnected and kept away for banTime. One strike may be a bug of an
// old version; four in a minute are not an accident.
const (
	maxStrikes   = 4
	strikeWindow = time.Minute
	banTime      = 5 * time.Minute
)

// Strike records that a peer broke a protocol. After repeated strikes it is
// disconnected and its connections are refused for some minutes. Roles call it
// too, for what only they can judge, such as a bid with a wrong signature.
func (h *Host) Strike(p peer.ID, why error) {
	banned := h.guard.strike(p)
	h.log.Warn("peer broke protocol", "peer", p, "why", why, "banned", banned)
}

// Banned reports whether p is being kept away.
func (h *Host) Banned(p peer.ID) bool { return h.guard.banned(p) }

// guard counts strikes and is the host's connection gater.
type guard struct {
	now        func() time.Time
	disconnect func(peer.ID)

	mu      sync.Mutex
	records *limit.Table[peer.ID, *record]
}

type record struct {
	strikes     int
	since       time.Time
	bannedUntil time.Time
}

func newGuard(now func() time.Time) *guard {
	return &guard{now: now, disconnect: func(peer.ID) {}, records: limit.NewTable[peer.ID, *record](maxTrackedPeers)}
}

func (g *guard) strike(p peer.ID) (banned bool) {
	g.mu.Lock()
	now := g.now()
	r, ok := g.records.Get(p)
	if !ok {
		r = &record{since: now}
		g.records.Put(p, r)
	}
	if now.Sub(r.since) > strikeWindow {
		r.strikes, r.since = 0, now
	}
	r.strikes++
	if banned = r.strikes >= maxStrikes; banned {
		r.bannedUntil = now.Add(banTime)
	}
	g.mu.Unlock()
	if banned {
		// Not under the lock, and not on the caller's goroutine: closing waits for
		// streams, one of which may be the caller's.
		go g.disconnect(p)
	}
	return banned
}

func (g *guard) banned(p peer.ID) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	r, ok := g.records.Get(p)
	return ok && g.now().Before(r.bannedUntil)
}

// The gater's methods: only who it is matters here, addresses do not.

// InterceptPeerDial implements connmgr.ConnectionGater.
func (g *guard) InterceptPeerDial(p peer.ID) bool { return !g.banned(p) }

// InterceptAddrDial implements connmgr.ConnectionGater.
func (g *guard) InterceptAddrDial(peer.ID, ma.Multiaddr) bool { return true }

// InterceptAccept implements connmgr.ConnectionGater.
func (g *guard) InterceptAccept(network.ConnMultiaddrs) bool { return true }

// InterceptSecured implements connmgr.ConnectionGater: the first moment at which
// the peer's identity is proven.
func (g *guard) InterceptSecured(_ network.Direction, p peer.ID, _ network.ConnMultiaddrs) bool {
	return !g.banned(p)
}

// InterceptUpgraded implements connmgr.ConnectionGater.
func (g *guard) InterceptUpgraded(network.Conn) (bool, control.DisconnectReason) { return true, 0 }
