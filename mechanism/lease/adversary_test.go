package lease_test

import (
	"flag"
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/moyai-network/moyai/mechanism/amount"
	"github.com/moyai-network/moyai/mechanism/escrow"
	"github.com/moyai-network/moyai/mechanism/lease"
	"github.com/moyai-network/moyai/mechanism/receipt"
)

var (
	seedFlag  = flag.Uint64("seed", 0, "seed of the random sequences; 0 takes a new one")
	sequences = flag.Int("sequences", 4000, "random sequences per property")
)

// eachSequence runs a property under many derived seeds, printing the one that
// failed.
func eachSequence(t *testing.T, property func(r *rand.Rand) error) {
	t.Helper()
	seed := *seedFlag
	if seed == 0 {
		seed = uint64(time.Now().UnixNano())
	}
	t.Logf("seed %d: repeat with -seed=%d", seed, seed)
	for n := range *sequences {
		if err := property(rand.New(rand.NewPCG(seed, uint64(n)))); err != nil {
			t.Fatalf("seed %d, sequence %d: %v", seed, n, err)
		}
	}
}

// world is one lease between two parties whose truth the test knows.
type world struct {
	r      *rand.Rand
	params lease.Params
	lease  lease.Lease
	now    uint64
	signed receipt.Receipt // highest that the receipt key countersigned
	begun  bool            // the start receipt was countersigned
	awayMS uint64          // what the receipt key allowed in advance
	log    []string
}

func newWorld(r *rand.Rand) (*world, error) {
	p := exampleParams()
	p.WindowMS = 2 + r.Uint64N(120_000)
	p.SkewMS = r.Uint64N(60_000)
	p.Bounty = amount.New(r.Uint64N(100))
	p.Take = escrow.TakeParams{TakeBps: r.Uint32N(10_001), BurnBps: r.Uint32N(10_001)}
	terms := lease.Terms{
		// From free of charge to far above what 64 bits of base units hold.
		Rate:         amount.NewRate(r.Uint64() >> r.UintN(64)),
		TimeoutMS:    1 + r.Uint64N(600_000),
		GraceMS:      r.Uint64N(60_000),
		MaxUnackedMS: 1 + r.Uint64N(30_000),
	}
	if r.UintN(4) == 0 {
		terms.OfflineMS = r.Uint64N(terms.TimeoutMS + 1)
	}
	now := r.Uint64N(1 << 40)
	l, err := lease.Open(p, terms, now)
	return &world{r: r, params: p, lease: l, now: now}, err
}

// try applies a step and checks what holds for every step of anybody: a
// refusal changes nothing, states only move forward, counters never fall, and
// what would be paid always adds up to what is locked.
func (w *world) try(s lease.Step) error {
	before := w.lease
	next, err := before.Apply(w.params, s, w.now)
	w.log = append(w.log, fmt.Sprintf("%d %T%+v -> %s %v", w.now-before.OpenedAt, s, s, next.State, err))
	if err != nil {
		if next != before {
			return fmt.Errorf("refused and changed\n%v", w.log)
		}
		return nil
	}
	w.lease = next
	switch {
	case before.State == lease.StateClosed:
		return fmt.Errorf("a closed lease moved\n%v", w.log)
	case next.State < before.State:
		return fmt.Errorf("%s became %s\n%v", before.State, next.State, w.log)
	case next.AckedMS < before.AckedMS || next.SignedMS < before.SignedMS || next.AwayMS < before.AwayMS:
		return fmt.Errorf("a counter fell\n%v", w.log)
	case next.Hold != before.Hold || next.Bounty != before.Bounty || next.Terms != before.Terms:
		return fmt.Errorf("money or terms changed before payment\n%v", w.log)
	}
	if err := w.adds(); err != nil {
		return fmt.Errorf("%w\n%v", err, w.log)
	}
	return nil
}

// adds checks that the settlement as it stands spends hold and bounty exactly.
// Amounts cannot be negative by their type; what could fail is the sum.
func (w *world) adds() error {
	s, err := w.lease.Preview(w.params)
	if err != nil {
		return err
	}
	var locked []escrow.Coin
	if !w.lease.Bounty.IsZero() {
		locked = append(locked, escrow.Coin{Denom: "bond", Amount: w.lease.Bounty})
	}
	if !w.lease.Hold.IsZero() {
		locked = append(locked, escrow.Coin{Denom: "price", Amount: w.lease.Hold})
	}
	if s.BilledMS > w.lease.TimeoutMS {
		return fmt.Errorf("billed %d ms of %d", s.BilledMS, w.lease.TimeoutMS)
	}
	if bound := w.now - w.lease.OpenedAt + w.params.SkewMS; s.BilledMS > bound {
		return fmt.Errorf("billed %d ms, %d can have passed", s.BilledMS, bound)
	}
	return escrow.Hold{Locked: locked}.Settle(s.Payments("price", "bond")...)
}

// pass lets meter time go by, and, most of the time, the queue do its work.
func (w *world) pass(ms uint64) error {
	w.now += ms
	if at, ok := w.lease.Deadline(); ok && w.now >= at && w.r.UintN(4) != 0 {
		return w.try(lease.Expire{})
	}
	return nil
}

// finish lets the queue close the lease.
func (w *world) finish() error {
	for w.lease.State != lease.StateClosed {
		at, _ := w.lease.Deadline()
		w.now = max(w.now, at)
		if err := w.try(lease.Expire{}); err != nil {
			return err
		}
	}
	return nil
}

func (w *world) cost(ms uint64) amount.Amount {
	a, err := w.lease.Rate.AccrueFloor(min(ms, w.lease.TimeoutMS))
	if err != nil {
		panic(err)
	}
	return a
}

func (w *world) failf(format string, args ...any) error {
	return fmt.Errorf(format+"\n%v", append(args, w.log)...)
}

// TestAnybodyAnything: whatever steps come from whomever, with whatever
// signatures, nothing is created or lost and no rule of try breaks.
func TestAnybodyAnything(t *testing.T) {
	eachSequence(t, func(r *rand.Rand) error {
		w, err := newWorld(r)
		if err != nil {
			return err
		}
		for range 5 + r.UintN(30) {
			if err := w.try(randomStep(r, w.lease.TimeoutMS)); err != nil {
				return err
			}
			if err := w.pass(r.Uint64N(60_000)); err != nil {
				return err
			}
		}
		return w.finish()
	})
}

func randomStep(r *rand.Rand, timeoutMS uint64) lease.Step {
	elapsed := r.Uint64N(timeoutMS + timeoutMS/8 + 1)
	if r.UintN(50) == 0 {
		elapsed = r.Uint64() // far outside
	}
	away := uint64(0)
	if r.UintN(4) == 0 {
		away = r.Uint64() >> r.UintN(64)
	}
	node, key := r.UintN(8) != 0, r.UintN(3) != 0
	sender := []string{"payer", "provider", "stranger"}[r.UintN(3)]
	switch r.UintN(8) {
	case 0:
		return lease.FinalReceipt{Sequence: r.Uint64(), ElapsedMS: elapsed, Reason: lease.Reason(r.Uint32N(16)),
			NodeSigned: node, KeySigned: key, AwayMS: away, Sender: sender}
	case 1:
		s := lease.OneSided{By: lease.Party(r.UintN(6)), Reason: lease.Reason(r.Uint32N(16)), AwayMS: away, Sender: sender}
		if r.UintN(2) == 0 {
			s.Receipt = &lease.Shown{Sequence: r.Uint64(), ElapsedMS: elapsed, NodeSigned: node, KeySigned: key}
		}
		return s
	case 2, 3:
		return lease.Receipt{Sequence: r.Uint64(), ElapsedMS: elapsed, NodeSigned: node, KeySigned: key, AwayMS: away, Sender: sender}
	case 4, 5:
		return lease.Claim{ElapsedMS: elapsed, Sender: sender}
	case 6:
		return lease.Contest{ElapsedMS: elapsed, Sender: sender}
	}
	return lease.Expire{}
}

// TestHonestProvider: a provider that works only while receipts lag by less
// than max_unacked, and within the window shows its last receipt and claims
// what it worked, against a tenant that does anything its key can do.
//
// Bounds, whatever the tenant does:
//
//	(1) gross ≥ floor(rate × signed): no acknowledgement is ever taken back;
//	(2) gross ≥ floor(rate × (worked − max_unacked)), if the tenant ever
//	    countersigned the start: the loss is at most max_unacked of work;
//	(3) gross = floor(rate × worked) if the claim was not contested;
//	(4) the tenant saves nothing: what leaves it, a contest's fee that it pays
//	    itself set aside, is at least floor(rate × signed).
func TestHonestProvider(t *testing.T) {
	eachSequence(t, func(r *rand.Rand) error {
		w, err := newWorld(r)
		if err != nil {
			return err
		}
		worked, err := w.work(adversarialTenant)
		if err != nil {
			return err
		}
		if err := w.providerShows(worked); err != nil {
			return err
		}
		// The rest of the window is the tenant's.
		for range r.UintN(6) {
			if err := adversarialTenant(w); err != nil {
				return err
			}
			if err := w.pass(r.Uint64N(w.params.WindowMS)); err != nil {
				return err
			}
		}
		if err := w.finish(); err != nil {
			return err
		}
		return w.checkProvider(worked)
	})
}

// work runs the lease until somebody or the queue ends OPEN, and returns how
// long the provider worked. Each side acts once a tick, the tenant as told. No
// tick passes over dry_at: a provider knows from the opening when its window
// begins, however short, and is there.
func (w *world) work(tenant func(*world) error) (worked uint64, err error) {
	ticks := 1 + w.r.UintN(60)
	for range ticks {
		if w.lease.StateAt(w.now) != lease.StateOpen {
			return worked, nil
		}
		tick := min(w.r.Uint64N(8_000), w.lease.DryAt-w.now)
		if w.begun && receipt.MayRun(w.signed.ElapsedMS, worked, w.lease.MaxUnackedMS) {
			// A provider looks at its clock often enough to stop on time.
			most := min(w.signed.ElapsedMS+w.lease.MaxUnackedMS, w.lease.TimeoutMS)
			worked = min(worked+tick, most)
		}
		w.now += tick
		w.propose(worked)
		if err := tenant(w); err != nil {
			return worked, err
		}
	}
	if w.lease.StateAt(w.now) != lease.StateOpen {
		return worked, nil
	}
	s := lease.OneSided{By: lease.PartyProvider, Sender: "provider"}
	if w.begun {
		s.Receipt = w.shown(w.signed.ElapsedMS)
	}
	return worked, w.try(s)
}

// propose has the tenant countersign or not, at its whim; it never signs what
// receipt.Next refuses (that would only cost it more).
func (w *world) propose(worked uint64) {
	if w.r.UintN(3) == 0 {
		return
	}
	if !w.begun {
		w.begun = true
		return
	}
	next := receipt.Receipt{Sequence: w.signed.Sequence + 1, ElapsedMS: worked}
	if receipt.Next(w.signed, next, w.lease.MaxUnackedMS) == nil {
		w.signed = next
	}
}

func (w *world) shown(elapsedMS uint64) *lease.Shown {
	return &lease.Shown{Sequence: w.signed.Sequence, ElapsedMS: elapsedMS, NodeSigned: true, KeySigned: true}
}

// providerShows is what an honest provider does once it sees SETTLING.
func (w *world) providerShows(worked uint64) error {
	if !w.begun || w.lease.State == lease.StateClosed {
		return nil
	}
	if w.lease.State == lease.StateOpen { // dry, the queue has not come yet
		w.now = w.lease.DryAt
	}
	if err := w.try(lease.Receipt{Sequence: w.signed.Sequence, ElapsedMS: w.signed.ElapsedMS, NodeSigned: true, KeySigned: true, Sender: "provider"}); err != nil {
		return err
	}
	return w.try(lease.Claim{ElapsedMS: worked, Sender: "provider"})
}

// adversarialTenant closes with an old receipt or none, contests with any
// counter, expires, or stays silent.
func adversarialTenant(w *world) error {
	old := w.r.Uint64N(w.signed.ElapsedMS + 1)
	switch w.r.UintN(12) {
	case 0:
		s := lease.OneSided{By: lease.PartyPayer, Sender: "payer"}
		if w.begun && w.r.UintN(2) == 0 {
			s.Receipt = w.shown(old)
		}
		return w.try(s)
	case 1, 2:
		return w.try(lease.Contest{ElapsedMS: w.r.Uint64N(w.lease.TimeoutMS + 1), Sender: "payer"})
	case 3:
		return w.try(lease.Contest{ElapsedMS: w.lease.AckedMS, Sender: "payer"})
	case 4:
		if w.begun {
			return w.try(lease.Receipt{ElapsedMS: old, NodeSigned: true, KeySigned: true, Sender: "payer"})
		}
	case 5:
		return w.try(lease.Expire{})
	}
	return nil
}

func (w *world) checkProvider(worked uint64) error {
	s, signed := w.lease.Settlement, w.signed.ElapsedMS
	if !w.begun {
		if !s.Gross.IsZero() || s.Refunded != w.lease.Hold {
			return w.failf("never started, yet gross %s, refunded %s of %s", s.Gross, s.Refunded, w.lease.Hold)
		}
		return nil
	}
	if s.Gross.Cmp(w.cost(signed)) < 0 { // (1)
		return w.failf("gross %s for %d ms signed (%s)", s.Gross, signed, w.cost(signed))
	}
	safe := worked - min(worked, w.lease.MaxUnackedMS)
	if s.Gross.Cmp(w.cost(safe)) < 0 { // (2)
		return w.failf("gross %s for %d ms worked, %d at risk", s.Gross, worked, w.lease.MaxUnackedMS)
	}
	if !w.lease.Contested && s.Gross != w.cost(worked) { // (3)
		return w.failf("gross %s, uncontested work of %d ms is worth %s", s.Gross, worked, w.cost(worked))
	}
	spent, err := w.lease.Hold.Sub(s.Refunded)
	if err == nil {
		spent, err = spent.Sub(s.Contester)
	}
	if err != nil {
		return w.failf("refunded %s, contester %s of %s: %v", s.Refunded, s.Contester, w.lease.Hold, err)
	}
	if spent.Cmp(w.cost(signed)) < 0 { // (4)
		return w.failf("tenant spent %s after signing %d ms (%s)", spent, signed, w.cost(signed))
	}
	return nil
}

// TestHonestTenant: a tenant that signs only receipts in step with its own
// clock, closes with its highest and contests every claim above it, against a
// provider that does anything its node key can do. Some tenants are absent
// through the window, some allowed a counter in advance.
//
// With known = the larger of what was signed and what was allowed in advance:
//
//	(1) what leaves the tenant ≤ floor(rate × (known + max_unacked)), and the
//	    bounty besides;
//	(2) a tenant present in the window pays a gross ≤ floor(rate × known);
//	(3) nothing is billed if it never acknowledged a start.
func TestHonestTenant(t *testing.T) {
	eachSequence(t, func(r *rand.Rand) error {
		w, err := newWorld(r)
		if err != nil {
			return err
		}
		if r.UintN(4) == 0 {
			w.awayMS = r.Uint64N(w.lease.TimeoutMS + 1)
		}
		present := r.UintN(2) == 0
		for range 5 + r.UintN(40) {
			if w.lease.StateAt(w.now) == lease.StateOpen { // an honest tenant signs nothing after its close
				w.propose(w.signed.ElapsedMS + r.Uint64N(w.lease.MaxUnackedMS+1))
			}
			if err := adversarialProvider(w); err != nil {
				return err
			}
			if present {
				if err := w.tenantAnswers(); err != nil {
					return err
				}
			}
			if err := w.pass(r.Uint64N(20_000)); err != nil {
				return err
			}
		}
		if err := w.finish(); err != nil {
			return err
		}
		return w.checkTenant(present)
	})
}

// tenantAnswers is what an honest client does on seeing an event: contest what
// it did not sign; at times it closes.
func (w *world) tenantAnswers() error {
	if w.lease.State == lease.StateSettling && w.lease.Claimed && !w.lease.Contested {
		return w.try(lease.Contest{ElapsedMS: max(w.signed.ElapsedMS, w.lease.AckedMS), Sender: "payer"})
	}
	if w.lease.State == lease.StateOpen && w.r.UintN(20) == 0 {
		s := lease.OneSided{By: lease.PartyPayer, AwayMS: w.awayMS, Sender: "payer"}
		if w.begun {
			s.Receipt = w.shown(w.signed.ElapsedMS)
		}
		return w.try(s)
	}
	return nil
}

// adversarialProvider shows any receipt it has or forges alone, claims
// anything, closes at any time.
func adversarialProvider(w *world) error {
	any := w.r.Uint64N(w.lease.TimeoutMS + w.lease.TimeoutMS/4 + 1)
	if w.r.UintN(20) == 0 {
		any = w.r.Uint64()
	}
	elapsed, key := any, false // the node signs what it likes
	if w.begun && w.r.UintN(2) == 0 {
		elapsed, key = w.r.Uint64N(w.signed.ElapsedMS+1), true // an older one
		if w.r.UintN(2) == 0 {
			elapsed = w.signed.ElapsedMS
		}
	}
	away := uint64(0)
	if w.r.UintN(2) == 0 {
		away = w.awayMS
	}
	switch w.r.UintN(12) {
	case 0:
		s := lease.OneSided{By: lease.PartyProvider, AwayMS: away, Sender: "provider"}
		if w.r.UintN(2) == 0 {
			s.Receipt = &lease.Shown{ElapsedMS: elapsed, NodeSigned: true, KeySigned: key}
		}
		return w.try(s)
	case 1, 2, 3:
		return w.try(lease.Receipt{ElapsedMS: elapsed, NodeSigned: true, KeySigned: key, AwayMS: away, Sender: "provider"})
	case 4, 5, 6:
		return w.try(lease.Claim{ElapsedMS: any, Sender: "provider"})
	case 7:
		// A final receipt the tenant never signed: only what was allowed counts.
		return w.try(lease.FinalReceipt{ElapsedMS: any, Reason: lease.ReasonCompleted, NodeSigned: true, AwayMS: away, Sender: "provider"})
	}
	return nil
}

func (w *world) checkTenant(present bool) error {
	s := w.lease.Settlement
	known := max(w.signed.ElapsedMS, w.awayMS, w.lease.OfflineMS)
	spent, err := w.lease.Hold.Sub(s.Refunded)
	if err != nil {
		return w.failf("refunded %s of %s: %v", s.Refunded, w.lease.Hold, err)
	}
	if worst := w.cost(known + w.lease.MaxUnackedMS); spent.Cmp(worst) > 0 { // (1)
		return w.failf("tenant spent %s, at most %s with %d ms known", spent, worst, known)
	}
	if present && s.Gross.Cmp(w.cost(known)) > 0 { // (2)
		return w.failf("present tenant billed %s, knows %d ms (%s)", s.Gross, known, w.cost(known))
	}
	if !w.begun && w.awayMS == 0 && w.lease.OfflineMS == 0 && !s.Gross.IsZero() { // (3)
		return w.failf("billed %s without a start", s.Gross)
	}
	return nil
}
