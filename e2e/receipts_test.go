package e2e

import (
	"testing"

	errorsmod "cosmossdk.io/errors"
	marketv1 "github.com/moyai-network/moyai/api/moyai/market/v1"

	"github.com/moyai-network/moyai/chain/x/market/types"
	"github.com/moyai-network/moyai/devnet/forge"
	"github.com/moyai-network/moyai/mechanism/amount"
)

// shown is one step of a close message and how the chain must answer it.
type shown struct {
	what string
	item marketv1.CloseItem
	want *errorsmod.Error // nil: accepted
}

// show sends steps in one transaction, so that all of them meet one state of the
// clock, and returns the fee.
func (w *workshop) show(t testing.TB, steps ...shown) amount.Amount {
	t.Helper()
	items := make([]marketv1.CloseItem, len(steps))
	for i, s := range steps {
		items[i] = s.item
	}
	results, paid := w.step(t, w.operator, items...)
	for i, r := range results {
		switch {
		case steps[i].want == nil && r.Refusal != nil:
			t.Errorf("%s: refused: %+v", steps[i].what, *r.Refusal)
		case steps[i].want != nil && r.Refusal == nil:
			t.Errorf("%s: accepted, the lease is now %s", steps[i].what, r.State)
		case steps[i].want != nil:
			t.Logf("%s: %s", steps[i].what, r.Refusal.Text)
			refusedAs(t, *r.Refusal, steps[i].want)
		}
	}
	return paid
}

// proof ends a test if something could not be signed.
func proof(t testing.TB) func([]byte, error) []byte {
	return func(b []byte, err error) []byte {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
}

// TestForgedReceipts shows the chain counters that go backwards, run ahead of
// the clock, of the hold or of what was countersigned, and an exaggerated
// claim. The provider is paid for what was countersigned and max_unacked, not a
// millisecond more, and for the countersigned part only where the tenant
// contests.
func TestForgedReceipts(t *testing.T) {
	n := network(t)
	w := newWorkshop(t, n)
	claimed, contested := w.deal(t, forge.Change{}), w.deal(t, forge.Change{})
	w.mustOpen(t, claimed, contested)
	must := proof(t)
	at := func(d *forge.Deal, action marketv1.CloseAction, proof []byte) marketv1.CloseItem {
		return marketv1.CloseItem{LeaseId: d.ID(), Action: action, Proof: proof}
	}
	const (
		final    = marketv1.CloseAction_CLOSE_ACTION_FINAL
		oneSided = marketv1.CloseAction_CLOSE_ACTION_ONE_SIDED
		receipt  = marketv1.CloseAction_CLOSE_ACTION_RECEIPT
		claim    = marketv1.CloseAction_CLOSE_ACTION_CLAIM
		contest  = marketv1.CloseAction_CLOSE_ACTION_CONTEST
	)
	payer, operator := balanceOf(t, n, w.payer.Address()), balanceOf(t, n, w.operator.Address())
	paid := w.show(t,
		shown{"a final receipt that only the machine signed", at(claimed, final, must(claimed.Receipt(1, 5_000, true, false))), types.ErrNotAcknowledged},
		shown{"a receipt that is not final", at(claimed, final, must(claimed.Receipt(1, 5_000, false, true))), types.ErrNotFinal},
		shown{"a counter beyond the hold", at(claimed, final, must(claimed.Receipt(1, forge.TimeoutMS+1, true, true))), types.ErrBeyondHold},
		shown{"a counter ahead of the clock", at(claimed, final, must(claimed.Receipt(1, 400_000, true, true))), types.ErrBeyondMeter},
		shown{"another lease's receipt", at(claimed, oneSided, must(contested.Receipt(1, 10_000, false, true))), types.ErrWrongLease},
		shown{"a claim while the lease is open", at(claimed, claim, must(claimed.Claim(60_000))), types.ErrNotSettling},
		shown{"a lease that does not exist", marketv1.CloseItem{LeaseId: make([]byte, 20), Action: oneSided}, types.ErrUnknownLease},
		shown{"ten seconds that both signed", at(claimed, oneSided, must(claimed.Receipt(10, 10_000, false, true))), nil},
		shown{"a receipt that goes backwards", at(claimed, receipt, must(claimed.Receipt(11, 5_000, false, true))), types.ErrReceiptBackwards},
		shown{"a counter that only the machine signed", at(claimed, receipt, must(claimed.Receipt(12, 15_000, false, false))), types.ErrNotAcknowledged},
		shown{"a claim of a minute", at(claimed, claim, must(claimed.Claim(60_000))), nil},
		shown{"a second claim", at(claimed, claim, must(claimed.Claim(20_000))), types.ErrAlreadyClaimed},
		shown{"a second close", at(claimed, oneSided, nil), types.ErrNotOpen},
		shown{"ten seconds of the other lease", at(contested, oneSided, must(contested.Receipt(10, 10_000, false, true))), nil},
		shown{"a claim of a minute on the other lease", at(contested, claim, must(contested.Claim(60_000))), nil},
		shown{"a contest below what was signed", at(contested, contest, must(contested.Contest(9_999))), types.ErrContestBelowAcked},
		shown{"a contest by the machine itself", at(contested, contest, must(contested.Claim(10_000))), types.ErrWrongKey},
		shown{"a contest at what was signed", at(contested, contest, must(contested.Contest(10_000))), nil},
		shown{"a second contest", at(contested, contest, must(contested.Contest(10_000))), types.ErrAlreadyContested},
	)
	free(t, n, w.payer.Address())

	// 20 s at 0.02 MOY/h, of which 2% are taken and 80% of that burned.
	s := settlement(t, n, claimed.ID())
	checkSettlement(t, s, marketv1.Settlement{BilledMs: 20_000, Gross: "111", Provider: "109", Burned: "1", Pool: "1", Refunded: "3223", Contester: "0", Bounty: "20"})
	// 10 s; of the 56 that were claimed and refused the contester (here the
	// operator, who sent the contest) gets back 20 and 36 are burned.
	c := settlement(t, n, contested.ID())
	checkSettlement(t, c, marketv1.Settlement{BilledMs: 10_000, Gross: "55", Provider: "54", Burned: "36", Pool: "1", Refunded: "3223", Contester: "20", Bounty: "20"})

	earned, err := amount.Sum(operator, amount.New(109+20), amount.New(54+20+20))
	if err != nil {
		t.Fatal(err)
	}
	spent(t, n, w.operator.Address(), earned, paid)
	back, err := amount.Sum(payer, amount.New(2*3223))
	if err != nil {
		t.Fatal(err)
	}
	spent(t, n, w.payer.Address(), back)
}
