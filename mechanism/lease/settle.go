package lease

import (
	"fmt"

	"github.com/moyai-network/moyai/mechanism/amount"
	"github.com/moyai-network/moyai/mechanism/escrow"
)

// Settlement is where the money of a closed lease goes. In the lease's
// denomination
//
//	hold = Provider + Burned + Pool + Refunded + Contester
//
// and in the bond denomination the whole Bounty goes to BountyTo, or back to
// the payer if that is empty.
type Settlement struct {
	BilledMS  uint64        // time paid for
	Gross     amount.Amount // floor(rate × BilledMS), before the take
	Provider  amount.Amount // gross less the take
	Burned    amount.Amount // the take's burned part, and what was forfeited
	Pool      amount.Amount // the take's rest
	Refunded  amount.Amount // of the hold, to the payer
	Contester amount.Amount // to Lease.Contester: its floor fee
	Bounty    amount.Amount // the lease's whole bounty
	BountyTo  string        // account that earned it; empty: the payer gets it back
	// BondReleased goes from locked to free at the provider.
	BondReleased amount.Amount
}

// Payments lists the settlement as payments out of the two locked sums, none
// of them zero. The bond is not among them: it does not change hands.
func (s Settlement) Payments(denom, bondDenom string) []escrow.Payment {
	closer := escrow.ToCloser
	if s.BountyTo == "" {
		closer = escrow.ToPayer
	}
	all := []escrow.Payment{
		{To: escrow.ToProvider, Coin: escrow.Coin{Denom: denom, Amount: s.Provider}},
		{To: escrow.ToBurn, Coin: escrow.Coin{Denom: denom, Amount: s.Burned}},
		{To: escrow.ToPool, Coin: escrow.Coin{Denom: denom, Amount: s.Pool}},
		{To: escrow.ToContester, Coin: escrow.Coin{Denom: denom, Amount: s.Contester}},
		{To: escrow.ToPayer, Coin: escrow.Coin{Denom: denom, Amount: s.Refunded}},
		{To: closer, Coin: escrow.Coin{Denom: bondDenom, Amount: s.Bounty}},
	}
	due := all[:0]
	for _, p := range all {
		if !p.Amount.IsZero() {
			due = append(due, p)
		}
	}
	return due
}

// Preview is the settlement if the lease closed now with what the chain knows;
// the settlement itself once CLOSED. It returns amount errors only for leases
// that Open did not make.
func (l Lease) Preview(p Params) (Settlement, error) {
	if l.State == StateClosed {
		return l.Settlement, nil
	}
	return l.settle(p)
}

func (l Lease) close(p Params, now uint64) (Lease, error) {
	settlement, err := l.settle(p)
	if err != nil {
		return l, fmt.Errorf("settlement: %w", err)
	}
	// A provider that says the manifest is bad explains itself better than "not
	// started" does; any other word about work that never started is moot.
	if !l.Started && l.Reason != ReasonBadManifest {
		l.Reason = ReasonNotStarted
	}
	l.State = StateClosed
	l.ClosedAt = now
	l.Settlement = settlement
	return l, nil
}

// tail is the billed time, and the time of a claim that was refused above it.
func (l Lease) tail() (billedMS, claimedMS uint64) {
	switch {
	case l.Final:
		return l.FinalMS, l.FinalMS
	case !l.Started:
		return 0, 0
	case !l.Claimed:
		return l.AckedMS, l.AckedMS
	}
	limit := min(addTime(l.AckedMS, l.MaxUnackedMS), l.TimeoutMS)
	claimed := max(l.AckedMS, min(l.ClaimMS, limit))
	if !l.Contested {
		return claimed, claimed
	}
	return min(max(l.AckedMS, l.ContestMS), claimed), claimed
}

func (l Lease) settle(p Params) (Settlement, error) {
	billedMS, claimedMS := l.tail()
	gross, err := l.Rate.AccrueFloor(billedMS)
	if err != nil {
		return Settlement{}, err
	}
	split, err := p.Take.Split(gross)
	if err != nil {
		return Settlement{}, err
	}
	left, err := l.Hold.Sub(gross)
	if err != nil {
		return Settlement{}, err
	}
	refused, err := l.between(billedMS, claimedMS)
	if err != nil {
		return Settlement{}, err
	}
	if left, err = left.Sub(refused); err != nil {
		return Settlement{}, err
	}
	contester := amount.Min(l.Bounty, refused)
	forfeited, err := refused.Sub(contester)
	if err != nil {
		return Settlement{}, err
	}
	stale, err := l.staleClose()
	if err != nil {
		return Settlement{}, err
	}
	stale = amount.Min(stale, left)
	if left, err = left.Sub(stale); err != nil {
		return Settlement{}, err
	}
	burned, err := amount.Sum(split.Burned, forfeited, stale)
	if err != nil {
		return Settlement{}, err
	}
	s := Settlement{
		BilledMS:     billedMS,
		Gross:        gross,
		Provider:     split.Provider,
		Burned:       burned,
		Pool:         split.Pool,
		Refunded:     left,
		Contester:    contester,
		Bounty:       l.Bounty,
		BountyTo:     l.BountyTo,
		BondReleased: l.Bond,
	}
	return s, escrow.Conserved(l.Hold, s.Provider, s.Burned, s.Pool, s.Refunded, s.Contester)
}

// staleClose is what the payer's side tried to keep by closing below a receipt
// that its own key had signed.
func (l Lease) staleClose() (amount.Amount, error) {
	if l.ClosedBy != PartyPayer || l.SignedMS <= l.CloseShownMS {
		return amount.Amount{}, nil
	}
	return l.between(l.CloseShownMS, l.SignedMS)
}

// between is what the time from one counter to a higher one costs: the
// difference of two sums from the start, as every amount here.
func (l Lease) between(fromMS, toMS uint64) (amount.Amount, error) {
	from, err := l.Rate.AccrueFloor(fromMS)
	if err != nil {
		return amount.Amount{}, err
	}
	to, err := l.Rate.AccrueFloor(toMS)
	if err != nil {
		return amount.Amount{}, err
	}
	return to.Sub(from)
}
