package app_test

import (
	"testing"
	"time"

	sdk "github.com/cosmos/cosmos-sdk/types"
	"github.com/stretchr/testify/require"

	registryv1 "github.com/moyai-network/moyai/api/moyai/registry/v1"
	"github.com/moyai-network/moyai/chain/app"
	"github.com/moyai-network/moyai/chain/x/registry/keeper"
	registrytypes "github.com/moyai-network/moyai/chain/x/registry/types"
	"github.com/moyai-network/moyai/mechanism/amount"
	"github.com/moyai-network/moyai/wire"
)

func coin(sum int64) sdk.Coin { return sdk.NewInt64Coin(app.BaseDenom, sum) }

func TestProviderLife(t *testing.T) {
	payer, provider, second := accountOf("payer"), accountOf("provider"), accountOf("second")
	l := newLedger(t, []string{"payer", "provider", "second"}, nil)
	l.register(provider, 500, "node")
	me := provider.String()
	start := l.balance(provider.address)

	l.refused(registrytypes.ErrProviderExists, provider, &registryv1.MsgRegisterProvider{Operator: me, Bond: coin(1)})
	l.refused(registrytypes.ErrUnknownProvider, second, &registryv1.MsgBond{Operator: second.String(), Amount: coin(1)})
	l.refused(registrytypes.ErrUnknownProvider, second, l.setNode(second, "x", 1))
	l.refused(registrytypes.ErrBondDenom, provider, &registryv1.MsgBond{Operator: me, Amount: sdk.NewInt64Coin("uatom", 1)})
	l.refused(registrytypes.ErrInvalidAmount, provider, &registryv1.MsgBond{Operator: me, Amount: coin(0)})
	l.refused(registrytypes.ErrFunds, provider, &registryv1.MsgBond{Operator: me, Amount: coin(endowment)})
	l.refused(registrytypes.ErrInsufficientBond, provider, &registryv1.MsgUnbond{Operator: me, Amount: coin(501)})
	l.refused(registrytypes.ErrBadText, provider, &registryv1.MsgRegisterProvider{Operator: me, Moniker: string(make([]byte, 65)), Bond: coin(1)})

	// A lease locks part of the bond, so leaving returns the rest first.
	d := l.newDeal(payer, provider, "node", 0, 1)
	d.order.Terms.MinBond = amount.New(200)
	r := l.open(d)
	l.must(provider, &registryv1.MsgLeave{Operator: me})
	l.refused(registrytypes.ErrNothingToReturn, provider, &registryv1.MsgLeave{Operator: me})
	l.refused(registrytypes.ErrLeaving, provider, l.setNode(provider, "late", 1))
	r.step(provider, final, r.receipt(1, 0, true)) // who leaves can still settle
	l.must(provider, &registryv1.MsgLeave{Operator: me})

	res, err := keeper.NewQueryServer(l.app.Registry).Provider(l.ctx(), &registryv1.QueryProviderRequest{Operator: me})
	require.NoError(t, err)
	require.True(t, res.Provider.Leaving)
	require.Equal(t, "0", res.Provider.Bond)
	require.Zero(t, res.Provider.Nodes)
	require.Len(t, res.Unbonding, 2)

	l.advance(121 * time.Second)
	require.Equal(t, start+500+20, l.balance(provider.address), "the bond, and the bounty of the close")
	l.register(provider, 7) // a change of mind
	res, err = keeper.NewQueryServer(l.app.Registry).Provider(l.ctx(), &registryv1.QueryProviderRequest{Operator: me})
	require.NoError(t, err)
	require.Equal(t, "7", res.Provider.Bond)
	require.EqualValues(t, 1, res.Provider.LeasesClosed, "the past is kept")
}

func TestNodeRecords(t *testing.T) {
	provider, second := accountOf("provider"), accountOf("second")
	l := newLedger(t, []string{"provider", "second"}, func(g *app.Genesis) { g.Registry.MaxNodesPerProvider = 2 })
	l.register(provider, 0, "node")
	l.register(second, 0)
	record := func(change func(*wire.NodeRecord), signer string) *registryv1.MsgSetNode {
		v := wire.NodeRecord{
			Version: wire.Version1, ChainID: testChain, Provider: provider.address, Node: signerOf("fresh").PublicKey(), Sequence: 1,
		}
		change(&v)
		return &registryv1.MsgSetNode{Operator: provider.String(), Record: seal(t, v, signerOf(signer))}
	}
	l.refused(registrytypes.ErrBadRecord, provider, &registryv1.MsgSetNode{Operator: provider.String(), Record: []byte("node")})
	l.refused(registrytypes.ErrRecordChain, provider, record(func(r *wire.NodeRecord) { r.ChainID = "moyai-other-1" }, "fresh"))
	l.refused(registrytypes.ErrRecordProvider, provider, record(func(r *wire.NodeRecord) { r.Provider = second.address }, "fresh"))
	l.refused(registrytypes.ErrRecordSignature, provider, record(func(*wire.NodeRecord) {}, "stranger"))
	l.refused(registrytypes.ErrStaleRecord, provider, l.setNode(provider, "node", 1))
	l.refused(registrytypes.ErrNodeTaken, second, l.setNode(second, "node", 9))
	l.refused(registrytypes.ErrUnknownNode, second, &registryv1.MsgRevokeNode{Operator: second.String(), Node: make([]byte, 32)})
	l.refused(registrytypes.ErrNodeTaken, second, &registryv1.MsgRevokeNode{Operator: second.String(), Node: signerOf("node").PublicKey()})

	sequence := uint64(1)
	attributes := func(list ...registryv1.Attribute) *registryv1.MsgSetNode {
		sequence++
		m := l.setNode(provider, "node", sequence)
		m.Attributes = list
		return m
	}
	declared, attested := registryv1.Provenance_PROVENANCE_DECLARED, registryv1.Provenance_PROVENANCE_ATTESTED
	l.refused(registrytypes.ErrBadAttributes, provider, attributes(registryv1.Attribute{Key: "gpu", Value: "h100", Provenance: attested}))
	l.refused(registrytypes.ErrBadAttributes, provider, attributes(
		registryv1.Attribute{Key: "b", Provenance: declared}, registryv1.Attribute{Key: "a", Provenance: declared}))
	l.refused(registrytypes.ErrBadAttributes, provider, attributes(
		registryv1.Attribute{Key: "runtime", Value: "wasm", Provenance: declared}, registryv1.Attribute{Key: "runtime", Value: "wasm", Provenance: declared}))
	several := attributes(
		registryv1.Attribute{Key: "runtime", Value: "container", Provenance: declared}, registryv1.Attribute{Key: "runtime", Value: "wasm", Provenance: declared})
	l.must(provider, several)
	l.must(provider, attributes(registryv1.Attribute{Key: "os", Value: "linux", Provenance: declared}))

	l.must(provider, l.setNode(provider, "second machine", 1))
	l.refused(registrytypes.ErrTooManyNodes, provider, l.setNode(provider, "third machine", 1))
	l.must(provider, &registryv1.MsgRevokeNode{Operator: provider.String(), Node: signerOf("node").PublicKey()})
	l.refused(registrytypes.ErrNodeRevoked, provider, l.setNode(provider, "node", 9))
	l.refused(registrytypes.ErrNodeRevoked, provider, &registryv1.MsgRevokeNode{Operator: provider.String(), Node: signerOf("node").PublicKey()})
	l.must(provider, l.setNode(provider, "third machine", 1))

	q := keeper.NewQueryServer(l.app.Registry)
	all, err := q.Nodes(l.ctx(), &registryv1.QueryNodesRequest{Operator: provider.String()})
	require.NoError(t, err)
	require.Len(t, all.Nodes, 3)
	live, err := q.Nodes(l.ctx(), &registryv1.QueryNodesRequest{Live: true})
	require.NoError(t, err)
	require.Len(t, live.Nodes, 2)
	one, err := q.Node(l.ctx(), &registryv1.QueryNodeRequest{Node: hexOf(signerOf("third machine").PublicKey())})
	require.NoError(t, err)
	require.Equal(t, "eu", one.Node.Region)
}

// TestUnbondingIsBounded: two of three come back in the first block.
func TestUnbondingIsBounded(t *testing.T) {
	provider := accountOf("provider")
	l := newLedger(t, []string{"provider"}, func(g *app.Genesis) { g.Registry.MaxUnbondingPerBlock = 2 })
	l.register(provider, 30)
	var txs [][]byte
	for i := range uint64(3) {
		txs = append(txs, l.sign(provider, i, &registryv1.MsgUnbond{Operator: provider.String(), Amount: coin(10)}))
	}
	l.block(time.Second, txs...)
	before := l.balance(provider.address)
	l.advance(119 * time.Second)
	require.Equal(t, before, l.balance(provider.address), "not a moment early")
	l.block(time.Second)
	require.Equal(t, before+20, l.balance(provider.address))
	l.block(time.Millisecond)
	require.Equal(t, before+30, l.balance(provider.address))
}
