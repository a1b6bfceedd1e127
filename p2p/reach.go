package p2p

import (
	"context"
	"slices"
	"time"

	"github.com/libp2p/go-libp2p/core/event"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/p2p/host/basic"
	"github.com/libp2p/go-libp2p/p2p/host/eventbus"
	ma "github.com/multiformats/go-multiaddr"
	manet "github.com/multiformats/go-multiaddr/net"
)

// Reach is how others get to a host.
type Reach string

const (
	// ReachDirect: under a public address of its own, or one that a router is set
	// up by hand to forward. What its owner announces is taken for that.
	ReachDirect Reach = "direct"
	// ReachMapped: the router forwards a port because the host asked it to (UPnP,
	// NAT-PMP).
	ReachMapped Reach = "mapped"
	// ReachRelayed: through relays, and by punching from there.
	ReachRelayed Reach = "relayed"
	// ReachNearby: from its own network only.
	ReachNearby Reach = "nearby"
)

// Reach tells how others get to this host, as far as it knows. With Config.Probe
// other hosts have been asked to try (AutoNAT v2); before they have, a public
// address is believed in.
func (h *Host) Reach() Reach {
	if r, direct := h.direct(); direct {
		return r
	}
	if len(h.reserved.holders()) > 0 {
		return ReachRelayed
	}
	return ReachNearby
}

// direct reports whether strangers can connect to this host without a relay.
func (h *Host) direct() (Reach, bool) {
	if h.announced {
		return ReachDirect, true
	}
	reachable, unreachable := h.confirmed()
	isMapped := func(a ma.Multiaddr) bool { return slices.ContainsFunc(h.mapped(), a.Equal) }
	for _, a := range reachable {
		switch {
		case !manet.IsPublicAddr(a):
		case isMapped(a):
			return ReachMapped, true
		default:
			return ReachDirect, true
		}
	}
	refuted := func(a ma.Multiaddr) bool {
		return !manet.IsPublicAddr(a) || slices.ContainsFunc(unreachable, a.Equal)
	}
	if own, err := h.Network().InterfaceListenAddresses(); err == nil && !every(own, refuted) {
		return ReachDirect, true
	}
	if !every(h.mapped(), refuted) {
		return ReachMapped, true
	}
	return "", false
}

func every(addrs []ma.Multiaddr, is func(ma.Multiaddr) bool) bool {
	return !slices.ContainsFunc(addrs, func(a ma.Multiaddr) bool { return !is(a) })
}

// confirmed are the addresses that others have tried.
func (h *Host) confirmed() (reachable, unreachable []ma.Multiaddr) {
	if c, ok := h.Host.(interface {
		ConfirmedAddrs() (reachable, unreachable, unknown []ma.Multiaddr)
	}); ok && h.probes {
		reachable, unreachable, _ = c.ConfirmedAddrs()
	}
	return reachable, unreachable
}

// mapped are the router's addresses for the ports that this host asked it to
// forward.
func (h *Host) mapped() (out []ma.Multiaddr) {
	h.natMu.Lock()
	nat := h.nat
	h.natMu.Unlock()
	if nat == nil || !nat.HasDiscoveredNAT() {
		return nil
	}
	for _, a := range h.Network().ListenAddresses() {
		if m := nat.GetMapping(a); m != nil {
			out = append(out, m)
		}
	}
	return out
}

// natManager keeps hold of the manager that libp2p makes, to ask it later.
func (h *Host) natManager(n network.Network) basichost.NATManager {
	h.natMu.Lock()
	defer h.natMu.Unlock()
	h.nat = basichost.NewNATManager(n)
	return h.nat
}

// reachLook is how often the verdict is looked at besides libp2p's events.
const reachLook = 5 * time.Second

// watchReach tells the rest of libp2p (the DHT answers questions or does not) and
// those who watch this host's addresses when the verdict changes.
func (h *Host) watchReach(ctx context.Context) {
	emitter, err := h.EventBus().Emitter(new(event.EvtLocalReachabilityChanged), eventbus.Stateful)
	if err != nil {
		h.log.Error("no events about reachability", "err", err)
		return
	}
	defer emitter.Close()
	events, err := h.EventBus().Subscribe([]any{new(event.EvtHostReachableAddrsChanged), new(event.EvtLocalAddressesUpdated)})
	if err != nil {
		h.log.Error("no events about addresses", "err", err)
		return
	}
	defer events.Close()
	look := time.NewTicker(reachLook)
	defer look.Stop()
	last, was := network.Reachability(-1), Reach("")
	for {
		verdict := h.verdict()
		if verdict != last {
			last = verdict
			_ = emitter.Emit(event.EvtLocalReachabilityChanged{Reachability: verdict})
		}
		if r := h.Reach(); r != was {
			h.log.Info("reachable by others", "how", string(r), "before", string(was))
			was = r
			h.reserved.mu.Lock()
			h.reserved.tell()
			h.reserved.mu.Unlock()
		}
		select {
		case <-ctx.Done():
			return
		case <-look.C:
		case <-events.Out():
		}
	}
}

// verdict is the answer for the DHT: a host that nobody reaches must not be among
// those who answer. Within a private network, where nobody has a public address,
// everybody may.
func (h *Host) verdict() network.Reachability {
	if _, direct := h.direct(); direct {
		return network.ReachabilityPublic
	}
	for _, c := range h.Network().Conns() {
		if a := c.RemoteMultiaddr(); !throughRelay(a) && manet.IsPublicAddr(a) {
			return network.ReachabilityPrivate
		}
	}
	return network.ReachabilityUnknown
}
