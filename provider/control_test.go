package provider

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	registryv1 "github.com/moyai-network/moyai/api/moyai/registry/v1"
	"github.com/moyai-network/moyai/client/chain"
	"github.com/moyai-network/moyai/mechanism/amount"
	"github.com/moyai-network/moyai/mechanism/lease"
	"github.com/moyai-network/moyai/p2p"
	"github.com/moyai-network/moyai/p2p/discovery"
	"github.com/moyai-network/moyai/provider/journal"
	"github.com/moyai-network/moyai/wire"
)

// served is a harness with its control socket.
func served(t *testing.T) (*harness, *Control, context.Context) {
	t.Helper()
	h, ctx := start(t, harnessOptions{taskLife: time.Hour, keep: time.Hour})
	// Socket paths are short; a test's folder need not be.
	home, err := os.MkdirTemp("", "moyai")
	must(t, err)
	t.Cleanup(func() { _ = os.RemoveAll(home) })
	key, err := p2p.KeyFromSeed(make([]byte, 32))
	must(t, err)
	host, err := p2p.New(p2p.Config{Key: key, Listen: []string{}})
	must(t, err)
	t.Cleanup(func() { _ = host.Close() })
	finder, err := discovery.Join(host, discovery.Config{})
	must(t, err)
	t.Cleanup(func() { _ = finder.Close() })
	p := &Provider{cfg: *h.stall.cfg, operator: "moyai1operator", host: host, finder: finder, desk: h.desk, watcher: h.watch, stall: h.stall, disk: newDiskGuard(home, 1),
		owner: &ownership{rules: h.stall.cfg.Owner, d: h.desk, stall: h.stall}}
	p.cfg.Home, p.cfg.Moniker = home, "garage"
	c, err := newControl(p)
	must(t, err)
	runCtx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- c.run(runCtx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
		_ = c.close()
	})
	return h, Dial(home), ctx
}

func TestStatusTellsWhatALeaseEarns(t *testing.T) {
	h, control, ctx := served(t)
	ten, order, id := h.mustRent(t, ctx, 1, false)
	h.mustAttach(t, ctx, ten, order, id)
	must(t, eventually(ctx, "a receipt", func() bool { return h.w.leases()[ten.id].Acked > 0 }))
	st, err := control.Status(ctx)
	must(t, err)
	if st.Moniker != "garage" || !st.Bidding || st.Slots != 1 || len(st.Leases) != 1 || st.Height == 0 {
		t.Fatalf("status %+v", st)
	}
	if l := st.Leases[0]; l.ID != hex.EncodeToString(id[:]) || l.Work != "running" || l.Chain != "open" || l.Paid || l.ElapsedMS == 0 {
		t.Fatalf("lease %+v", l)
	}
	i := slices.IndexFunc(st.Capacity, func(u Use) bool { return u.Dimension == DimCPU })
	if u := st.Capacity[i]; u.Total != 4000 || u.Free != 3000 {
		t.Fatalf("capacity %+v", u)
	}
	must(t, control.Stop(ctx, hex.EncodeToString(id[:])))
	must(t, eventually(ctx, "close", closedLease(h, ten.id)))
	if r := h.w.leases()[ten.id].Lease.Reason; r != lease.ReasonProviderStopped {
		t.Fatalf("closed as %s", r)
	}
	must(t, eventually(ctx, "the books", func() bool {
		st, err = control.Status(ctx)
		return err == nil && len(st.Totals) == 1 && len(st.Leases) == 1 && st.Leases[0].Paid
	}))
	if st.Totals[0].Leases != 1 || st.Totals[0].Provider != st.Leases[0].Earned || st.Leases[0].Reason != "provider stopped" {
		t.Fatalf("totals %+v, lease %+v", st.Totals[0], st.Leases[0])
	}
	if err := control.Stop(ctx, "zz"); err == nil {
		t.Fatal("stopped a lease that has no id")
	}
}

func TestPauseAndAlerts(t *testing.T) {
	h, control, ctx := served(t)
	must(t, control.Pause(ctx))
	if st, err := control.Status(ctx); err != nil || st.Bidding || st.NotBidding.Cause != CausePaused || !strings.Contains(st.NotBidding.Text, "takes no new work") {
		t.Fatalf("bidding while paused: %v", err)
	}
	must(t, control.Resume(ctx))
	must(t, eventually(ctx, "a block", func() bool { return h.watch.now().height > 0 }))
	must(t, h.desk.journal.Raise(ctx, journal.Alert{ID: "gas", Severity: "error", Text: "send some", SinceMS: 1}))
	st, err := control.Status(ctx)
	must(t, err)
	if !st.Bidding || st.NotBidding != nil || len(st.Alerts) != 1 || st.Alerts[0].ID != "gas" {
		t.Fatalf("status %+v", st)
	}
	must(t, control.Dismiss(ctx, "gas"))
	if err := control.Dismiss(ctx, "gas"); err == nil {
		t.Fatal("dismissed twice")
	}
	if _, err := Dial(t.TempDir()).Status(ctx); !errors.Is(err, ErrNotRunning) {
		t.Fatalf("no daemon: %v", err)
	}
	if info, err := os.Stat(control.path); err != nil || info.Mode().Perm() != 0o600 {
		t.Fatalf("socket %v, %v: others may open it", info.Mode(), err)
	}
}

// rolls is a registry in memory.
type rolls struct {
	provider *registryv1.Provider
	nodes    []registryv1.Node
	sent     []string
	down     bool
	balance  uint64
	poor     bool // cannot pay for a transaction
}

func (r *rolls) Provider(context.Context, string) (registryv1.Provider, []registryv1.Unbonding, error) {
	switch {
	case r.down:
		return registryv1.Provider{}, nil, chain.ErrUnreachable
	case r.provider == nil:
		return registryv1.Provider{}, nil, chain.ErrNotFound
	}
	return *r.provider, nil, nil
}

func (r *rolls) Balance(context.Context, string, string) (amount.Amount, error) {
	return amount.New(r.balance), nil
}

func (r *rolls) Address() string { return "moyai1op" }

func (r *rolls) Nodes(context.Context, string, bool) ([]registryv1.Node, error) { return r.nodes, nil }

func (r *rolls) Register(ctx context.Context, p *registryv1.MsgRegisterProvider, n *registryv1.MsgSetNode) error {
	if r.poor {
		return fmt.Errorf("register: %w", chain.ErrNoAccount)
	}
	r.sent = append(r.sent, "register")
	r.provider = &registryv1.Provider{Operator: p.Operator, Bond: p.Bond.Amount.String(), Locked: "4"}
	return r.set(n)
}

func (r *rolls) SetNode(_ context.Context, n *registryv1.MsgSetNode) error {
	if r.poor {
		return fmt.Errorf("set node: %w", &chain.Error{Code: chain.CodeInsufficientFunds})
	}
	r.sent = append(r.sent, "set node")
	return r.set(n)
}

func (r *rolls) set(n *registryv1.MsgSetNode) error {
	record, err := wire.Open[wire.NodeRecord](testChain, n.Record)
	if err != nil {
		return err
	}
	if err := wire.VerifyNodeRecord(record); err != nil {
		return err
	}
	r.nodes = []registryv1.Node{{Node: record.Value.Node, Addresses: record.Value.Addresses, Region: record.Value.Region}}
	return nil
}

func TestMembershipKeepsTheRegistryTrue(t *testing.T) {
	h, ctx := start(t, harnessOptions{})
	r := &rolls{}
	addrs := []string{"/ip4/10.0.0.2/tcp/1", "/ip4/10.0.0.1/tcp/1", "/ip4/10.0.0.2/tcp/1"}
	cfg := *h.stall.cfg
	cfg.Bond = amount.Coin{Denom: "umoy", Amount: amount.New(10)}
	m := &membership{
		chainID: testChain, cfg: &cfg, registry: r, acting: r, consent: h.desk.signer, address: "moyai1op", account: make([]byte, 20),
		signer: h.desk.signer, node: h.desk.node, addrs: func() []string { return addrs }, stall: h.stall,
		alert: h.desk.alert, log: slog.New(slog.DiscardHandler), joined: make(chan struct{}),
	}
	m.shut(p2p.Refusal{Subject: "provider"})
	must(t, m.check(ctx))
	must(t, m.check(ctx)) // nothing to mend
	if want := []string{"register"}; !slices.Equal(r.sent, want) {
		t.Fatalf("sent %v, want %v", r.sent, want)
	}
	if h.stall.closed.Load() != nil || *h.stall.bond.Load() != amount.New(6) {
		t.Fatalf("bidding %v with a free bond of %v", h.stall.closed.Load() == nil, h.stall.bond.Load())
	}
	<-m.joined
	if want := []string{"/ip4/10.0.0.1/tcp/1", "/ip4/10.0.0.2/tcp/1"}; !slices.Equal(r.nodes[0].Addresses, want) {
		t.Fatalf("addresses %v", r.nodes[0].Addresses)
	}
	addrs = []string{"/ip4/10.0.0.9/tcp/1"}
	must(t, m.check(ctx))
	if len(r.sent) != 2 || r.nodes[0].Addresses[0] != addrs[0] {
		t.Fatalf("a new address: sent %v, registered %v", r.sent, r.nodes[0].Addresses)
	}
	r.down = true
	if err := m.check(ctx); !errors.Is(err, chain.ErrUnreachable) || h.stall.closed.Load() != nil {
		t.Fatalf("an unreachable chain must change nothing: %v, %v", err, h.stall.closed.Load())
	}
	r.down, r.provider.Leaving = false, true
	must(t, m.check(ctx))
	if h.stall.closed.Load() == nil {
		t.Fatal("bidding while leaving")
	}
	r.provider.Leaving, r.nodes[0].RevokedAt = false, 1
	if err := m.check(ctx); err == nil {
		t.Fatal("a revoked node key was announced again")
	}
	r.provider, m.consent = nil, nil
	if err := m.check(ctx); !errors.Is(err, errNoOperatorKey) {
		t.Fatalf("no operator key: %v", err)
	}
}
