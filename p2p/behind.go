package p2p

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/p2p/protocol/circuitv2/client"
	"github.com/libp2p/go-libp2p/p2p/protocol/ping"
	ma "github.com/multiformats/go-multiaddr"
	manet "github.com/multiformats/go-multiaddr/net"
)

// A machine behind a home router accepts no connection. It keeps a reservation
// with a relay and tells others the relay's address with its own name behind it;
// whoever dials that is carried, end to end encrypted, and both ends then try to
// punch a direct connection through their routers (circuit relay v2 and DCUtR
// of the libp2p specifications).
//
// libp2p's own AutoRelay is not used: it announces relays with public addresses
// only, so none inside a private network, and begins only once it believes that
// the host cannot be reached. Which relays are found without being named is in
// seek.go.

const (
	// relayRetry is how soon a named relay that was lost, or refused, is asked again.
	relayRetry = 5 * time.Second
	// relayLook is how often a reservation's connection is looked at.
	relayLook = time.Second
	// relayPing is how often a relay must answer, and within which time: a machine
	// that vanished is noticed long before its connection times out.
	relayPing        = 10 * time.Second
	relayPingTimeout = 5 * time.Second
	// reserveTimeout bounds one request, dialling included.
	reserveTimeout = 15 * time.Second
	// circuitAddrs is how many addresses of one relay are told to others, so that
	// several relays fit into a node's record.
	circuitAddrs = 4
)

// reservations keeps a place at each of a host's relays.
type reservations struct {
	named []peer.AddrInfo // by the owner
	log   *slog.Logger

	mu    sync.Mutex
	held  map[peer.ID]peer.AddrInfo // the relays that pass connections on now
	watch []chan<- struct{}
}

// ParseRelays reads relays' addresses, each ending in /p2p/ and the relay's name.
func ParseRelays(addrs []string) ([]peer.AddrInfo, error) {
	return parsePeers(addrs, "relay %q: write it as `moyai relay` prints it, such as /ip4/203.0.113.7/udp/4001/quic-v1/p2p/12D3Koo…")
}

// ParseBootstrap reads the addresses of peers to ask first, each ending in /p2p/
// and the peer's name.
func ParseBootstrap(addrs []string) ([]peer.AddrInfo, error) {
	return parsePeers(addrs, "bootstrap peer %q: write it like /ip4/203.0.113.7/udp/4001/quic-v1/p2p/12D3Koo…, as `moyai relay` prints its own")
}

func parsePeers(addrs []string, refusal string) ([]peer.AddrInfo, error) {
	var out []peer.AddrInfo
	for _, s := range addrs {
		info, err := peer.AddrInfoFromString(s)
		if err != nil || len(info.Addrs) == 0 {
			return nil, fmt.Errorf(refusal, s)
		}
		if at := slices.IndexFunc(out, func(i peer.AddrInfo) bool { return i.ID == info.ID }); at >= 0 {
			out[at].Addrs = append(out[at].Addrs, info.Addrs...)
			continue
		}
		out = append(out, *info)
	}
	return out, nil
}

func newReservations(addrs []string, log *slog.Logger) (*reservations, error) {
	relays, err := ParseRelays(addrs)
	if err != nil {
		return nil, err
	}
	return &reservations{named: relays, log: log, held: map[peer.ID]peer.AddrInfo{}}, nil
}

// circuits are the addresses under which the relays pass connections on.
func (r *reservations) circuits() (out []ma.Multiaddr) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for id, relay := range r.held {
		through := ma.StringCast("/p2p/" + id.String() + "/p2p-circuit")
		for _, a := range bestAddrs(relay.Addrs, circuitAddrs) {
			out = append(out, a.Encapsulate(through))
		}
	}
	return out
}

// bestAddrs are at most n of a relay's addresses, public ones first.
func bestAddrs(addrs []ma.Multiaddr, n int) []ma.Multiaddr {
	addrs = slices.Clone(addrs)
	slices.SortStableFunc(addrs, func(a, b ma.Multiaddr) int { return cmp.Compare(nearness(a), nearness(b)) })
	return addrs[:min(n, len(addrs))]
}

func nearness(a ma.Multiaddr) int {
	switch {
	case manet.IsPublicAddr(a):
		return 0
	case manet.IsIPLoopback(a):
		return 2
	}
	return 1
}

// set notes whether a relay passes connections on, and tells who watches.
func (r *reservations) set(relay peer.AddrInfo, held bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if _, was := r.held[relay.ID]; was == held {
		return
	}
	if held {
		r.held[relay.ID] = relay
	} else {
		delete(r.held, relay.ID)
	}
	r.tell()
}

// tell wakes who watches; r.mu is held.
func (r *reservations) tell() {
	for _, w := range r.watch {
		select {
		case w <- struct{}{}:
		default:
		}
	}
}

func (r *reservations) holders() (ids []peer.ID) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for id := range r.held {
		ids = append(ids, id)
	}
	slices.Sort(ids)
	return ids
}

func (r *reservations) holds(relay peer.ID) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	_, held := r.held[relay]
	return held
}

// keep holds a place at a named relay until ctx ends.
func (r *reservations) keep(ctx context.Context, h *Host, relay peer.AddrInfo) {
	for {
		err := r.hold(ctx, h, relay, func() bool { return true })
		if ctx.Err() != nil {
			return
		}
		r.log.Warn("not reachable through a relay", "relay", relay.ID, "err", err)
		select {
		case <-ctx.Done():
			return
		case <-time.After(relayRetry):
		}
	}
}

// hold holds a place at one relay until the relay is lost, or refuses, or a
// reservation is due to be renewed that is not needed any more.
func (r *reservations) hold(ctx context.Context, h *Host, relay peer.AddrInfo, needed func() bool) error {
	h.ConnManager().Protect(relay.ID, "relay")
	defer h.ConnManager().Unprotect(relay.ID, "relay")
	defer r.set(relay, false)
	for needed() {
		until, err := reserve(ctx, h, relay)
		if err != nil {
			return err
		}
		// Nobody is told before both ends can punch: there is one attempt.
		h.punch.prepare(ctx, h, []peer.AddrInfo{relay})
		r.log.Info("reachable through a relay", "relay", relay.ID)
		r.set(relay, true)
		// When it is time to renew, others may go on dialling meanwhile.
		if lost := r.await(ctx, h, relay.ID, until); lost {
			return errRelayLost
		}
	}
	return nil
}

var errRelayLost = errors.New("connection lost")

func reserve(ctx context.Context, h *Host, relay peer.AddrInfo) (until time.Time, err error) {
	ctx, cancel := context.WithTimeout(ctx, reserveTimeout)
	defer cancel()
	if err := h.Connect(ctx, relay); err != nil {
		return until, err
	}
	reservation, err := client.Reserve(ctx, h.Host, peer.AddrInfo{ID: relay.ID})
	if err != nil {
		return until, err
	}
	return reservation.Expiration, nil
}

// await returns when a reservation should be renewed, or with true once the relay
// is gone.
func (r *reservations) await(ctx context.Context, h *Host, relay peer.ID, until time.Time) (lost bool) {
	renew := time.NewTimer(max(time.Until(until)/2, relayRetry))
	defer renew.Stop()
	look := time.NewTicker(relayLook)
	defer look.Stop()
	ask := time.NewTicker(relayPing)
	defer ask.Stop()
	for {
		select {
		case <-ctx.Done():
			return true
		case <-renew.C:
			return false
		case <-look.C:
			if h.Network().Connectedness(relay) != network.Connected {
				return true
			}
		case <-ask.C:
			if !h.answers(ctx, relay) && ctx.Err() == nil {
				// Or the next attempt would take the dead connection for a living one.
				_ = h.Network().ClosePeer(relay)
				return true
			}
		}
	}
}

// answers pings a peer, once more if the first is lost.
func (h *Host) answers(ctx context.Context, id peer.ID) bool {
	for range 2 {
		ctx, cancel := context.WithTimeout(network.WithNoDial(ctx, "ping"), relayPingTimeout)
		res := <-ping.Ping(ctx, h.Host, id)
		cancel()
		if res.Error == nil && res.RTT > 0 {
			return true
		}
	}
	return false
}

// RelayNews delivers a value each time the ways to this host have changed: a relay
// begins or ceases to pass connections on, or a router does. Others can then be
// told its new addresses.
func (h *Host) RelayNews() <-chan struct{} {
	news := make(chan struct{}, 1)
	if r := h.reserved; r != nil {
		r.mu.Lock()
		defer r.mu.Unlock()
		r.watch = append(r.watch, news)
	}
	return news
}
