package provider

import (
	"log/slog"
	"slices"
	"strings"
	"testing"

	registryv1 "github.com/moyai-network/moyai/api/moyai/registry/v1"
	"github.com/moyai-network/moyai/mechanism/amount"
	"github.com/moyai-network/moyai/p2p"
	"github.com/moyai-network/moyai/wire"
)

// newcomerMember is a machine whose account owns nothing.
func newcomerMember(t *testing.T, h *harness, r *rolls) *membership {
	t.Helper()
	operator, err := wire.NewSecp256k1Signer(slices.Repeat([]byte{7}, 32))
	must(t, err)
	account, err := wire.AccountAddress(operator.Alg(), operator.PublicKey())
	must(t, err)
	m := &membership{
		chainID: testChain, cfg: h.stall.cfg, registry: r, acting: r, consent: operator, address: r.Address(), account: account,
		signer: h.desk.signer, node: h.desk.node, addrs: func() []string { return []string{"/ip4/10.0.0.1/tcp/1"} }, stall: h.stall,
		alert: h.desk.alert, log: slog.New(slog.DiscardHandler), joined: make(chan struct{}),
	}
	m.shut(p2p.Refusal{Subject: "provider"})
	return m
}

// TestNewcomerBidsWithItsRecord: without money the machine bids and says how to
// register it; once a lease has done so it keeps its first fees for closes, and
// registers itself when it has earned enough.
func TestNewcomerBidsWithItsRecord(t *testing.T) {
	h, ctx := start(t, harnessOptions{})
	r := &rolls{poor: true}
	m := newcomerMember(t, h, r)
	must(t, m.check(ctx))
	<-m.joined
	if h.stall.closed.Load() != nil || !h.stall.bond.Load().IsZero() {
		t.Fatalf("a newcomer does not bid: %v", h.stall.closed.Load())
	}
	record, err := wire.Open[wire.NodeRecord](testChain, h.stall.joining())
	must(t, err)
	must(t, wire.VerifyNodeRecord(record))
	must(t, wire.VerifyConsent(record))

	order, _, _, err := h.w.order(1, false)
	must(t, err)
	must(t, eventually(ctx, "a block", func() bool { return h.watch.now().height > 0 }))
	_, offer, err := h.stall.bid(order)
	must(t, err)
	if len(offer.Bid) == 0 || string(offer.Record) != string(h.stall.joining()) {
		t.Fatalf("bid of %d bytes with a record of %d", len(offer.Bid), len(offer.Record))
	}
	must(t, offer.Validate())
	if r, no := h.stall.cfg.house(wire.Order{Terms: wire.Terms{MaxUnackedMS: 10_000, MinBond: amount.New(1)}}, *h.stall.bond.Load()); !no || r.Subject != "bond" {
		t.Fatalf("an order that asks for a bond is not refused: %+v", r)
	}

	// A lease has registered it.
	r.poor, r.balance = false, 100
	r.provider = &registryv1.Provider{Operator: r.Address(), Bond: "7", Joined: true}
	r.nodes = []registryv1.Node{{Node: h.desk.node, Addresses: []string{"/ip4/10.0.0.1/tcp/1"}}}
	must(t, m.check(ctx))
	if h.stall.joining() != nil || *h.stall.bond.Load() != amount.New(7) || len(r.sent) != 0 {
		t.Fatalf("after joining: record of %d bytes, bond %s, sent %v", len(h.stall.joining()), h.stall.bond.Load(), r.sent)
	}
	r.balance = spareToName
	must(t, m.check(ctx))
	if want := []string{"register"}; !slices.Equal(r.sent, want) {
		t.Fatalf("sent %v, want %v", r.sent, want)
	}
}

// TestPoorWithABondIsTold: who asks for a bond to be put up is not a newcomer.
func TestPoorWithABondIsTold(t *testing.T) {
	h, ctx := start(t, harnessOptions{})
	r := &rolls{poor: true}
	m := newcomerMember(t, h, r)
	m.cfg.Bond = amount.Coin{Denom: "umoy", Amount: amount.New(10)}
	if err := m.check(ctx); !penniless(err) {
		t.Fatalf("%v, want no account", err)
	}
	if h.stall.closed.Load() == nil || h.stall.joining() != nil {
		t.Fatal("bidding without the bond that was to be put up")
	}
}

// TestAnotherMachineOfAPoorOperatorJoins: the operator is known, the machine not.
func TestAnotherMachineOfAPoorOperatorJoins(t *testing.T) {
	h, ctx := start(t, harnessOptions{})
	r := &rolls{poor: true, provider: &registryv1.Provider{Operator: "moyai1op", Bond: "7"}}
	m := newcomerMember(t, h, r)
	must(t, m.check(ctx))
	if h.stall.joining() == nil || h.stall.closed.Load() != nil {
		t.Fatal("the second machine offers no record")
	}
}

// TestColdOperator: a machine without its operator's key works once the operator
// has named the account that acts for it, and says so until then.
func TestColdOperator(t *testing.T) {
	h, ctx := start(t, harnessOptions{})
	r := &rolls{}
	m := newcomerMember(t, h, r)
	m.consent, m.address = nil, "moyai1cold"
	if err := m.check(ctx); err == nil || !strings.Contains(err.Error(), "moyai provide hot moyai1op") {
		t.Fatalf("not a provider yet: %v", err)
	}
	r.provider = &registryv1.Provider{Operator: "moyai1cold", Bond: "7", Hot: "moyai1other"}
	if err := m.check(ctx); err == nil || !strings.Contains(err.Error(), "moyai provide hot moyai1op") || h.stall.closed.Load() == nil {
		t.Fatalf("another hot account: %v", err)
	}
	r.provider.Hot = r.Address()
	must(t, m.check(ctx))
	if want := []string{"set node"}; !slices.Equal(r.sent, want) || h.stall.closed.Load() != nil {
		t.Fatalf("sent %v, want %v; bidding %v", r.sent, want, h.stall.closed.Load() == nil)
	}
}
