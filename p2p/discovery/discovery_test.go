package discovery_test

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/moyai-network/moyai/p2p"
	"github.com/moyai-network/moyai/p2p/discovery"
	"github.com/moyai-network/moyai/p2p/p2ptest"
	"github.com/moyai-network/moyai/wire"
)

const chainID = "moyai-test-1"

func onlyTCP(c *p2p.Config) { c.Listen = []string{"/ip4/127.0.0.1/tcp/0"} }

func join(t *testing.T, h *p2p.Host, mode discovery.Mode, first ...*p2p.Host) *discovery.Finder {
	t.Helper()
	var peers []peer.AddrInfo
	for _, f := range first {
		peers = append(peers, f.AddrInfo())
	}
	f, err := discovery.Join(h, discovery.Config{Mode: mode, Bootstrap: func(context.Context) []peer.AddrInfo { return slices.Clone(peers) }})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = f.Close() })
	return f
}

// signer makes a node's key from a name.
func signer(t *testing.T, name string) (p2p.Key, wire.Signer) {
	t.Helper()
	seed := sha256.Sum256([]byte(name))
	key, err := p2p.KeyFromSeed(seed[:])
	if err != nil {
		t.Fatal(err)
	}
	s, err := wire.NewEd25519Signer(key.Seed())
	if err != nil {
		t.Fatal(err)
	}
	return key, s
}

func seal(t *testing.T, s wire.Signer, sequence uint64, addrs ...string) wire.Signed[wire.NodeRecord] {
	t.Helper()
	r, err := wire.Seal(wire.NodeRecord{
		Version: wire.Version1, ChainID: chainID, Provider: make([]byte, 20), Node: s.PublicKey(), Sequence: sequence, Addresses: addrs,
	}, s)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// eventually asks again and again, as DHTs settle in their own time.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	ctx := p2ptest.Context(t)
	begin := time.Now()
	defer func() { t.Logf("%s: after %s", what, time.Since(begin).Round(time.Millisecond)) }()
	for !ok() {
		select {
		case <-ctx.Done():
			t.Fatalf("never: %s", what)
		case <-time.After(100 * time.Millisecond):
		}
	}
}

func ids(found []peer.AddrInfo) (out []peer.ID) {
	for _, f := range found {
		out = append(out, f.ID)
	}
	return out
}

// TestDozens: among four dozen members who were told of one of them, roles and
// records are found by others, in the region asked for first.
func TestDozens(t *testing.T) {
	if testing.Short() {
		t.Skip("starts dozens of hosts")
	}
	const members = 48
	first := p2ptest.NewHost(t, onlyTCP)
	finders := []*discovery.Finder{join(t, first, discovery.Answer)}
	hosts := []*p2p.Host{first}
	for range members - 1 {
		h := p2ptest.NewHost(t, onlyTCP)
		hosts, finders = append(hosts, h), append(finders, join(t, h, discovery.Follow, first))
	}
	eventually(t, "everybody knows others", func() bool {
		return !slices.ContainsFunc(finders, func(f *discovery.Finder) bool { return f.Size() < 5 })
	})
	ctx := p2ptest.Context(t)
	always := func() bool { return true }
	finders[7].Announce(ctx, discovery.Relay, "eu", always)
	finders[11].Announce(ctx, discovery.Relay, "us", always)
	finders[13].Announce(ctx, discovery.Relay, "us", func() bool { return false }) // it is full
	asker := join(t, p2ptest.NewHost(t, dialOnly), discovery.Ask, hosts[3])
	eventually(t, "two relays, the near one first", func() bool {
		return slices.Equal(ids(asker.Find(ctx, discovery.Relay, "us", 8)), []peer.ID{hosts[11].ID(), hosts[7].ID()})
	})
	if found := asker.Find(ctx, discovery.Provider, "us", 8); len(found) > 0 {
		t.Errorf("providers where there are none: %v", found)
	}

	key, s := signer(t, "a machine")
	moved := make(chan struct{})
	records := make(chan wire.Signed[wire.NodeRecord], 2)
	records <- seal(t, s, 1, "/ip4/127.0.0.1/tcp/1")
	records <- seal(t, s, 2, "/ip4/127.0.0.1/tcp/2")
	finders[20].Publish(ctx, moved, func() (wire.Signed[wire.NodeRecord], error) { return <-records, nil })
	at := func(want string) func() bool {
		return func() bool {
			id, err := key.PeerID()
			if err != nil {
				t.Fatal(err)
			}
			info, err := asker.Locate(ctx, chainID, id)
			return err == nil && len(info.Addrs) == 1 && info.Addrs[0].String() == want
		}
	}
	eventually(t, "the record of a machine", at("/ip4/127.0.0.1/tcp/1"))
	moved <- struct{}{}
	eventually(t, "the machine after it moved", at("/ip4/127.0.0.1/tcp/2"))

	_, other := signer(t, "nobody")
	if _, err := asker.Node(ctx, chainID, other.PublicKey()); !errors.Is(err, discovery.ErrNotFound) {
		t.Errorf("a machine that nobody knows: %v", err)
	}
	if _, err := asker.Node(ctx, "moyai-test-2", key.Public()); !errors.Is(err, discovery.ErrNotFound) {
		t.Errorf("a machine on another chain: %v", err)
	}
}

func dialOnly(c *p2p.Config) { c.Listen = []string{} }

// TestAlone: who knows nobody says so.
func TestAlone(t *testing.T) {
	f := join(t, p2ptest.NewHost(t, onlyTCP), discovery.Follow)
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	if _, err := f.Node(ctx, chainID, make([]byte, 32)); !errors.Is(err, discovery.ErrAlone) {
		t.Errorf("%v", err)
	}
	if found := f.Find(ctx, discovery.Relay, "", 4); found != nil {
		t.Errorf("found %v", found)
	}
}

// TestRelaysAreFound: a host that accepts no connection finds relays by itself,
// and another when one dies.
func TestRelaysAreFound(t *testing.T) {
	ctx := p2ptest.Context(t)
	always := func() bool { return true }
	relay := func(first ...*p2p.Host) *p2p.Host {
		h := p2ptest.NewHost(t, func(c *p2p.Config) { c.Relay = &p2p.RelayLimits{} })
		join(t, h, discovery.Answer, first...).Announce(ctx, discovery.Relay, "", always)
		return h
	}
	meeting := p2ptest.NewHost(t)
	join(t, meeting, discovery.Answer)
	relays := []*p2p.Host{relay(meeting), relay(meeting), relay(meeting)}

	home := p2ptest.NewHost(t, dialOnly)
	finder := join(t, home, discovery.Ask, meeting)
	home.SeekRelays(finder.Relays(""))
	through := func() (used []*p2p.Host) {
		for _, r := range relays {
			for _, a := range home.AddrStrings() {
				if s := fmt.Sprintf("/p2p/%s/p2p-circuit", r.ID()); len(a) > len(s) && a[len(a)-len(s):] == s {
					used = append(used, r)
					break
				}
			}
		}
		return used
	}
	eventually(t, "two relays", func() bool { return len(through()) == 2 })
	if r := home.Reach(); r != p2p.ReachRelayed {
		t.Errorf("reach is %q", r)
	}
	dead := through()[0]
	_ = dead.Close()
	eventually(t, "another relay for the dead one", func() bool {
		now := through()
		return len(now) == 2 && !slices.Contains(now, dead)
	})
	stranger := p2ptest.NewHost(t, dialOnly)
	if err := stranger.Connect(ctx, home.AddrInfo()); err != nil {
		t.Fatal(err)
	}
}

// TestNamedRelaysWin: relays are not looked for while one that the owner named
// passes connections on.
func TestNamedRelaysWin(t *testing.T) {
	named := p2ptest.NewHost(t, func(c *p2p.Config) { c.Relay = &p2p.RelayLimits{} })
	home := p2ptest.NewHost(t, dialOnly, func(c *p2p.Config) {
		for _, a := range named.AddrStrings() {
			c.Relays = append(c.Relays, a+"/p2p/"+named.ID().String())
		}
	})
	asked := make(chan struct{}, 100)
	home.SeekRelays(func(context.Context, int) []peer.AddrInfo { asked <- struct{}{}; return nil })
	eventually(t, "the named relay", func() bool { return home.Reach() == p2p.ReachRelayed })
	select {
	case <-asked:
		t.Error("looked for others")
	case <-time.After(2 * time.Second): // it would have by then: it looks every second
	}
	// Once it is dead the others are good enough.
	_ = named.Close()
	select {
	case <-asked:
	case <-p2ptest.Context(t).Done():
		t.Error("does not look for others")
	}
}

// TestContacts: registered addresses lead to machines and to the relays that
// carry them.
func TestContacts(t *testing.T) {
	const relay = "12D3KooWGYme1ksEvYACwm4CsX58q7b8nvaMmMXdM4SDDD5xuK4b"
	key, _ := signer(t, "home")
	home, err := key.PeerID()
	if err != nil {
		t.Fatal(err)
	}
	info, err := p2p.ParseAddrInfo(home, []string{
		"/ip4/192.168.1.2/tcp/4001",
		"/ip4/5.5.0.1/udp/4001/quic-v1/p2p/" + relay + "/p2p-circuit",
		"/ip4/5.5.0.1/tcp/4001/p2p/" + relay + "/p2p-circuit",
	})
	if err != nil {
		t.Fatal(err)
	}
	got := discovery.Contacts([]peer.AddrInfo{info, info})
	want := fmt.Sprintf("[{%s: [/ip4/192.168.1.2/tcp/4001 /ip4/192.168.1.2/tcp/4001]} {%s: [/ip4/5.5.0.1/udp/4001/quic-v1 /ip4/5.5.0.1/tcp/4001 /ip4/5.5.0.1/udp/4001/quic-v1 /ip4/5.5.0.1/tcp/4001]}]", home, relay)
	if fmt.Sprint(got) != want {
		t.Errorf("got  %v\nwant %v", got, want)
	}
}
