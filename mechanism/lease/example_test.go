package lease_test

import (
	"testing"

	"github.com/moyai-network/moyai/mechanism/amount"
	"github.com/moyai-network/moyai/mechanism/escrow"
	"github.com/moyai-network/moyai/mechanism/lease"
)

// timed is a step at a meter time.
type timed struct {
	at   uint64
	step lease.Step
}

func both(elapsedMS uint64) *lease.Shown {
	return &lease.Shown{Sequence: 1, ElapsedMS: elapsedMS, NodeSigned: true, KeySigned: true}
}

func final(elapsedMS uint64, r lease.Reason) lease.FinalReceipt {
	return lease.FinalReceipt{Sequence: 2, ElapsedMS: elapsedMS, Reason: r, NodeSigned: true, KeySigned: true, Sender: "provider"}
}

// TestWorkedExample holds every row of the specification's table, written out
// by hand here so that no -update can move it, and that each row spends exactly
// what was locked.
func TestWorkedExample(t *testing.T) {
	const second = 1000
	rows := []struct {
		name                                               string
		timeout                                            uint64
		locked                                             uint64
		steps                                              []timed
		gross, provider, burned, pool, refunded, contester uint64
		bountyTo                                           string
	}{
		{
			name: "cooperative, 90 s", timeout: 600 * second, locked: 3354,
			steps: []timed{{92 * second, final(90*second, lease.ReasonCompleted)}},
			gross: 500, provider: 490, burned: 8, pool: 2, refunded: 2834, bountyTo: "provider",
		},
		{
			name: "tenant vanished: acked 58, claim 68", timeout: 600 * second, locked: 3354,
			steps: []timed{
				{70 * second, lease.OneSided{By: lease.PartyProvider, Reason: lease.ReasonTenantVanished, Receipt: both(58 * second), Sender: "provider"}},
				{71 * second, lease.Claim{ElapsedMS: 68 * second, Sender: "provider"}},
				{130 * second, lease.Expire{}},
			},
			gross: 377, provider: 370, burned: 5, pool: 2, refunded: 2957, bountyTo: "provider",
		},
		{
			name: "same, contested at 58", timeout: 600 * second, locked: 3354,
			steps: []timed{
				{70 * second, lease.OneSided{By: lease.PartyProvider, Reason: lease.ReasonTenantVanished, Receipt: both(58 * second), Sender: "provider"}},
				{71 * second, lease.Claim{ElapsedMS: 68 * second, Sender: "provider"}},
				{72 * second, lease.Contest{ElapsedMS: 58 * second, Sender: "payer"}},
				{130 * second, lease.Expire{}},
			},
			gross: 322, provider: 316, burned: 4 + 35, pool: 2, refunded: 2957, contester: 20, bountyTo: "provider",
		},
		{
			name: "dry, final at 60", timeout: 60 * second, locked: 354,
			steps: []timed{{61 * second, final(60*second, lease.ReasonTimeout)}},
			gross: 333, provider: 327, burned: 4, pool: 2, refunded: 1, bountyTo: "provider",
		},
		{
			name: "provider killed at 40, acked 39, tenant closes", timeout: 600 * second, locked: 3354,
			steps: []timed{
				{55 * second, lease.OneSided{By: lease.PartyPayer, Reason: lease.ReasonProviderVanished, Receipt: both(39 * second), Sender: "payer"}},
				{115 * second, lease.Expire{}},
			},
			gross: 216, provider: 212, burned: 3, pool: 1, refunded: 3118, bountyTo: "payer",
		},
		{
			name: "tenant closes at 20 s, provider shows 58", timeout: 600 * second, locked: 3354,
			steps: []timed{
				{60 * second, lease.OneSided{By: lease.PartyPayer, Receipt: both(20 * second), Sender: "payer"}},
				{61 * second, lease.Receipt{Sequence: 3, ElapsedMS: 58 * second, NodeSigned: true, KeySigned: true, Sender: "provider"}},
				{120 * second, lease.Expire{}},
			},
			gross: 322, provider: 316, burned: 4 + 211, pool: 2, refunded: 2801, bountyTo: "provider",
		},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			p := exampleParams()
			l := mustOpen(t, p, lease.Terms{Rate: mustRate(t, "0.02MOY/h"), TimeoutMS: row.timeout, GraceMS: 30 * second, MaxUnackedMS: 10 * second})
			locked := add(t, l.Hold, l.Bounty)
			if locked != amount.New(row.locked) {
				t.Errorf("locked %s, want %d", locked, row.locked)
			}
			for _, s := range row.steps {
				l = mustApply(t, p, l, s)
			}
			want := lease.Settlement{
				BilledMS: l.Settlement.BilledMS,
				Gross:    amount.New(row.gross), Provider: amount.New(row.provider), Burned: amount.New(row.burned),
				Pool: amount.New(row.pool), Refunded: amount.New(row.refunded), Contester: amount.New(row.contester),
				Bounty: amount.New(20), BountyTo: row.bountyTo,
			}
			if l.State != lease.StateClosed || l.Settlement != want {
				t.Errorf("%s, settlement\n got %+v\nwant %+v", l.State, l.Settlement, want)
			}
			sum := row.provider + row.burned + row.pool + row.refunded + row.contester + 20
			if sum != row.locked {
				t.Errorf("the table's row adds up to %d of %d", sum, row.locked)
			}
			hold := escrow.Hold{Locked: []escrow.Coin{{Denom: "umoy", Amount: locked}}}
			if err := hold.Settle(l.Settlement.Payments("umoy", "umoy")...); err != nil {
				t.Error(err)
			}
		})
	}
}

func mustRate(t testing.TB, price string) amount.Rate {
	t.Helper()
	p, err := amount.ParsePrice(price)
	if err != nil {
		t.Fatal(err)
	}
	r, err := p.Rate()
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func mustOpen(t testing.TB, p lease.Params, terms lease.Terms) lease.Lease {
	t.Helper()
	l, err := lease.Open(p, terms, 0)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func mustApply(t testing.TB, p lease.Params, l lease.Lease, s timed) lease.Lease {
	t.Helper()
	next, err := l.Apply(p, s.step, s.at)
	if err != nil {
		t.Fatalf("%T at %d: %v", s.step, s.at, err)
	}
	return next
}

func add(t testing.TB, amounts ...amount.Amount) amount.Amount {
	t.Helper()
	sum, err := amount.Sum(amounts...)
	if err != nil {
		t.Fatal(err)
	}
	return sum
}
