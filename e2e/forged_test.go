package e2e

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	errorsmod "cosmossdk.io/errors"
	sdkmath "cosmossdk.io/math"
	sdk "github.com/cosmos/cosmos-sdk/types"

	marketv1 "github.com/moyai-network/moyai/api/moyai/market/v1"
	registryv1 "github.com/moyai-network/moyai/api/moyai/registry/v1"
	"github.com/moyai-network/moyai/chain/x/market/types"
	registrytypes "github.com/moyai-network/moyai/chain/x/registry/types"
	"github.com/moyai-network/moyai/client/chain"
	"github.com/moyai-network/moyai/devnet"
	"github.com/moyai-network/moyai/devnet/forge"
	"github.com/moyai-network/moyai/mechanism/amount"
	"github.com/moyai-network/moyai/wire"
)

// workshop is a registered machine without a provider behind it, and a payer, so
// that every byte the chain sees is of the test's making.
type workshop struct {
	*forge.Forge
	n        *devnet.Network
	chain    *chain.Client
	payer    *chain.Sender
	operator *chain.Sender
	slot     uint32
}

func newWorkshop(t testing.TB, n *devnet.Network) *workshop {
	t.Helper()
	w := &workshop{n: n, chain: n.Chain(), payer: account(t, n, 10*moy), operator: account(t, n, 10*moy)}
	var err error
	if w.Forge, err = forge.New(n.ChainID, chain.BaseDenom, w.operator.Account()); err != nil {
		t.Fatal(err)
	}
	node, err := w.SetNode(w.operator.Address(), "/ip4/127.0.0.1/tcp/1")
	if err != nil {
		t.Fatal(err)
	}
	join := &registryv1.MsgRegisterProvider{
		Operator: w.operator.Address(), Moniker: "workshop", Bond: sdk.NewCoin(chain.BaseDenom, sdkmath.NewInt(moy)),
	}
	if _, err := w.operator.Send(deadline(t, patience), join, node); err != nil {
		t.Fatalf("register: %v", err)
	}
	// Others would wait for an answer from a machine that is not there.
	t.Cleanup(func() {
		if _, err := w.operator.Send(context.Background(), &registryv1.MsgLeave{Operator: w.operator.Address()}); err != nil {
			t.Errorf("leave: %v", err)
		}
	})
	return w
}

// account is a fresh account that sends transactions.
func account(t testing.TB, n *devnet.Network, umoy uint64) *chain.Sender {
	t.Helper()
	home, _, err := n.NewTenant(deadline(t, patience), uniqueName(), umoy)
	if err != nil {
		t.Fatal(err)
	}
	keys, err := chain.OpenKeys(home, chain.BackendTest, nil)
	if err != nil {
		t.Fatal(err)
	}
	s, err := n.Chain().Sender(keys, "default")
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// deal is a good deal on a slot nobody has used, with a change.
func (w *workshop) deal(t testing.TB, change forge.Change) *forge.Deal {
	t.Helper()
	w.slot++
	d, err := w.Deal(w.payer.Account(), w.slot, 1, change)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func item(t testing.TB, d *forge.Deal) marketv1.OpenItem {
	t.Helper()
	i, err := d.Open()
	if err != nil {
		t.Fatal(err)
	}
	return i
}

// open sends items and returns their results and the fee.
func (w *workshop) open(t testing.TB, items ...marketv1.OpenItem) ([]marketv1.OpenResult, amount.Amount) {
	t.Helper()
	res, err := w.payer.Send(deadline(t, patience), &marketv1.MsgOpenLeases{Payer: w.payer.Address(), Items: items})
	if err != nil {
		t.Fatalf("open: %v", err)
	}
	reply, ok := chain.Response[*marketv1.MsgOpenLeasesResponse](res)
	if !ok || len(reply.Results) != len(items) {
		t.Fatalf("answer to %d items: %+v", len(items), reply)
	}
	return reply.Results, fee(t, res)
}

// mustOpen opens deals that are good.
func (w *workshop) mustOpen(t testing.TB, deals ...*forge.Deal) {
	t.Helper()
	items := make([]marketv1.OpenItem, len(deals))
	for i, d := range deals {
		items[i] = item(t, d)
	}
	results, _ := w.open(t, items...)
	for i, r := range results {
		if len(r.LeaseId) == 0 {
			t.Fatalf("deal %d was not opened: %+v", i, r.Refusals)
		}
	}
}

// step sends close items and returns their results and the fee.
func (w *workshop) step(t testing.TB, by *chain.Sender, items ...marketv1.CloseItem) ([]marketv1.CloseResult, amount.Amount) {
	t.Helper()
	res, err := by.Send(deadline(t, patience), &marketv1.MsgCloseLeases{Sender: by.Address(), Items: items})
	if err != nil {
		t.Fatalf("close: %v", err)
	}
	reply, ok := chain.Response[*marketv1.MsgCloseLeasesResponse](res)
	if !ok || len(reply.Results) != len(items) {
		t.Fatalf("answer to %d items: %+v", len(items), reply)
	}
	return reply.Results, fee(t, res)
}

func fee(t testing.TB, res *chain.Result) amount.Amount {
	t.Helper()
	a, err := amount.Parse(res.Fee.Amount.String())
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// refusedAs checks that a refusal carries a registered code.
func refusedAs(t testing.TB, r marketv1.Refusal, want ...*errorsmod.Error) {
	t.Helper()
	for _, e := range want {
		if r.Codespace == e.Codespace() && r.Code == e.ABCICode() {
			return
		}
	}
	t.Errorf("refused as %s/%d (%s), want one of %v", r.Codespace, r.Code, r.Text, want)
}

// TestForgedBids shows the chain bids that no honest provider made, or that an
// honest one made for something else. Each is refused with its own code, and
// the payer loses nothing but the fee of asking.
func TestForgedBids(t *testing.T) {
	n := network(t)
	w := newWorkshop(t, n)
	stranger := account(t, n, moy)
	// A slot that is taken, and one whose lease is over.
	busy, over := w.deal(t, forge.Change{}), w.deal(t, forge.Change{})
	busySlot, overSlot := busy.Bid.Slot, over.Bid.Slot
	w.mustOpen(t, busy, over)
	w.finish(t, over)
	defer func() { w.finish(t, busy); free(t, n, w.payer.Address()) }()

	past := time.Now().Add(-time.Minute).UnixMilli()
	for _, tc := range []struct {
		name   string
		change forge.Change
		want   *errorsmod.Error
	}{
		{"expired", forge.Change{Bid: func(b *wire.Bid) { b.ExpiresAt = past }}, types.ErrBidExpired},
		{"firm for too long", forge.Change{Bid: func(b *wire.Bid) { b.ExpiresAt = time.Now().Add(time.Hour).UnixMilli() }}, types.ErrBidLife},
		{"another chain", forge.Change{Bid: func(b *wire.Bid) { b.ChainID = "moyai-1" }}, types.ErrWrongChain},
		{"another payer", forge.Change{Bid: func(b *wire.Bid) { b.Payer = stranger.Account() }}, types.ErrWrongPayer},
		{"another order", forge.Change{Bid: func(b *wire.Bid) { b.OrderHash = make([]byte, 32) }}, types.ErrWrongOrder},
		{"used generation", forge.Change{Bid: func(b *wire.Bid) { b.Slot = overSlot }}, types.ErrGeneration},
		{"slot in use", forge.Change{Bid: func(b *wire.Bid) { b.Slot, b.Generation = busySlot, 2 }}, types.ErrSlotBusy},
		{"above the ceiling", forge.Change{Bid: func(b *wire.Bid) { b.Rate = amount.NewRate(1 << 62) }}, types.ErrRate},
		{"another denomination", forge.Change{Bid: func(b *wire.Bid) { b.Denom = "uatom" }}, types.ErrDenom},
		{"too much grace", forge.Change{Bid: func(b *wire.Bid) { b.GraceMS = 1 << 40 }}, types.ErrGrace},
		{"a penalty", forge.Change{Bid: func(b *wire.Bid) { b.Penalty = amount.New(1) }}, types.ErrReserved},
		{"another provider's machine", forge.Change{Bid: func(b *wire.Bid) { b.Provider = stranger.Account() }}, types.ErrWrongProvider},
		{"ready for another manifest", forge.Change{Ready: func(r *wire.Ready) { r.Manifest = make([]byte, 32) }}, types.ErrManifest},
		{"ready for another bid", forge.Change{Ready: func(r *wire.Ready) { r.BidHash = make([]byte, 32) }}, types.ErrWrongBid},
		{"ready of another chain", forge.Change{Ready: func(r *wire.Ready) { r.ChainID = "moyai-1" }}, types.ErrWrongChain},
		{"order expired", forge.Change{Order: func(o *wire.Order) { o.Terms.ExpiresAt = past }}, types.ErrOrderExpired},
		{"order of another payer", forge.Change{Order: func(o *wire.Order) { o.Payer = stranger.Account() }}, types.ErrNotPayer},
		{"order of another chain", forge.Change{Order: func(o *wire.Order) { o.ChainID = "moyai-1" }}, types.ErrWrongChain},
		{"checking is not built", forge.Change{Order: func(o *wire.Order) { o.Terms.Verify = wire.Verify{Policy: "replay", Bps: 100} }}, types.ErrReserved},
		{"failover is not built", forge.Change{Order: func(o *wire.Order) { o.Terms.Failover = 1 }}, types.ErrReserved},
		{"bond that is not there", forge.Change{Order: func(o *wire.Order) { o.Terms.MinBond = amount.New(moy + 1) }}, registrytypes.ErrInsufficientBond},
	} {
		t.Run(tc.name, func(t *testing.T) {
			before := balanceOf(t, n, w.payer.Address())
			results, fee := w.open(t, item(t, w.deal(t, tc.change)))
			if len(results[0].LeaseId) > 0 {
				t.Fatalf("opened %x", results[0].LeaseId)
			}
			if len(results[0].Refusals) != 1 {
				t.Fatalf("refusals: %+v", results[0].Refusals)
			}
			refusedAs(t, results[0].Refusals[0], tc.want)
			spent(t, n, w.payer.Address(), before, fee)
		})
	}
}

// spent checks that an account paid exactly the given amounts since before.
func spent(t testing.TB, n *devnet.Network, address string, before amount.Amount, paid ...amount.Amount) {
	t.Helper()
	sum, err := amount.Sum(paid...)
	if err != nil {
		t.Fatal(err)
	}
	want, err := before.Sub(sum)
	if err != nil {
		t.Fatal(err)
	}
	if got := balanceOf(t, n, address); got != want {
		t.Errorf("%s owned %s, paid %s and owns %s now, want %s", address, before, sum, got, want)
	}
}

// finish closes a forged lease with a final receipt of zero milliseconds, which
// costs nothing.
func (w *workshop) finish(t testing.TB, deals ...*forge.Deal) {
	t.Helper()
	items := make([]marketv1.CloseItem, len(deals))
	for i, d := range deals {
		c, err := d.Close(0)
		if err != nil {
			t.Fatal(err)
		}
		items[i] = c
	}
	results, _ := w.step(t, w.operator, items...)
	for i, r := range results {
		if r.Refusal != nil {
			t.Fatalf("deal %d was not closed: %+v", i, *r.Refusal)
		}
	}
}

// TestBidWithOneBitChanged flips bits all over a good bid and its ready. None
// opens; the bid itself then does.
func TestBidWithOneBitChanged(t *testing.T) {
	n := network(t)
	w := newWorkshop(t, n)
	good := item(t, w.deal(t, forge.Change{}))
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	rnd := rand.New(rand.NewPCG(seed, 0))
	fees := []amount.Amount{}
	before := balanceOf(t, n, w.payer.Address())
	for range 4 { // four transactions of 16 items with 4 candidates: 256 changed bits
		var items []marketv1.OpenItem
		var what []string
		for range 16 {
			spoilt := marketv1.OpenItem{Order: good.Order}
			for range 4 {
				c := marketv1.Candidate{Bid: slices.Clone(good.Candidates[0].Bid), Ready: slices.Clone(good.Candidates[0].Ready)}
				part, name := c.Bid, "bid"
				if rnd.IntN(4) == 0 {
					part, name = c.Ready, "ready"
				}
				bit := rnd.IntN(8 * len(part))
				part[bit/8] ^= 1 << (bit % 8)
				spoilt.Candidates = append(spoilt.Candidates, c)
				what = append(what, fmt.Sprintf("bit %d of the %s", bit, name))
			}
			items = append(items, spoilt)
		}
		results, fee := w.open(t, items...)
		fees = append(fees, fee)
		for i, r := range results {
			if len(r.LeaseId) > 0 {
				t.Errorf("opened with %s changed", what[4*i+int(r.Candidate)])
			}
			if len(r.Refusals) != 4 {
				t.Errorf("%d refusals of 4 candidates: %+v", len(r.Refusals), r.Refusals)
			}
		}
	}
	spent(t, n, w.payer.Address(), before, fees...)
	results, _ := w.open(t, good)
	if len(results[0].LeaseId) == 0 {
		t.Fatalf("the bid as it was made is refused: %+v", results[0].Refusals)
	}
	// An order opens one lease, however often it is shown.
	again, _ := w.open(t, good)
	if len(again[0].LeaseId) > 0 || len(again[0].Refusals) != 1 {
		t.Fatalf("one order opened twice: %+v", again[0])
	}
	refusedAs(t, again[0].Refusals[0], types.ErrOrderUsed)
	w.cancel(t, results[0].LeaseId)
	free(t, n, w.payer.Address())
}

// cancel ends a lease that never started, from the payer's side.
func (w *workshop) cancel(t testing.TB, id []byte) {
	t.Helper()
	results, _ := w.step(t, w.payer, marketv1.CloseItem{LeaseId: id, Action: marketv1.CloseAction_CLOSE_ACTION_ONE_SIDED})
	if results[0].Refusal != nil {
		t.Fatalf("cancel: %+v", *results[0].Refusal)
	}
}
