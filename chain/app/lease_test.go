package app_test

import (
	"testing"
	"time"

	sdk "github.com/cosmos/cosmos-sdk/types"
	authtypes "github.com/cosmos/cosmos-sdk/x/auth/types"
	"github.com/stretchr/testify/require"

	marketv1 "github.com/moyai-network/moyai/api/moyai/market/v1"
	"github.com/moyai-network/moyai/chain/app"
	escrowtypes "github.com/moyai-network/moyai/chain/x/escrow/types"
)

const sec = 1000 // milliseconds

// TestWorkedExample runs every row of the worked example through signed
// transactions and reads the money from the bank.
func TestWorkedExample(t *testing.T) {
	payer, provider, other := accountOf("payer"), accountOf("provider"), accountOf("other")
	rows := []struct {
		name      string
		timeoutMS uint64
		run       func(r *running)
		// changes of the balances, bounty included
		payer, provider, other, burned, pool int64
	}{
		{
			"cooperative, 90 s", 600 * sec,
			func(r *running) {
				r.advance(95 * time.Second)
				r.step(provider, final, r.receipt(9, 90*sec, true))
			},
			-(3354 - 2834), 490 + 20, 0, 8, 2,
		},
		{
			"tenant vanished: acked 58, claim 68", 600 * sec,
			func(r *running) {
				r.advance(70 * time.Second)
				r.step(provider, oneSided, r.receipt(5, 58*sec, false))
				r.step(provider, claimed, r.claim(68*sec, r.node))
				r.advance(61 * time.Second)
			},
			-(3354 - 2957), 370 + 20, 0, 5, 2,
		},
		{
			"same, contested at 58 by a watchtower", 600 * sec,
			func(r *running) {
				r.advance(70 * time.Second)
				r.step(provider, oneSided, r.receipt(5, 58*sec, false))
				r.step(provider, claimed, r.claim(68*sec, r.node))
				r.step(other, contests, r.contest(58*sec, r.key))
				r.advance(61 * time.Second)
			},
			-(3354 - 2957), 316 + 20, 20, 4 + 35, 2,
		},
		{
			"dry, final at 60", 60 * sec,
			func(r *running) {
				r.advance(61 * time.Second)
				require.Equal(r.t, marketv1.LeaseState_LEASE_STATE_SETTLING, r.state().State)
				r.step(provider, final, r.receipt(6, 60*sec, true))
			},
			-(354 - 1), 327 + 20, 0, 4, 2,
		},
		{
			"provider killed at 40, acked 39, tenant closes", 600 * sec,
			func(r *running) {
				r.advance(45 * time.Second)
				r.step(payer, oneSided, r.receipt(4, 39*sec, false))
				r.advance(61 * time.Second)
			},
			-(3354 - 3118 - 20), 212, 0, 3, 1,
		},
		{
			"tenant closes at 20 s, provider shows 58", 600 * sec,
			func(r *running) {
				r.advance(60 * time.Second)
				r.step(payer, oneSided, r.receipt(2, 20*sec, false))
				r.step(provider, shown, r.receipt(5, 58*sec, false))
				r.advance(61 * time.Second)
			},
			-(3354 - 2801), 316 + 20, 0, 4 + 211, 2,
		},
		{
			"never started: the queue refunds hold and bounty", 600 * sec,
			func(r *running) { r.advance(700 * time.Second) },
			0, 0, 0, 0, 0,
		},
		{
			"away: the node alone counts what was allowed", 600 * sec,
			func(r *running) {
				r.advance(100 * time.Second)
				item := marketv1.CloseItem{
					LeaseId: r.id, Action: final,
					Proof: r.receipt(9, 90*sec, true, r.node), Away: r.away(600*sec, r.key),
				}
				result := r.try(provider, item)
				require.Nil(r.t, result.Refusal)
			},
			-(3354 - 2834), 490 + 20, 0, 8, 2,
		},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			l := newLedger(t, []string{"payer", "provider", "other"}, nil)
			l.register(provider, 0, "node")
			before := l.balances(payer.address, provider.address, other.address)
			supply := l.supply()

			d := l.newDeal(payer, provider, "node", 0, 1)
			d.order.Terms.TimeoutMS = row.timeoutMS
			r := l.open(d)
			hold, bounty := r.state().Hold, r.state().Bounty
			require.Equal(t, "20", bounty)
			require.Equal(t, map[uint64]string{600 * sec: "3334", 60 * sec: "334"}[row.timeoutMS], hold)
			locked := map[uint64]int64{600 * sec: 3354, 60 * sec: 354}[row.timeoutMS]
			require.Equal(t, before[0]-locked, l.balance(payer.address), "what is locked")

			row.run(r)

			closed := r.state()
			require.Equal(t, marketv1.LeaseState_LEASE_STATE_CLOSED, closed.State)
			after := l.balances(payer.address, provider.address, other.address)
			require.Equal(t, row.payer, after[0]-before[0], "payer")
			require.Equal(t, row.provider, after[1]-before[1], "provider")
			require.Equal(t, row.other, after[2]-before[2], "contester")
			require.Equal(t, row.burned, supply-l.supply(), "burned")
			require.Zero(t, row.payer+row.provider+row.other+row.burned+row.pool, "the row itself does not sum to zero")
			require.Equal(t, row.pool, l.pooled(), "pool")
			require.Zero(t, l.balance(authtypes.NewModuleAddress(escrowtypes.ModuleName)), "nothing stays in escrow")

			p, err := l.app.Registry.Providers.Get(l.ctx(), provider.address)
			require.NoError(t, err)
			require.EqualValues(t, 1, p.LeasesClosed)
			require.Equal(t, closed.Settlement.BilledMs/1000, p.SecondsServed)
		})
	}
}

func (l *ledger) balances(of ...sdk.AccAddress) []int64 {
	all := make([]int64, len(of))
	for i, a := range of {
		all[i] = l.balance(a)
	}
	return all
}

// pooled is what the fee collector was given by the escrow.
func (l *ledger) pooled() int64 {
	totals, err := l.app.Escrow.Totals.Get(l.ctx())
	require.NoError(l.t, err)
	return sdk.Coins(totals.Pooled).AmountOf(app.BaseDenom).Int64()
}
