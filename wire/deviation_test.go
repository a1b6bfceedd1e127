package wire

import (
	"strings"
	"testing"

	"github.com/moyai-network/moyai/mechanism/amount"
	"github.com/moyai-network/moyai/mechanism/lease"
)

// TestDeviations computes the table "nobody gains by deviating" of the
// specification: what one step off the honest path changes for whoever takes it.
func TestDeviations(t *testing.T) {
	const open = "order timeout=600s\n\nbid\n\nready\n\nopen\n\nadvance 70s\n\n" +
		"receipt r20 at=20s\n\nreceipt r58 at=58s\n\nreceipt r80 at=80s\n\n" +
		"claim c68 at=68s\n\nclaim c90 at=90s\n\nclaim c600 at=600s\n\ncontest d58 at=58s\n\ncontest d80 at=80s\n\n"
	settle := func(steps string) lease.Settlement {
		t.Helper()
		_, s := replay(t, open+steps+"advance 60s\n\nexpire\n")
		if s.lease.State != lease.StateClosed {
			t.Fatalf("%s: %s", steps, s.lease.State)
		}
		return s.lease.Settlement
	}
	spent := func(s lease.Settlement) uint64 { return 3334 - number(t, s.Refunded) }

	// Withholding the last 10 of 90 s and contesting them.
	honest := settle("advance 20s\n\nreceipt end at=90s\n\nsubmit close end by=provider\n\n")
	withheld := settle("advance 20s\n\nsubmit close r80 by=provider\n\nsubmit claim c90 by=provider\n\nsubmit contest d80 by=payer\n\n")
	if spent(honest) != 500 || spent(withheld) != 500 {
		t.Errorf("honest costs %d, withholding %d, want 500 for both", spent(honest), spent(withheld))
	}

	// Closing at 20 s of 58 signed.
	paid58 := settle("submit close r58 by=payer\n\n")
	shown := settle("submit close r20 by=payer\n\nsubmit receipt r58 by=provider\n\n")
	dark := settle("submit close r20 by=payer\n\n")
	lost := spent(shown) - spent(paid58) + bountyLost(t, paid58, shown)
	if gained := spent(paid58) - spent(dark); lost != 231 || gained != 211 {
		t.Errorf("a stale close loses %d and gains %d, want 231 and 211", lost, gained)
	}

	// Claiming 10 s too many, and any number too many.
	fair := settle("submit close r58 by=provider\n\n")
	contested := settle("submit close r58 by=provider\n\nsubmit claim c68 by=provider\n\nsubmit contest d58 by=payer\n\n")
	absent := settle("submit close r58 by=provider\n\nsubmit claim c68 by=provider\n\n")
	greedy := settle("submit close r58 by=provider\n\nsubmit claim c600 by=provider\n\n")
	if contested.Provider != fair.Provider {
		t.Errorf("an over-claim pays %s against a contest, honesty %s", contested.Provider, fair.Provider)
	}
	if gained := number(t, absent.Provider) - number(t, fair.Provider); gained != 54 || greedy.Provider != absent.Provider {
		t.Errorf("an over-claim gains %d against nobody, want 54; claiming all pays %s", gained, greedy.Provider)
	}
	spec := readSpec(t)
	for _, figure := range []string{"in all 500 as before", "loses 231: 211 burned once more", "**gains 211**", "**gains 54** (370 instead of 316)"} {
		if !strings.Contains(spec, figure) {
			t.Errorf("the spec lacks %q", figure)
		}
	}
}

// bountyLost is what the payer's side no longer earns of the bounty.
func bountyLost(t *testing.T, before, after lease.Settlement) uint64 {
	t.Helper()
	if before.BountyTo == "payer" && after.BountyTo != "payer" {
		return number(t, before.Bounty)
	}
	return 0
}

func number(t *testing.T, a amount.Amount) uint64 {
	t.Helper()
	n, ok := a.Uint64()
	if !ok {
		t.Fatalf("%s is beyond this test", a)
	}
	return n
}
