package p2p_test

import (
	"context"
	"errors"
	"io"
	"path/filepath"
	"testing"
	"time"

	"github.com/libp2p/go-libp2p/core/network"

	"github.com/moyai-network/moyai/p2p"
	"github.com/moyai-network/moyai/p2p/p2ptest"
	"github.com/moyai-network/moyai/wire"
)

const sinkProtocol = "/moyai/test-sink/1"

// sink makes a host read whatever is sent to it and say so at the end.
func sink(h *p2p.Host) {
	h.SetStreamHandler(sinkProtocol, func(s network.Stream) {
		if _, err := io.Copy(io.Discard, s); err != nil {
			_ = s.Reset()
			return
		}
		_, _ = s.Write([]byte{1})
		_ = s.Close()
	})
}

// pour sends n bytes and waits until they have arrived.
func pour(ctx context.Context, from, to *p2p.Host, n int) error {
	if err := from.Connect(ctx, to.AddrInfo()); err != nil {
		return err
	}
	s, err := from.NewStream(network.WithAllowLimitedConn(ctx, "test"), to.ID(), sinkProtocol)
	if err != nil {
		return err
	}
	defer s.Reset()
	defer context.AfterFunc(ctx, func() { _ = s.Reset() })()
	if _, err := io.CopyN(s, zeros{}, int64(n)); err != nil {
		return err
	}
	if err := s.CloseWrite(); err != nil {
		return err
	}
	_, err = io.ReadFull(s, make([]byte, 1))
	return err
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) { clear(p); return len(p), nil }

func books(t *testing.T, path string) *p2p.RelayBooks {
	t.Helper()
	b, err := p2p.OpenRelayBooks(path)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func withKey(key p2p.Key) func(*p2p.Config) { return func(c *p2p.Config) { c.Key = key } }

func keeping(b *p2p.RelayBooks, l p2p.RelayLimits) func(*p2p.Config) {
	return func(c *p2p.Config) { c.Relay, c.RelayBooks = &l, b }
}

func newKey(t *testing.T) (p2p.Key, wire.Signer) {
	t.Helper()
	key, err := p2p.NewKey()
	if err != nil {
		t.Fatal(err)
	}
	s, err := wire.NewEd25519Signer(key.Seed())
	if err != nil {
		t.Fatal(err)
	}
	return key, s
}

// TestReceiptsForWhatIsCarried: a machine acknowledges what a relay carries for
// it, and goes on where it was after both have started again.
func TestReceiptsForWhatIsCarried(t *testing.T) {
	ctx := p2ptest.Context(t)
	path := filepath.Join(t.TempDir(), "relay.json")
	relayKey, _ := newKey(t)
	machineKey, signer := newKey(t)
	const chainID = "moyai-test-1"
	var last p2p.RelayAccount
	for round := range 2 {
		b := books(t, path)
		relay := p2ptest.NewHost(t, withKey(relayKey), keeping(b, p2p.RelayLimits{}))
		machine, tenant := p2ptest.NewHost(t, withKey(machineKey), behind(relay)), p2ptest.NewHost(t, dialOnly)
		machine.Acknowledge(chainID, signer)
		sink(machine)
		relayedAddrs(t, machine, relay)
		const n = 1 << 20
		if err := pour(ctx, tenant, machine, n); err != nil {
			t.Fatal(err)
		}
		relay.AskReceipts(ctx)
		all := b.Accounts()
		if len(all) != 1 {
			t.Fatalf("%d accounts", len(all))
		}
		a := all[0]
		if a.Machine != machine.ID().String() || a.Bytes < last.Bytes+n || a.Acknowledged < last.Bytes+n || a.Sequence <= last.Sequence || a.Refused != "" {
			t.Errorf("round %d: %+v after %+v", round, a, last)
		}
		r, err := wire.Open[wire.RelayReceipt](chainID, a.Receipt)
		if err != nil || wire.VerifyRelayReceipt(r) != nil || r.Value.Bytes != a.Acknowledged || r.Value.Sequence != a.Sequence {
			t.Errorf("receipt %+v: %v", r.Value, err)
		}
		last = a
		if err := errors.Join(tenant.Close(), machine.Close(), relay.Close(), b.Save()); err != nil {
			t.Fatal(err)
		}
	}
}

// TestWhoSignsNothingIsCarriedNoMore: beyond the bound a machine that does not
// acknowledge loses its connections, and gets no new ones.
func TestWhoSignsNothingIsCarriedNoMore(t *testing.T) {
	ctx := p2ptest.Context(t)
	b := books(t, "")
	relay := p2ptest.NewHost(t, keeping(b, p2p.RelayLimits{Unacknowledged: 32 << 20}))
	machine, tenant := p2ptest.NewHost(t, behind(relay)), p2ptest.NewHost(t, dialOnly)
	sink(machine)
	relayedAddrs(t, machine, relay)
	if err := pour(ctx, tenant, machine, 8<<20); err != nil {
		t.Fatal(err)
	}
	if err := pour(ctx, tenant, machine, 64<<20); err == nil {
		t.Fatal("carried beyond the bound")
	}
	stranger := p2ptest.NewHost(t, dialOnly)
	if err := stranger.Connect(ctx, machine.AddrInfo()); err == nil {
		t.Error("a new connection beyond the bound")
	}
	// Once it signs, it is carried again.
	key, err := wire.NewEd25519Signer(seedOf(t, machine))
	if err != nil {
		t.Fatal(err)
	}
	machine.Acknowledge("moyai-test-1", key)
	relay.AskReceipts(ctx)
	if a := b.Accounts()[0]; a.Unacknowledged() > 1<<20 {
		t.Errorf("%+v", a)
	}
	other := p2ptest.NewHost(t, dialOnly)
	if err := other.Connect(ctx, machine.AddrInfo()); err != nil {
		t.Error(err)
	}
}

// seedOf is the seed of a host's key.
func seedOf(t *testing.T, h *p2p.Host) []byte {
	t.Helper()
	raw, err := h.Peerstore().PrivKey(h.ID()).Raw()
	if err != nil {
		t.Fatal(err)
	}
	return raw[:32]
}

// TestReceiptsAreNotGivenAway: a relay that claims more than it carried, and a
// host at which no place is kept, get none.
func TestReceiptsAreNotGivenAway(t *testing.T) {
	ctx := p2ptest.Context(t)
	path := filepath.Join(t.TempDir(), "relay.json")
	machineKey, signer := newKey(t)
	relayKey, _ := newKey(t)
	// Books that tell of far more than was ever carried, and of no receipt.
	forged := books(t, path)
	relay := p2ptest.NewHost(t, withKey(relayKey), keeping(forged, p2p.RelayLimits{}))
	machine, tenant := p2ptest.NewHost(t, withKey(machineKey), behind(relay)), p2ptest.NewHost(t, dialOnly)
	machine.Acknowledge("moyai-test-1", signer)
	sink(machine)
	relayedAddrs(t, machine, relay)
	if err := pour(ctx, tenant, machine, 1<<20); err != nil {
		t.Fatal(err)
	}
	p2p.Inflate(forged, machine.ID(), 1<<30)
	relay.AskReceipts(ctx)
	if a := forged.Accounts()[0]; a.Acknowledged != 0 || a.Refused == "" {
		t.Errorf("%+v", a)
	}

	// A host that is no relay of this machine.
	b := books(t, "")
	stranger := p2ptest.NewHost(t, keeping(b, p2p.RelayLimits{}))
	p2ptest.Connect(t, machine, stranger)
	p2p.Inflate(b, machine.ID(), 100)
	stranger.AskReceipts(ctx)
	if a := b.Accounts()[0]; a.Acknowledged != 0 || a.Refused == "" {
		t.Errorf("%+v", a)
	}
}

func TestBooksOnDisk(t *testing.T) {
	path := filepath.Join(t.TempDir(), "relay.json")
	b := books(t, path)
	id := p2ptest.NewHost(t, dialOnly).ID()
	p2p.Inflate(b, id, 7)
	if err := b.Save(); err != nil {
		t.Fatal(err)
	}
	again := books(t, path).Accounts()
	if len(again) != 1 || again[0].Machine != id.String() || again[0].Bytes != 7 || again[0].Unacknowledged() != 7 || time.Since(again[0].Carried) > time.Hour {
		t.Errorf("%+v", again)
	}
}
