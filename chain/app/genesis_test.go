package app_test

import (
	"encoding/hex"
	"encoding/json"
	"fmt"
	"math/rand"
	"testing"
	"time"

	sdkmath "cosmossdk.io/math"
	dbm "github.com/cosmos/cosmos-db"
	sdk "github.com/cosmos/cosmos-sdk/types"
	authtypes "github.com/cosmos/cosmos-sdk/x/auth/types"
	"github.com/stretchr/testify/require"

	marketv1 "github.com/moyai-network/moyai/api/moyai/market/v1"
	registryv1 "github.com/moyai-network/moyai/api/moyai/registry/v1"
	"github.com/moyai-network/moyai/chain/app"
	escrowtypes "github.com/moyai-network/moyai/chain/x/escrow/types"
	registrytypes "github.com/moyai-network/moyai/chain/x/registry/types"
	"github.com/moyai-network/moyai/mechanism/amount"
	"github.com/moyai-network/moyai/wire"
)

func moduleAddress(name string) sdk.AccAddress { return authtypes.NewModuleAddress(name) }

func hexOf(b []byte) string { return hex.EncodeToString(b) }

// TestGenesisRoundTrip exports a chain in the middle of its life, imports that
// and exports again: nothing may differ.
func TestGenesisRoundTrip(t *testing.T) {
	l := newLedger(t, []string{"payer", "provider", "second"}, fillsBonds)
	s := newStory(l, 1)
	for range 40 {
		s.step()
	}
	s.provider.mustUnbond(l, 5)
	first, err := l.app.Export()
	require.NoError(t, err)
	var state map[string]json.RawMessage
	require.NoError(t, json.Unmarshal(first.AppState, &state))
	require.NoError(t, l.app.ValidateGenesis(state))

	again := openApp(t, dbm.NewMemDB())
	second, err := again.ImportExport(state, first.Height, l.now, testChain)
	require.NoError(t, err)
	require.JSONEq(t, string(first.AppState), string(second))

	// And the imported chain goes on: it makes blocks, and its leases end.
	heir := &ledger{t: t, app: openApp(t, dbm.NewMemDB()), now: l.now, genesis: first.AppState, proposer: l.proposer, gas: l.gas}
	heir.initChain(first.Height)
	heir.advance(20 * time.Minute)
	require.Zero(t, heir.count(marketv1.LeaseState_LEASE_STATE_OPEN))
	require.Zero(t, heir.count(marketv1.LeaseState_LEASE_STATE_SETTLING))
	require.Zero(t, heir.holds())
}

func (a account) mustUnbond(l *ledger, sum int64) {
	l.must(a, &registryv1.MsgUnbond{Operator: a.String(), Amount: sdk.NewInt64Coin(app.BaseDenom, sum)})
}

// TestSupplyIsConserved lets two adversaries do random things: what exists plus
// what was burned never changes, and each module account holds exactly what its
// records say it owes.
func TestSupplyIsConserved(t *testing.T) {
	for _, seed := range []int64{1, 2, time.Now().UnixNano()} {
		t.Run(fmt.Sprintf("seed %d", seed), func(t *testing.T) {
			l := newLedger(t, []string{"payer", "provider", "second"}, func(g *app.Genesis) {
				g.Market.MaxQueuePerBlock = 3
				g.Market.PruneAfterMs = 200_000
				fillsBonds(g)
			})
			supply := l.supply()
			s := newStory(l, seed)
			for i := range 150 {
				s.step()
				s.check(supply, i)
			}
			l.advance(20 * time.Minute)
			for range 20 {
				l.block(time.Second)
			}
			s.check(supply, -1)
			require.Zero(t, l.holds(), "every lease ends")
			require.Zero(t, l.balance(moduleAddress(escrowtypes.ModuleName)))
			require.Positive(t, s.accepted, "the story did nothing")
		})
	}
}

// fillsBonds has the story's provider begin below the floor, and fall below it
// again when it unbonds.
func fillsBonds(g *app.Genesis) { g.Registry.BondFloor, g.Registry.BondFillBps = "1500", 3_000 }

// story is a random sequence of what payer and provider may do, in and out of
// turn.
type story struct {
	*ledger
	rng             *rand.Rand
	payer, provider account
	leases          []*running
	generation      uint64
	accepted        int
}

func newStory(l *ledger, seed int64) *story {
	s := &story{ledger: l, rng: rand.New(rand.NewSource(seed)), payer: accountOf("payer"), provider: accountOf("provider")}
	l.register(s.provider, 1000, "node")
	return s
}

func (s *story) step() {
	switch n := s.rng.Intn(10); {
	case n < 3 || len(s.leases) == 0:
		s.open()
	case n < 8:
		s.act()
	case n < 9:
		s.block(time.Duration(s.rng.Intn(30_000)) * time.Millisecond)
	default:
		s.bond()
	}
}

func (s *story) open() {
	s.generation++
	d := s.newDeal(s.payer, s.provider, "node", uint32(s.rng.Intn(4)), s.generation)
	d.order.Terms.TimeoutMS = uint64(1 + s.rng.Intn(120_000))
	d.order.Terms.MinBond = amount.New(uint64(s.rng.Intn(300)))
	if s.rng.Intn(3) == 0 {
		d.order.Terms.OfflineMax = amount.New(uint64(s.rng.Intn(500)))
	}
	d.offers[0].bid.Rate = rateOf(s.t, fmt.Sprint(s.rng.Int63n(5_555_555_555_556)))
	if s.rng.Intn(4) == 0 {
		newcomer := accountOf(fmt.Sprintf("newcomer %d", s.rng.Intn(3)))
		o := d.offers[0]
		o.node = signerOf("node of " + newcomer.String())
		o.bidSigner, o.readySigner, o.bid.Provider, o.bid.Node = o.node, o.node, newcomer.address, o.node.PublicKey()
		o.record = d.joining(0, newcomer, nil)
	}
	if len(s.tryOpen(s.payer, d.item()).LeaseId) > 0 {
		s.accepted++
		s.leases = append(s.leases, &running{ledger: s.ledger, id: d.leaseID(0), node: d.offers[0].node, key: d.receiptKey})
	}
}

func (s *story) act() {
	r := s.leases[s.rng.Intn(len(s.leases))]
	from := []account{s.payer, s.provider, accountOf("second")}[s.rng.Intn(3)]
	elapsed := uint64(s.rng.Intn(130_000))
	sequence := uint64(1 + s.rng.Intn(10))
	item := marketv1.CloseItem{LeaseId: r.id, Action: marketv1.CloseAction(1 + s.rng.Intn(5))}
	both := []wire.Signer{r.node, r.key}
	signers := [][]wire.Signer{both, both, both, {r.node}}[s.rng.Intn(4)]
	switch item.Action {
	case final:
		item.Proof = r.receipt(sequence, elapsed, true, signers...)
	case oneSided, shown:
		item.Proof = r.receipt(sequence, elapsed, false, signers...)
	case claimed:
		item.Proof = r.claim(elapsed, r.node)
	case contests:
		item.Proof = r.contest(elapsed, r.key)
	}
	if s.rng.Intn(4) == 0 {
		item.Away = r.away(elapsed, r.key)
	}
	if r.try(from, item).Refusal == nil {
		s.accepted++
	}
}

func (s *story) bond() {
	coin := sdk.NewInt64Coin(app.BaseDenom, int64(1+s.rng.Intn(200)))
	if s.rng.Intn(2) == 0 {
		s.must(s.provider, &registryv1.MsgBond{Operator: s.provider.String(), Amount: coin})
		return
	}
	s.send(s.provider, &registryv1.MsgUnbond{Operator: s.provider.String(), Amount: coin}) // may lack free bond
}

func (s *story) check(supply int64, at int) {
	s.t.Helper()
	escrow, err := s.app.Escrow.ExportGenesis(s.ctx())
	require.NoError(s.t, err)
	burned := sdk.Coins(escrow.Totals.Burned).AmountOf(app.BaseDenom).Int64()
	require.Equal(s.t, supply, s.supply()+burned, "step %d: supply and burned", at)
	var held int64
	for _, h := range escrow.Holds {
		held += sdk.Coins(h.Locked).AmountOf(app.BaseDenom).Int64()
	}
	require.Equal(s.t, held, s.balance(moduleAddress(escrowtypes.ModuleName)), "step %d: holds", at)

	registry, err := s.app.Registry.ExportGenesis(s.ctx())
	require.NoError(s.t, err)
	owed := sdkmath.ZeroInt()
	add := func(text string) {
		i, ok := sdkmath.NewIntFromString(text)
		require.True(s.t, ok)
		owed = owed.Add(i)
	}
	for _, p := range registry.Providers {
		add(p.Bond)
	}
	for _, u := range registry.Unbondings {
		add(u.Amount)
	}
	require.Equal(s.t, owed.Int64(), s.balance(moduleAddress(registrytypes.ModuleName)), "step %d: bonds", at)
	s.checkLocked(at)
}

// checkLocked: a provider's locked bond is what its unfinished leases lock.
func (s *story) checkLocked(at int) {
	s.t.Helper()
	market, err := s.app.Market.ExportGenesis(s.ctx())
	require.NoError(s.t, err)
	locked := sdkmath.ZeroInt()
	for _, l := range market.Leases {
		if l.State != marketv1.LeaseState_LEASE_STATE_CLOSED && l.Provider == s.provider.String() {
			i, _ := sdkmath.NewIntFromString(l.Bond)
			locked = locked.Add(i)
		}
	}
	p, err := s.app.Registry.Providers.Get(s.ctx(), s.provider.address)
	require.NoError(s.t, err)
	require.Equal(s.t, locked.String(), p.Locked, "step %d: locked bond", at)
}
