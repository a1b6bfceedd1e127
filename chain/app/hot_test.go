package app_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	marketv1 "github.com/moyai-network/moyai/api/moyai/market/v1"
	registryv1 "github.com/moyai-network/moyai/api/moyai/registry/v1"
	markettypes "github.com/moyai-network/moyai/chain/x/market/types"
	registrytypes "github.com/moyai-network/moyai/chain/x/registry/types"
)

// TestHotAccount: what the account may do that a provider named, and what not.
func TestHotAccount(t *testing.T) {
	payer, cold, hot, other := accountOf("payer"), accountOf("provider"), accountOf("hot"), accountOf("other")
	l := newLedger(t, []string{"payer", "provider", "hot", "other"}, nil)
	l.refused(registrytypes.ErrUnknownProvider, cold, &registryv1.MsgSetHot{Operator: cold.String(), Hot: hot.String()})
	l.register(cold, 500, "node")
	record := func(name string, sequence uint64) *registryv1.MsgSetNode {
		m := l.setNode(cold, name, sequence)
		m.Operator = hot.String()
		return m
	}
	l.refused(registrytypes.ErrRecordProvider, hot, record("node", 2))
	l.refused(registrytypes.ErrInvalidAddress, cold, &registryv1.MsgSetHot{Operator: cold.String(), Hot: "moyai1nobody"})
	l.must(cold, &registryv1.MsgSetHot{Operator: cold.String(), Hot: hot.String()})
	l.refused(registrytypes.ErrSameHot, cold, &registryv1.MsgSetHot{Operator: cold.String(), Hot: hot.String()})
	require.Equal(t, hot.String(), l.provider(cold).Hot)

	l.must(hot, record("node", 2))
	l.must(hot, record("second machine", 1))
	require.EqualValues(t, 2, l.provider(cold).Nodes)
	l.must(hot, &registryv1.MsgRevokeNode{Operator: hot.String(), Node: signerOf("second machine").PublicKey()})
	stranger := record("node", 3)
	stranger.Operator = other.String()
	l.refused(registrytypes.ErrRecordProvider, other, stranger)
	l.refused(registrytypes.ErrNodeTaken, other, &registryv1.MsgRevokeNode{Operator: other.String(), Node: signerOf("node").PublicKey()})
	// The money is not its.
	l.refused(registrytypes.ErrUnknownProvider, hot, &registryv1.MsgUnbond{Operator: hot.String(), Amount: coin(1)})
	l.refused(registrytypes.ErrUnknownProvider, hot, &registryv1.MsgLeave{Operator: hot.String()})
	l.refused(registrytypes.ErrUnknownProvider, hot, &registryv1.MsgSetHot{Operator: hot.String(), Hot: other.String()})

	r := l.open(l.newDeal(payer, cold, "node", 0, 1))
	r.advance(70 * time.Second)
	item := marketv1.CloseItem{LeaseId: r.id, Action: oneSided, Proof: r.receipt(5, 58*sec, false)}
	coded(t, markettypes.ErrNotAParty, r.try(other, item).Refusal)
	before, earned := l.balance(hot.address), l.balance(cold.address)
	require.Nil(t, r.try(hot, item).Refusal)
	require.EqualValues(t, 2, r.state().ClosedBy, "as the provider's side")
	r.advance(61 * time.Second)
	require.Equal(t, before+20, l.balance(hot.address), "the bounty is whose the close is")
	require.Equal(t, earned+316, l.balance(cold.address))

	// Taken back, it is a stranger again.
	l.must(cold, &registryv1.MsgSetHot{Operator: cold.String()})
	r = l.open(l.newDeal(payer, cold, "node", 0, 2))
	coded(t, markettypes.ErrNotAParty, r.try(hot, marketv1.CloseItem{LeaseId: r.id, Action: oneSided}).Refusal)
}
