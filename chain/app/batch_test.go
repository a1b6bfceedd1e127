package app_test

import (
	"testing"
	"time"

	sdk "github.com/cosmos/cosmos-sdk/types"
	sdkerrors "github.com/cosmos/cosmos-sdk/types/errors"
	authtypes "github.com/cosmos/cosmos-sdk/x/auth/types"
	distrtypes "github.com/cosmos/cosmos-sdk/x/distribution/types"
	"github.com/stretchr/testify/require"

	marketv1 "github.com/moyai-network/moyai/api/moyai/market/v1"
	"github.com/moyai-network/moyai/chain/app"
	escrowtypes "github.com/moyai-network/moyai/chain/x/escrow/types"
	"github.com/moyai-network/moyai/chain/x/market/keeper"
	markettypes "github.com/moyai-network/moyai/chain/x/market/types"
	registrytypes "github.com/moyai-network/moyai/chain/x/registry/types"
	"github.com/moyai-network/moyai/mechanism/amount"
)

func TestBatchItemsStandForThemselves(t *testing.T) {
	payer, provider := accountOf("payer"), accountOf("provider")
	l := newLedger(t, []string{"payer", "provider"}, nil)
	l.register(provider, 0, "node")
	good := l.newDeal(payer, provider, "node", 0, 1)
	same := l.newDeal(payer, provider, "node", 0, 1) // the same slot and generation
	third := l.newDeal(payer, provider, "node", 1, 1)
	items := []marketv1.OpenItem{good.item(), same.item(), third.item()}

	tx := l.must(payer, openMsg(payer, false, items...))
	res := response(t, tx, &marketv1.MsgOpenLeasesResponse{})
	require.Equal(t, good.leaseID(0), res.Results[0].LeaseId)
	require.Empty(t, res.Results[1].LeaseId)
	coded(t, markettypes.ErrGeneration, &res.Results[1].Refusals[0])
	require.Equal(t, third.leaseID(0), res.Results[2].LeaseId)
	require.Len(t, eventsOf(tx, "moyai.market.v1.EventLeaseOpened"), 2, "a refused item emits nothing")
	require.Equal(t, 2, l.holds())

	// Closing: the first item twice, the second refused, the third closed.
	a := &running{ledger: l, id: good.leaseID(0), node: good.offers[0].node, key: good.receiptKey}
	b := &running{ledger: l, id: third.leaseID(0), node: third.offers[0].node, key: third.receiptKey}
	final0 := marketv1.CloseItem{LeaseId: a.id, Action: final, Proof: a.receipt(1, 0, true)}
	final1 := marketv1.CloseItem{LeaseId: b.id, Action: final, Proof: b.receipt(1, 0, true)}
	closed := response(t, l.must(provider, closeMsg(provider, false, final0, final0, final1)), &marketv1.MsgCloseLeasesResponse{})
	require.Nil(t, closed.Results[0].Refusal)
	coded(t, markettypes.ErrClosed, closed.Results[1].Refusal)
	require.Equal(t, marketv1.LeaseState_LEASE_STATE_CLOSED, closed.Results[2].State)
	require.Zero(t, l.holds())
}

// A batch spends from one purse: an item that finds it empty is refused by
// itself, and the bank moves the sum of the others once.
func TestBatchSpendsOnePurse(t *testing.T) {
	payer, provider := accountOf("payer"), accountOf("provider")
	l := newLedger(t, []string{"payer", "provider"}, nil)
	l.register(provider, 0, "node")
	d := func(slot uint32) *deal { return l.newDeal(payer, provider, "node", slot, 1) }
	whole := l.balance(payer.address)
	l.must(payer, openMsg(payer, false, d(0).item()))
	each := whole - l.balance(payer.address)

	// Leave enough for two and a half.
	l.must(payer, transfer(payer, provider, whole-each-each*5/2))
	before := l.balance(payer.address)
	tx := l.must(payer, openMsg(payer, false, d(1).item(), d(2).item(), d(3).item()))
	res := response(t, tx, &marketv1.MsgOpenLeasesResponse{})
	require.NotEmpty(t, res.Results[0].LeaseId)
	require.NotEmpty(t, res.Results[1].LeaseId)
	coded(t, escrowtypes.ErrFunds, &res.Results[2].Refusals[0])
	require.Equal(t, before-2*each, l.balance(payer.address))
	require.Len(t, eventsOf(tx, "transfer"), 1)
	require.Equal(t, 3, l.holds())
	l.refused(escrowtypes.ErrFunds, payer, openMsg(payer, true, d(4).item()))
}

func TestAtomicBatch(t *testing.T) {
	payer, provider := accountOf("payer"), accountOf("provider")
	l := newLedger(t, []string{"payer", "provider"}, nil)
	l.register(provider, 0, "node")
	before := l.balance(payer.address)
	good, bad := l.newDeal(payer, provider, "node", 0, 1), l.newDeal(payer, provider, "node", 0, 1)
	l.refused(markettypes.ErrGeneration, payer, openMsg(payer, true, good.item(), bad.item()))
	require.Zero(t, l.holds())
	require.Equal(t, before, l.balance(payer.address))

	l.must(payer, openMsg(payer, true, good.item()))
	r := &running{ledger: l, id: good.leaseID(0), node: good.offers[0].node, key: good.receiptKey}
	item := marketv1.CloseItem{LeaseId: r.id, Action: final, Proof: r.receipt(1, 0, true)}
	l.refused(markettypes.ErrClosed, provider, closeMsg(provider, true, item, item))
	require.Equal(t, marketv1.LeaseState_LEASE_STATE_OPEN, r.state().State)
}

func TestBatchBounds(t *testing.T) {
	payer, provider := accountOf("payer"), accountOf("provider")
	l := newLedger(t, []string{"payer", "provider"}, func(g *app.Genesis) { g.Market.MaxItems = 2 })
	l.register(provider, 0, "node")
	l.refused(markettypes.ErrNoItems, payer, openMsg(payer, false))
	l.refused(markettypes.ErrNoItems, payer, closeMsg(payer, false))
	l.refused(markettypes.ErrTooManyItems, payer, closeMsg(payer, false, make([]marketv1.CloseItem, 3)...))
	l.refused(markettypes.ErrTooManyItems, payer, openMsg(payer, false, make([]marketv1.OpenItem, 3)...))

	// Out of gas kills the transaction, whatever items had opened before.
	one := l.must(payer, openMsg(payer, false, l.newDeal(payer, provider, "node", 9, 1).item())).GasUsed
	a, b := l.newDeal(payer, provider, "node", 0, 1), l.newDeal(payer, provider, "node", 1, 1)
	l.gas = uint64(one + 10_000)
	l.refused(sdkerrors.ErrOutOfGas, payer, openMsg(payer, false, a.item(), b.item()))
	require.Equal(t, 1, l.holds())
}

// TestCandidatesByPreference: the first that is still valid opens, and those
// before it say why they did not, having left nothing behind.
func TestCandidatesByPreference(t *testing.T) {
	payer, provider, second := accountOf("payer"), accountOf("provider"), accountOf("second")
	l := newLedger(t, []string{"payer", "provider", "second"}, nil)
	l.register(provider, 50, "node")
	l.register(second, 500, "other node")
	l.open(l.newDeal(payer, provider, "node", 0, 1))

	d := l.newDeal(payer, provider, "node", 0, 1) // taken
	d.offer(provider, "node", 1, 1)               // has not the bond
	d.offer(second, "other node", 0, 1)           // opens
	d.offer(second, "other node", 1, 1)           // not reached
	d.order.Terms.MinBond = amount.New(100)
	result := l.tryOpen(payer, d.item())
	require.Equal(t, d.leaseID(2), result.LeaseId)
	require.EqualValues(t, 2, result.Candidate)
	require.Len(t, result.Refusals, 2)
	coded(t, markettypes.ErrGeneration, &result.Refusals[0])
	coded(t, registrytypes.ErrInsufficientBond, &result.Refusals[1])
	require.EqualValues(t, 1, result.Refusals[1].Candidate)

	locked := func(a account) string {
		p, err := l.app.Registry.Providers.Get(l.ctx(), a.address)
		require.NoError(t, err)
		return p.Locked
	}
	require.Equal(t, "0", locked(provider))
	require.Equal(t, "100", locked(second))
	r := &running{ledger: l, id: result.LeaseId, node: d.offers[2].node, key: d.receiptKey}
	r.step(second, final, r.receipt(1, 0, true))
	require.Equal(t, "0", locked(second), "closing releases the bond")
}

// TestGasBeforeSignatures: a refused signature has been paid for.
func TestGasBeforeSignatures(t *testing.T) {
	payer, provider := accountOf("payer"), accountOf("provider")
	gas := func(price uint64, spoil bool) int64 {
		l := newLedger(t, []string{"payer", "provider"}, func(g *app.Genesis) { g.Market.GasPerSignature = price })
		l.register(provider, 0, "node")
		d := l.newDeal(payer, provider, "node", 0, 1)
		if spoil {
			d.offers[0].readySigner = signerOf("stranger")
		}
		return l.must(payer, openMsg(payer, false, d.item())).GasUsed
	}
	// Both prices are three bytes in the store, so that reading them costs the same.
	require.EqualValues(t, 2*1_000_000, gas(2_000_000, true)-gas(1_000_000, true), "bid and ready, the second of them bad")
	require.EqualValues(t, 2*1_000_000, gas(2_000_000, false)-gas(1_000_000, false))
}

// TestQueuesAreBounded: five leases run dry at once, two are worked off per
// block, and no one's money depends on when.
func TestQueuesAreBounded(t *testing.T) {
	payer, provider := accountOf("payer"), accountOf("provider")
	l := newLedger(t, []string{"payer", "provider"}, func(g *app.Genesis) {
		g.Market.MaxQueuePerBlock = 2
		g.Market.PruneAfterMs = 100_000
	})
	l.register(provider, 0, "node")
	before := l.balance(payer.address)
	var items []marketv1.OpenItem
	for slot := range uint32(5) {
		d := l.newDeal(payer, provider, "node", slot, 1)
		d.order.Terms.TimeoutMS = 25 * sec
		items = append(items, d.item())
	}
	l.must(payer, openMsg(payer, true, items...))
	require.Equal(t, 5, l.count(marketv1.LeaseState_LEASE_STATE_OPEN))
	require.Equal(t, 5, l.usedOrders())

	l.block(25 * time.Second)
	require.Equal(t, 3, l.count(marketv1.LeaseState_LEASE_STATE_OPEN))
	// A slot whose lease is dry is free, though the queue has not been there.
	again := l.newDeal(payer, provider, "node", 4, 2)
	fresh := l.open(again)
	require.Equal(t, 1+1, l.count(marketv1.LeaseState_LEASE_STATE_OPEN), "one of the five, and the new one")
	l.block(time.Millisecond)
	require.Equal(t, 1, l.count(marketv1.LeaseState_LEASE_STATE_OPEN))
	fresh.step(provider, final, fresh.receipt(1, 0, true))

	l.advance(60 * time.Second) // the windows end
	for range 3 {
		l.block(time.Millisecond)
	}
	require.Equal(t, 6, l.count(marketv1.LeaseState_LEASE_STATE_CLOSED))
	require.Zero(t, l.holds())
	require.Equal(t, before-20, l.balance(payer.address), "the one that was closed by hand cost its bounty")
	require.Zero(t, l.usedOrders(), "orders are remembered until they expire")

	l.advance(100 * time.Second)
	for range 3 {
		l.block(time.Millisecond)
	}
	require.Zero(t, l.count(0), "closed leases are pruned")
	slot, err := keeper.NewQueryServer(l.app.Market).Slot(l.ctx(), &marketv1.QuerySlotRequest{Node: hexOf(signerOf("node").PublicKey()), Slot: 4})
	require.NoError(t, err)
	require.EqualValues(t, 2, slot.Generation, "the last generation is kept")
	require.Empty(t, slot.LeaseId)
}

// count counts leases in a state, 0 for any.
func (l *ledger) count(state marketv1.LeaseState) int {
	res, err := keeper.NewQueryServer(l.app.Market).Leases(l.ctx(), &marketv1.QueryLeasesRequest{State: state})
	require.NoError(l.t, err)
	return len(res.Leases)
}

func (l *ledger) usedOrders() int {
	g, err := l.app.Market.ExportGenesis(l.ctx())
	require.NoError(l.t, err)
	return len(g.UsedOrders)
}

func TestLeaseQueries(t *testing.T) {
	payer, other, provider, second := accountOf("payer"), accountOf("other"), accountOf("provider"), accountOf("second")
	l := newLedger(t, []string{"payer", "other", "provider", "second"}, nil)
	l.register(provider, 0, "node")
	l.register(second, 0, "other node")
	a := l.open(l.newDeal(payer, provider, "node", 0, 1))
	b := l.open(l.newDeal(payer, second, "other node", 0, 1))
	c := l.open(l.newDeal(other, provider, "node", 1, 1))
	b.step(second, final, b.receipt(1, 0, true))

	for _, q := range []struct {
		name string
		req  marketv1.QueryLeasesRequest
		want [][]byte
	}{
		{"payer, in order of opening", marketv1.QueryLeasesRequest{Payer: payer.String()}, [][]byte{a.id, b.id}},
		{"payer, open", marketv1.QueryLeasesRequest{Payer: payer.String(), State: marketv1.LeaseState_LEASE_STATE_OPEN}, [][]byte{a.id}},
		{"payer and provider", marketv1.QueryLeasesRequest{Payer: payer.String(), Provider: second.String()}, [][]byte{b.id}},
		{"provider", marketv1.QueryLeasesRequest{Provider: provider.String()}, [][]byte{a.id, c.id}},
		{"nobody", marketv1.QueryLeasesRequest{Payer: second.String()}, nil},
	} {
		res, err := keeper.NewQueryServer(l.app.Market).Leases(l.ctx(), &q.req)
		require.NoError(t, err, q.name)
		var got [][]byte
		for _, lease := range res.Leases {
			got = append(got, lease.Id)
		}
		require.Equal(t, q.want, got, q.name)
	}
	holds, err := l.app.Escrow.ExportGenesis(l.ctx())
	require.NoError(t, err)
	require.Len(t, holds.Holds, 2)
	require.Equal(t, int64(2*3354), l.balance(moduleAddress(escrowtypes.ModuleName)))
	require.Equal(t, sdk.NewInt64Coin(app.BaseDenom, 3354), holds.Holds[0].Locked[0])
}

// Most module accounts cannot be paid, so they must not lock what would have to
// be refunded.
func TestModuleAccountsLockNothing(t *testing.T) {
	l := newLedger(t, []string{"payer"}, nil)
	module := authtypes.NewModuleAddress(distrtypes.ModuleName)
	require.NoError(t, l.app.Bank.SendCoins(l.ctx(), accountOf("payer").address, module, sdk.NewCoins(sdk.NewInt64Coin(app.BaseDenom, 100))))
	err := l.app.Escrow.Lock(l.ctx(), new(escrowtypes.Till), module, markettypes.SubjectLease, []byte("id"), sdk.NewInt64Coin(app.BaseDenom, 1))
	require.ErrorIs(t, err, escrowtypes.ErrOwner)
}
