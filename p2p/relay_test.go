package p2p_test

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/moyai-network/moyai/p2p"
	"github.com/moyai-network/moyai/p2p/p2ptest"
)

// fullAddrs are a host's addresses with its name, as `moyai relay` prints them.
func fullAddrs(h *p2p.Host) (out []string) {
	for _, a := range h.AddrStrings() {
		out = append(out, a+"/p2p/"+h.ID().String())
	}
	return out
}

func isRelay(limits p2p.RelayLimits) func(*p2p.Config) {
	return func(c *p2p.Config) { c.Relay = &limits }
}

// behind makes a host that accepts no connection and stands behind relays.
func behind(relays ...*p2p.Host) func(*p2p.Config) {
	return func(c *p2p.Config) {
		c.Listen = []string{}
		for _, r := range relays {
			c.Relays = append(c.Relays, fullAddrs(r)...)
		}
	}
}

func dialOnly(c *p2p.Config) { c.Listen = []string{} }

// relayedAddrs waits until a host can be reached through a relay, and none but
// those of the wanted ones.
func relayedAddrs(t *testing.T, h *p2p.Host, want ...*p2p.Host) peer.AddrInfo {
	t.Helper()
	ctx := p2ptest.Context(t)
	for {
		info, missing, extra := h.AddrInfo(), 0, len(h.AddrInfo().Addrs)
		for _, r := range want {
			n := 0
			for _, a := range info.Addrs {
				if strings.Contains(a.String(), r.ID().String()+"/p2p-circuit") {
					n++
				}
			}
			extra -= n
			if n == 0 {
				missing++
			}
		}
		if missing == 0 && extra == 0 {
			return info
		}
		select {
		case <-ctx.Done():
			t.Fatalf("addresses %v", info.Addrs)
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// TestRelayCarriesABid: two hosts that accept no connection trade through a
// relay, which counts what it carries.
func TestRelayCarriesABid(t *testing.T) {
	ctx := p2ptest.Context(t)
	relay := p2ptest.NewHost(t, isRelay(p2p.RelayLimits{}))
	provider, tenant := p2ptest.NewHost(t, behind(relay)), p2ptest.NewHost(t, dialOnly)
	bids := make(chan *p2p.ReceivedBid, 1)
	provider.HandleBids(func(_ context.Context, b *p2p.ReceivedBid) { bids <- b })

	// The one behind the relay is dialled.
	if err := tenant.Connect(ctx, relayedAddrs(t, provider, relay)); err != nil {
		t.Fatal(err)
	}
	if !tenant.Linked(provider.ID()) || tenant.Direct(provider.ID()) {
		t.Fatal("the connection should be a relayed one")
	}
	offered, err := tenant.OfferBid(ctx, peer.AddrInfo{ID: provider.ID()}, offer())
	if err != nil {
		t.Fatal(err)
	}
	defer offered.Close()
	b := <-bids
	defer b.Close()
	if b.Peer() != tenant.ID() {
		t.Errorf("a bid from %s", b.Peer())
	}
	use := relay.RelayUse()
	if use.Reservations != 1 || use.Circuits != 1 || use.Bytes == 0 {
		t.Errorf("the relay carries %+v", use)
	}
}

// TestAnotherRelayTakesOver: a host behind two relays keeps an address when one
// of them dies, and finds it again when it comes back.
func TestAnotherRelayTakesOver(t *testing.T) {
	ctx := p2ptest.Context(t)
	first, second := p2ptest.NewHost(t, isRelay(p2p.RelayLimits{})), p2ptest.NewHost(t, isRelay(p2p.RelayLimits{}))
	provider := p2ptest.NewHost(t, behind(first, second))
	news := provider.RelayNews()
	relayedAddrs(t, provider, first, second)
	select {
	case <-news:
	case <-ctx.Done():
		t.Error("new addresses are no news")
	}
	if err := first.Close(); err != nil {
		t.Fatal(err)
	}
	info := relayedAddrs(t, provider, second)
	tenant := p2ptest.NewHost(t, dialOnly)
	if err := tenant.Connect(ctx, info); err != nil {
		t.Fatal(err)
	}
}

// TestRelayLimits: a relay gives no more reservations than it has.
func TestRelayLimits(t *testing.T) {
	relay := p2ptest.NewHost(t, isRelay(p2p.RelayLimits{Reservations: 1}))
	first := p2ptest.NewHost(t, behind(relay))
	relayedAddrs(t, first, relay)
	second := p2ptest.NewHost(t, behind(relay))
	deadline := time.Now().Add(500 * time.Millisecond)
	for time.Now().Before(deadline) { // it has asked by then, and will ask again
		if len(second.Addrs()) > 0 {
			t.Fatalf("a second reservation where one is allowed: %v", second.Addrs())
		}
		time.Sleep(20 * time.Millisecond)
	}
	if n := relay.RelayUse().Reservations; n != 1 {
		t.Errorf("%d reservations", n)
	}
}

func TestRelayConfig(t *testing.T) {
	key, err := p2p.NewKey()
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		cfg  p2p.Config
		want string
	}{
		"no name":       {p2p.Config{Relays: []string{"/ip4/203.0.113.7/tcp/1"}}, "as `moyai relay` prints it"},
		"no address":    {p2p.Config{Relays: []string{"/p2p/12D3KooWQ6hJ1MLK2mqbGJ1kxqQ9VbA3tZ7mQmC3Zr1e1Z8FQJc8"}}, "relay"},
		"not a address": {p2p.Config{Relays: []string{"example.org"}}, "example.org"},
		"both":          {p2p.Config{Relays: []string{"/x"}, Relay: &p2p.RelayLimits{}}, "behind other relays"},
		"negative":      {p2p.Config{Relay: &p2p.RelayLimits{Circuits: -1}}, "positive"},
	} {
		c.cfg.Key = key
		h, err := p2p.New(c.cfg)
		if err == nil {
			_ = h.Close()
		}
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", name, err, c.want)
		}
	}
}
