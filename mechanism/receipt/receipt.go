// Package receipt has the rules by which two sides meter work together: what a
// tenant's receipt key may countersign, and how far a provider may run ahead.
//
// A receipt is a cumulative counter of milliseconds since Start, so the last
// one says everything and lost ones cost nothing. Signatures and bytes are
// wire's; what a receipt is worth on the chain is lease's.
package receipt

import (
	"errors"
	"fmt"
	"math"

	"github.com/moyai-network/moyai/mechanism/lease"
)

// Errors a countersigner refuses with.
var (
	// ErrSequence: the sequence number does not grow, or a start is not number 0.
	ErrSequence = errors.New("receipt sequence does not grow")
	// ErrBackwards: the counter fell.
	ErrBackwards = errors.New("receipt counter goes backwards")
	// ErrSkips: the counter runs further ahead than max_unacked.
	ErrSkips = errors.New("receipt skips past max_unacked")
	// ErrAfterFinal: a receipt follows the final one.
	ErrAfterFinal = errors.New("receipt after the final one")
	// ErrReason: a final receipt without a known reason, or a reason on another.
	ErrReason = errors.New("receipt reason does not fit")
	// ErrAhead: the counter is ahead of the countersigner's own clock.
	ErrAhead = errors.New("receipt counter is ahead of the clock")
)

// Receipt is the unsigned content that the rules look at.
type Receipt struct {
	Sequence  uint64
	ElapsedMS uint64 // provider's monotonic clock since Start
	Final     bool
	Reason    lease.Reason // set on final receipts only
}

// Start checks the first receipt of a lease: sequence 0, counter 0, not final.
// Nothing is owed before it is countersigned. It returns ErrSequence,
// ErrSkips, ErrAfterFinal or ErrReason.
func Start(r Receipt) error {
	switch {
	case r.Sequence != 0:
		return fmt.Errorf("start receipt has sequence %d: %w", r.Sequence, ErrSequence)
	case r.ElapsedMS != 0:
		return fmt.Errorf("start receipt has counter %d ms: %w", r.ElapsedMS, ErrSkips)
	case r.Final:
		return fmt.Errorf("start receipt is final: %w", ErrAfterFinal)
	}
	return checkReason(r)
}

// Next checks next against the last receipt that was countersigned. The
// sequence must grow (numbers may be missing: a proposal can be lost), the
// counter must not fall, nor exceed the last by more than maxUnackedMS
// milliseconds, and nothing follows a final receipt. It returns ErrAfterFinal,
// ErrSequence, ErrBackwards, ErrSkips or ErrReason.
func Next(prev, next Receipt, maxUnackedMS uint64) error {
	return NextAllowed(prev, next, 0, maxUnackedMS)
}

// NextAllowed is Next for a tenant that allowed a counter in advance (by the
// order's offline term or an Away): the provider may have worked up to
// allowedMS alone, so next may exceed the larger of that and the last receipt
// by maxUnackedMS. It must still not fall below the last receipt.
func NextAllowed(prev, next Receipt, allowedMS, maxUnackedMS uint64) error {
	known := max(prev.ElapsedMS, allowedMS)
	switch {
	case prev.Final:
		return fmt.Errorf("receipt %d after final receipt %d: %w", next.Sequence, prev.Sequence, ErrAfterFinal)
	case next.Sequence <= prev.Sequence:
		return fmt.Errorf("receipt %d after %d: %w", next.Sequence, prev.Sequence, ErrSequence)
	case next.ElapsedMS < prev.ElapsedMS:
		return fmt.Errorf("receipt counts %d ms after %d ms: %w", next.ElapsedMS, prev.ElapsedMS, ErrBackwards)
	case next.ElapsedMS > known && next.ElapsedMS-known > maxUnackedMS:
		return fmt.Errorf("receipt counts %d ms, acknowledged are %d ms and %d ms more are allowed: %w",
			next.ElapsedMS, known, maxUnackedMS, ErrSkips)
	}
	return checkReason(next)
}

// Plausible checks a counter against the countersigner's own clock: observedMS
// since it saw Start, give or take skewMS. Without it a provider could have
// any number of max_unacked steps signed within a second. It returns ErrAhead.
func Plausible(r Receipt, observedMS, skewMS uint64) error {
	limit := observedMS + skewMS
	if limit < observedMS {
		limit = math.MaxUint64
	}
	if r.ElapsedMS > limit {
		return fmt.Errorf("receipt counts %d ms, %d ms have passed: %w", r.ElapsedMS, observedMS, ErrAhead)
	}
	return nil
}

// MayRun reports whether a provider whose clock shows elapsedMS should go on
// working: it risks no more than maxUnackedMS beyond what was acknowledged,
// be it by a receipt or in advance.
func MayRun(ackedMS, elapsedMS, maxUnackedMS uint64) bool {
	return elapsedMS < ackedMS || elapsedMS-ackedMS < maxUnackedMS
}

func checkReason(r Receipt) error {
	if r.Final != r.Reason.Valid() || (!r.Final && r.Reason != lease.ReasonNone) {
		return fmt.Errorf("receipt %d, final %t, reason %q: %w", r.Sequence, r.Final, r.Reason, ErrReason)
	}
	return nil
}
