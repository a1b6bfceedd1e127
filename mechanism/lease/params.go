package lease

import (
	"errors"
	"fmt"

	"github.com/moyai-network/moyai/mechanism/amount"
	"github.com/moyai-network/moyai/mechanism/escrow"
)

// ErrParams: the parameters contradict themselves.
var ErrParams = errors.New("invalid lease parameters")

// Params are the governed limits, all times in milliseconds.
type Params struct {
	WindowMS       uint64 // the one window of SETTLING, meter time
	MaxTimeoutMS   uint64
	MaxGraceMS     uint64
	MaxUnackedMS   uint64
	MaxBidLifeMS   uint64        // furthest a bid's expiry may lie ahead, block time
	MaxOrderLifeMS uint64        // furthest an order's expiry may lie ahead, block time
	SkewMS         uint64        // allowance between the provider's clock and the meter clock
	Bounty         amount.Amount // one close's floor fee, in the bond denomination
	MaxCandidates  int           // bids tried per order
	Take           escrow.TakeParams
}

// Validate returns ErrParams, naming the field. A window must leave room for a
// claim in one half and a contest in the other.
func (p Params) Validate() error {
	switch {
	case p.WindowMS < 2:
		return fmt.Errorf("window %d ms: %w", p.WindowMS, ErrParams)
	case p.MaxTimeoutMS == 0:
		return fmt.Errorf("longest timeout 0: %w", ErrParams)
	case p.MaxUnackedMS == 0:
		return fmt.Errorf("largest max_unacked 0: %w", ErrParams)
	case p.MaxBidLifeMS == 0 || p.MaxOrderLifeMS == 0:
		return fmt.Errorf("life of bids %d ms, of orders %d ms: %w", p.MaxBidLifeMS, p.MaxOrderLifeMS, ErrParams)
	case p.MaxCandidates < 1:
		return fmt.Errorf("candidates %d: %w", p.MaxCandidates, ErrParams)
	}
	return p.Take.Validate()
}

// Terms are what order and bid agreed on; see TermsOf.
type Terms struct {
	Rate         amount.Rate
	TimeoutMS    uint64        // longest billed time
	GraceMS      uint64        // loading time before Start, never billed
	MaxUnackedMS uint64        // what the provider risks, and may claim as a tail
	OfflineMS    uint64        // the order's offline sum as a counter; 0 none
	Bond         amount.Amount // locked for this lease, released at CLOSED
}

// ErrTerms: a term is zero that must not be, or exceeds its governed limit.
var ErrTerms = errors.New("terms outside the limits")

func (t Terms) validate(p Params) error {
	if err := within("timeout", t.TimeoutMS, p.MaxTimeoutMS); err != nil {
		return err
	}
	if err := within("max_unacked", t.MaxUnackedMS, p.MaxUnackedMS); err != nil {
		return err
	}
	if t.GraceMS > p.MaxGraceMS {
		return fmt.Errorf("grace %d ms, at most %d: %w", t.GraceMS, p.MaxGraceMS, ErrTerms)
	}
	if t.OfflineMS > t.TimeoutMS {
		return fmt.Errorf("offline %d ms of a timeout of %d: %w", t.OfflineMS, t.TimeoutMS, ErrTerms)
	}
	return nil
}

func within(what string, have, most uint64) error {
	if have == 0 || have > most {
		return fmt.Errorf("%s %d ms, must be 1 to %d: %w", what, have, most, ErrTerms)
	}
	return nil
}
