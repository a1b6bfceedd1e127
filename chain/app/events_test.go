package app_test

import (
	"strings"
	"testing"
	"time"

	abci "github.com/cometbft/cometbft/abci/types"
	sdk "github.com/cosmos/cosmos-sdk/types"
	"github.com/stretchr/testify/require"
)

// TestEventsAreTyped holds the hand-made builders to the SDK's own: every event
// of ours parses as its message, and that message builds the same event.
func TestEventsAreTyped(t *testing.T) {
	payer, provider := accountOf("payer"), accountOf("provider")
	l := newLedger(t, []string{"payer", "provider"}, nil)
	l.register(provider, 100, "node")
	var events []abci.Event
	send := func(from account, msg sdk.Msg) {
		res := l.must(from, msg)
		events = append(events, res.Events...)
	}
	a, b := l.newDeal(payer, provider, "node", 0, 1), l.newDeal(payer, provider, "node", 1, 1)
	b.order.Terms.TimeoutMS = 100 * sec
	send(payer, openMsg(payer, true, a.item(), b.item()))
	r := &running{ledger: l, id: a.leaseID(0), node: a.offers[0].node, key: a.receiptKey}
	l.advance(70 * time.Second)
	for _, s := range []struct {
		from   account
		action int32
		proof  []byte
	}{
		{provider, int32(oneSided), r.receipt(1, 50*sec, false)},
		{payer, int32(shown), r.receipt(2, 55*sec, false)},
		{provider, int32(claimed), r.claim(60*sec, r.node)},
		{payer, int32(contests), r.contest(56*sec, r.key)},
		{provider, int32(final), r.receipt(3, 60*sec, true)},
	} {
		send(s.from, closeMsg(s.from, true, closeItem(r.id, s.action, s.proof)))
	}
	events = append(events, l.block(30*time.Second).Events...)
	events = append(events, l.block(30*time.Second).Events...)

	seen := map[string]int{}
	for _, e := range events {
		if !strings.HasPrefix(e.Type, "moyai.") {
			continue
		}
		e.Attributes = withoutIndex(e.Attributes)
		msg, err := sdk.ParseTypedEvent(e)
		require.NoError(t, err, e.Type)
		again, err := sdk.TypedEventToEvent(msg)
		require.NoError(t, err)
		require.Equal(t, withoutIndex(again.Attributes), e.Attributes, e.Type)
		seen[e.Type]++
	}
	require.Equal(t, map[string]int{
		"moyai.market.v1.EventLeaseOpened": 2, "moyai.market.v1.EventLeaseSettling": 2, "moyai.market.v1.EventLeaseUpdated": 3,
		"moyai.market.v1.EventLeaseClosed": 1, "moyai.escrow.v1.EventLocked": 2, "moyai.escrow.v1.EventReleased": 1,
	}, seen)
}

// withoutIndex drops what the application adds to events after the fact.
func withoutIndex(in []abci.EventAttribute) []abci.EventAttribute {
	out := make([]abci.EventAttribute, 0, len(in))
	for _, a := range in {
		if a.Key != "msg_index" && a.Key != "mode" {
			out = append(out, abci.EventAttribute{Key: a.Key, Value: a.Value})
		}
	}
	return out
}
