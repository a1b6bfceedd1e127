package app_test

import (
	"testing"
	"time"

	sdk "github.com/cosmos/cosmos-sdk/types"
	"github.com/stretchr/testify/require"

	marketv1 "github.com/moyai-network/moyai/api/moyai/market/v1"
	registryv1 "github.com/moyai-network/moyai/api/moyai/registry/v1"
	"github.com/moyai-network/moyai/chain/app"
	escrowtypes "github.com/moyai-network/moyai/chain/x/escrow/types"
	registrytypes "github.com/moyai-network/moyai/chain/x/registry/types"
	"github.com/moyai-network/moyai/mechanism/amount"
	"github.com/moyai-network/moyai/wire"
)

// newcomersFill: a tenth of what is earned fills a bond up to 60.
func newcomersFill(g *app.Genesis) {
	g.Registry.BondFloor, g.Registry.BondFillBps, g.Registry.FirstFees = "60", 1_000, "100"
}

func (l *ledger) provider(a account) registryv1.Provider {
	l.t.Helper()
	p, err := l.app.Registry.Providers.Get(l.ctx(), a.address)
	require.NoError(l.t, err)
	return p
}

// TestNewcomerJoins: an account that nobody ever sent anything to becomes a
// provider by its first lease, fills its bond with what it earns, and leaves.
func TestNewcomerJoins(t *testing.T) {
	payer, newcomer := accountOf("payer"), accountOf("newcomer")
	l := newLedger(t, []string{"payer"}, newcomersFill)
	require.False(t, l.app.Accounts.HasAccount(l.ctx(), newcomer.address))
	rich := l.balance(payer.address)

	d := l.newDeal(payer, newcomer, "fresh node", 0, 1)
	d.offers[0].record = d.joining(0, newcomer, nil)
	first := l.open(d)
	require.Equal(t, rich-3354-100, l.balance(payer.address), "hold, bounty and the newcomer's first fees")
	require.EqualValues(t, 100, l.balance(newcomer.address))
	p := l.provider(newcomer)
	require.True(t, p.Joined)
	require.EqualValues(t, 1, p.Nodes)

	// The first fees are what a tenant that vanishes cannot take away: it is the
	// newcomer that closes.
	first.advance(95 * time.Second)
	first.step(newcomer, oneSided, first.receipt(9, 90*sec, false))
	first.advance(61 * time.Second)
	s := first.state().Settlement
	require.Equal(t, "490", s.Provider)
	require.Equal(t, "49", s.Bonded)
	require.EqualValues(t, 100+441+20, l.balance(newcomer.address))
	require.Equal(t, "49", l.provider(newcomer).Bond)
	require.EqualValues(t, 490, sdk.Coins(l.provider(newcomer).Earned).AmountOf(app.BaseDenom).Int64(), "the bond is earned too")
	require.EqualValues(t, 49, l.balance(moduleAddress(registrytypes.ModuleName)))

	// No record is needed any more, and a lease may lock what was filled.
	d = l.newDeal(payer, newcomer, "fresh node", 0, 2)
	d.order.Terms.MinBond = amount.New(49)
	second := l.open(d)
	second.advance(95 * time.Second)
	second.step(newcomer, final, second.receipt(9, 90*sec, true))
	require.Equal(t, "11", second.state().Settlement.Bonded, "up to the floor")
	require.Equal(t, "60", l.provider(newcomer).Bond)
	require.EqualValues(t, 100+441+20+479+20, l.balance(newcomer.address))

	// It gives itself a name: registering once is not refused, twice is.
	register := &registryv1.MsgRegisterProvider{Operator: newcomer.String(), Moniker: "at last", Bond: coin(0)}
	l.must(newcomer, register)
	require.Equal(t, "at last", l.provider(newcomer).Moniker)
	l.refused(registrytypes.ErrProviderExists, newcomer, register)

	l.must(newcomer, &registryv1.MsgLeave{Operator: newcomer.String()})
	l.advance(121 * time.Second)
	require.EqualValues(t, 100+441+20+479+20+60, l.balance(newcomer.address))
}

// TestJoiningInABatch: several items of one message may bring the same newcomer;
// it joins once, and an item that is refused leaves nothing of it behind.
func TestJoiningInABatch(t *testing.T) {
	payer, newcomer, other := accountOf("payer"), accountOf("newcomer"), accountOf("other newcomer")
	l := newLedger(t, []string{"payer"}, newcomersFill)
	var items []marketv1.OpenItem
	for slot := range uint32(2) {
		d := l.newDeal(payer, newcomer, "fresh node", slot, 1)
		d.offers[0].record = d.joining(0, newcomer, nil)
		items = append(items, d.item())
	}
	bad := l.newDeal(payer, other, "other node", 0, 1)
	bad.order.Terms.MinBond = amount.New(1)
	bad.offers[0].record = bad.joining(0, other, nil)
	items = append(items, bad.item())

	res := response(t, l.must(payer, openMsg(payer, false, items...)), &marketv1.MsgOpenLeasesResponse{})
	require.NotEmpty(t, res.Results[0].LeaseId)
	require.NotEmpty(t, res.Results[1].LeaseId)
	coded(t, registrytypes.ErrInsufficientBond, &res.Results[2].Refusals[0])
	require.EqualValues(t, 1, l.provider(newcomer).Nodes)
	require.EqualValues(t, 100, l.balance(newcomer.address), "first fees are paid once")
	require.Zero(t, l.balance(other.address))
	has, err := l.app.Registry.Providers.Has(l.ctx(), other.address)
	require.NoError(t, err)
	require.False(t, has)
}

// TestJoiningIsRefused: each refusal has its code, and the record of a node that
// is known is not even read.
func TestJoiningIsRefused(t *testing.T) {
	payer, newcomer, victim, leaver := accountOf("payer"), accountOf("newcomer"), accountOf("victim"), accountOf("leaver")
	l := newLedger(t, []string{"payer", "victim", "leaver"}, func(g *app.Genesis) {
		newcomersFill(g)
		g.Registry.MaxNodesPerProvider = 1
	})
	l.register(victim, 500, "victim's node")
	l.register(leaver, 0)
	l.must(leaver, &registryv1.MsgLeave{Operator: leaver.String()})

	for _, c := range []struct {
		name    string
		account account // whose bid it is
		record  func(d *deal) []byte
		why     interface {
			Codespace() string
			ABCICode() uint32
			Error() string
		}
	}{
		{"no record", newcomer, func(*deal) []byte { return nil }, registrytypes.ErrUnknownNode},
		{"not a record", newcomer, func(*deal) []byte { return []byte("node") }, registrytypes.ErrBadRecord},
		{"another chain's", newcomer, func(d *deal) []byte {
			return d.joining(0, newcomer, func(r *wire.NodeRecord) { r.ChainID = "moyai-other-1" })
		}, registrytypes.ErrRecordChain},
		{"another provider's", newcomer, func(d *deal) []byte {
			return d.joining(0, victim, func(r *wire.NodeRecord) { r.Provider = victim.address })
		}, registrytypes.ErrRecordProvider},
		{"another node's", newcomer, func(d *deal) []byte {
			d.offers[0].node = signerOf("another node")
			return d.joining(0, newcomer, func(r *wire.NodeRecord) { r.Node = signerOf("another node").PublicKey() })
		}, registrytypes.ErrRecordNode},
		{"not signed by the node", newcomer, func(d *deal) []byte {
			d.offers[0].node = signerOf("another node")
			return d.joining(0, newcomer, nil)
		}, registrytypes.ErrRecordSignature},
		{"in somebody else's name", victim, func(d *deal) []byte { return d.joining(0, newcomer, nil) }, registrytypes.ErrRecordConsent},
		{"of long ago", newcomer, func(d *deal) []byte {
			return d.joining(0, newcomer, func(r *wire.NodeRecord) { r.Sequence -= 25 * 3600 * sec })
		}, registrytypes.ErrRecordTime},
		{"of the future", newcomer, func(d *deal) []byte {
			return d.joining(0, newcomer, func(r *wire.NodeRecord) { r.Sequence += 25 * 3600 * sec })
		}, registrytypes.ErrRecordTime},
		{"of a provider that is leaving", leaver, func(d *deal) []byte { return d.joining(0, leaver, nil) }, registrytypes.ErrLeaving},
		{"one node too many", victim, func(d *deal) []byte { return d.joining(0, victim, nil) }, registrytypes.ErrTooManyNodes},
	} {
		d := l.newDeal(payer, c.account, "fresh node", 0, 1)
		d.offers[0].record = c.record(d)
		result := l.tryOpen(payer, d.item())
		require.Empty(t, result.LeaseId, c.name)
		t.Log(c.name, result.Refusals)
		coded(t, c.why, &result.Refusals[0])
	}

	d := l.newDeal(payer, victim, "victim's node", 0, 1)
	d.offers[0].record = []byte("not read")
	l.open(d)

	// A payer that cannot pay the first fees opens nothing, and nobody joins.
	poor := accountOf("poor")
	l = newLedger(t, []string{"payer"}, func(g *app.Genesis) {
		newcomersFill(g)
		g.Accounts = append(g.Accounts, app.GenesisAccount{Address: poor.address, Coins: sdk.NewCoins(coin(3354 + 99))})
	})
	d = l.newDeal(poor, newcomer, "fresh node", 0, 1)
	d.offers[0].record = d.joining(0, newcomer, nil)
	coded(t, escrowtypes.ErrFunds, &l.tryOpen(poor, d.item()).Refusals[0])
	require.EqualValues(t, 3354+99, l.balance(poor.address))
	require.False(t, l.app.Accounts.HasAccount(l.ctx(), newcomer.address))
}

// TestAnotherMachineJoins: with its operator's signature a machine joins a
// provider that is known, and is given no first fees.
func TestAnotherMachineJoins(t *testing.T) {
	payer, provider := accountOf("payer"), accountOf("provider")
	l := newLedger(t, []string{"payer", "provider"}, newcomersFill)
	l.register(provider, 500, "node")
	before := l.balance(provider.address)
	d := l.newDeal(payer, provider, "second machine", 0, 1)
	d.order.Terms.MinBond = amount.New(100)
	d.offers[0].record = d.joining(0, provider, nil)
	l.open(d)
	require.Equal(t, before, l.balance(provider.address))
	p := l.provider(provider)
	require.False(t, p.Joined)
	require.EqualValues(t, 2, p.Nodes)
	require.Equal(t, "100", p.Locked)

	// A key that was revoked does not come back this way either.
	l.must(provider, &registryv1.MsgRevokeNode{Operator: provider.String(), Node: signerOf("second machine").PublicKey()})
	d = l.newDeal(payer, provider, "second machine", 1, 1)
	d.offers[0].record = d.joining(0, provider, nil)
	coded(t, registrytypes.ErrNodeRevoked, &l.tryOpen(payer, d.item()).Refusals[0])
}

func TestBondHolderIsTheRegistry(t *testing.T) {
	require.Equal(t, registrytypes.ModuleName, escrowtypes.BondHolder)
}
