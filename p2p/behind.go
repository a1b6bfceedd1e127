package p2p

import (
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
	ma "github.com/multiformats/go-multiaddr"
)

// A machine behind a home router accepts no connection. It keeps a reservation
// with a relay and tells others the relay's address with its own name behind it;
// whoever dials that is carried, end to end encrypted, and both ends then try to
// punch a direct connection through their routers (circuit relay v2 and DCUtR
// of the libp2p specifications).
//
// libp2p's own AutoRelay is not used: it announces relays with public addresses
// only, so none inside a private network, and begins only once it believes that
// the host cannot be reached.

const (
	// relayRetry is how soon a relay that was lost, or refused, is asked again.
	relayRetry = 5 * time.Second
	// relayLook is how often a reservation's connection is looked at.
	relayLook = time.Second
	// reserveTimeout bounds one request, dialling included.
	reserveTimeout = 15 * time.Second
)

// reservations keeps a place at each of a host's relays.
type reservations struct {
	relays []peer.AddrInfo
	log    *slog.Logger

	mu    sync.Mutex
	held  map[peer.ID]bool
	watch []chan<- struct{}
}

// ParseRelays reads relays' addresses, each ending in /p2p/ and the relay's name.
func ParseRelays(addrs []string) ([]peer.AddrInfo, error) {
	var out []peer.AddrInfo
	for _, s := range addrs {
		info, err := peer.AddrInfoFromString(s)
		if err != nil || len(info.Addrs) == 0 {
			return nil, fmt.Errorf("relay %q: write it as `moyai relay` prints it, such as /ip4/203.0.113.7/udp/4001/quic-v1/p2p/12D3Koo…", s)
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
	return &reservations{relays: relays, log: log, held: map[peer.ID]bool{}}, nil
}

// circuits are the addresses under which the relays pass connections on.
func (r *reservations) circuits() (out []ma.Multiaddr) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, relay := range r.relays {
		if !r.held[relay.ID] {
			continue
		}
		through := ma.StringCast("/p2p/" + relay.ID.String() + "/p2p-circuit")
		for _, a := range relay.Addrs {
			out = append(out, a.Encapsulate(through))
		}
	}
	return out
}

// set notes whether a relay passes connections on, and tells who watches.
func (r *reservations) set(relay peer.ID, held bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.held[relay] == held {
		return
	}
	r.held[relay] = held
	for _, w := range r.watch {
		select {
		case w <- struct{}{}:
		default:
		}
	}
}

// keep holds a place at one relay until ctx ends.
func (r *reservations) keep(ctx context.Context, h *Host, relay peer.AddrInfo) {
	h.ConnManager().Protect(relay.ID, "relay")
	for {
		until, err := reserve(ctx, h, relay)
		if err == nil {
			r.log.Info("reachable through a relay", "relay", relay.ID)
			r.set(relay.ID, true)
			lost := r.await(ctx, h, relay.ID, until)
			if !lost {
				continue // time to renew: others may go on dialling meanwhile
			}
			err = errors.New("connection lost")
		}
		r.set(relay.ID, false)
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
		}
	}
}

// RelayNews delivers a value each time a relay begins or ceases to pass
// connections on to this host, so that others can be told its new addresses.
func (h *Host) RelayNews() <-chan struct{} {
	news := make(chan struct{}, 1)
	if r := h.reserved; r != nil {
		r.mu.Lock()
		defer r.mu.Unlock()
		r.watch = append(r.watch, news)
	}
	return news
}
