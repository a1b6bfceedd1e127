// Package escrow has the rules of money held between two parties: what is
// locked, how it is split, what a stream has cost so far and when it runs dry.
//
// It is not a store and moves no coins: every operation takes values and
// returns values, and the chain carries out what they say. It does not know
// what a lease is either; a hold is locked for a subject, whatever that is.
package escrow

import (
	"errors"
	"fmt"
	"math"

	"github.com/moyai-network/moyai/mechanism/amount"
)

// Errors of this package.
var (
	// ErrInsufficient: the account holds less than is asked for.
	ErrInsufficient = errors.New("not enough balance")
	// ErrNotConserved: payments and the locked sum differ.
	ErrNotConserved = errors.New("payments do not add up to what was locked")
	// ErrParams: a part is more than the whole.
	ErrParams = errors.New("take and burn must be at most 10000 basis points")
	// ErrDenom: a coin without denomination, or one listed twice.
	ErrDenom = errors.New("denominations must be named, sorted and distinct")
)

// bpsWhole is one, in basis points.
const bpsWhole = 10_000

// TakeParams is the network's part of every gross payment.
type TakeParams struct {
	TakeBps uint32 // of the gross, in 1/10,000
	BurnBps uint32 // of the take, in 1/10,000: destroyed; the rest goes to the fee pool
}

// Validate returns ErrParams if a part exceeds the whole.
func (p TakeParams) Validate() error {
	if p.TakeBps > bpsWhole || p.BurnBps > bpsWhole {
		return fmt.Errorf("take %d, burn %d: %w", p.TakeBps, p.BurnBps, ErrParams)
	}
	return nil
}

// Split is a gross payment divided; its parts always add up to the gross.
type Split struct {
	Provider amount.Amount
	Burned   amount.Amount
	Pool     amount.Amount
}

// Split divides a gross payment: take = floor(TakeBps of gross), of which
// floor(BurnBps of take) is burned and the rest goes to the fee pool; the
// provider gets what is left. It is applied once, to the whole gross, when an
// agreement closes: splitting in parts would round more than once.
func (p TakeParams) Split(gross amount.Amount) (Split, error) {
	if err := p.Validate(); err != nil {
		return Split{}, err
	}
	take, err := gross.MulDivFloor(uint64(p.TakeBps), bpsWhole)
	if err != nil {
		return Split{}, err
	}
	burned, err := take.MulDivFloor(uint64(p.BurnBps), bpsWhole)
	if err != nil {
		return Split{}, err
	}
	pool, err := take.Sub(burned)
	if err != nil {
		return Split{}, err
	}
	provider, err := gross.Sub(take)
	if err != nil {
		return Split{}, err
	}
	return Split{Provider: provider, Burned: burned, Pool: pool}, nil
}

// HoldFor is what must be locked so that rate can be paid for timeoutMS
// milliseconds: rounded up. It returns amount.ErrOverflow.
func HoldFor(rate amount.Rate, timeoutMS uint64) (amount.Amount, error) {
	return rate.AccrueCeil(timeoutMS)
}

// Stream is money flowing at a rate from a start for at most a time. What has
// accrued is a function of the time, never a running total, so reading a
// stream late or often changes nothing.
type Stream struct {
	Rate    amount.Rate
	StartMS uint64 // meter time
	CapMS   uint64 // longest time it flows
}

// OpenStream returns the stream that funds can feed: it flows until the next
// millisecond would cost more than funds.
func OpenStream(rate amount.Rate, startMS uint64, funds amount.Amount) Stream {
	return Stream{Rate: rate, StartMS: startMS, CapMS: rate.TimeToExhaust(funds)}
}

// Accrued is what has flowed by meter time t: floor(rate × (t − start)), capped
// in time; nothing before the start. It returns amount.ErrOverflow.
func (s Stream) Accrued(t uint64) (amount.Amount, error) {
	if t <= s.StartMS {
		return amount.Amount{}, nil
	}
	return s.Rate.AccrueFloor(min(t-s.StartMS, s.CapMS))
}

// DryAt is the meter time at which the stream ends, known when it opens, so a
// queue ordered by it replaces scanning; math.MaxUint64 if it never does.
func (s Stream) DryAt() uint64 {
	if s.CapMS > math.MaxUint64-s.StartMS {
		return math.MaxUint64
	}
	return s.StartMS + s.CapMS
}
