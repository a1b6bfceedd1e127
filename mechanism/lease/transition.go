package lease

import "fmt"

func (l Lease) expire(p Params, s Expire, now uint64) (Lease, error) {
	if at, _ := l.Deadline(); now < at {
		return l, fmt.Errorf("%s in %s at %d, due at %d: %w", s.name(), l.State, now, at, ErrTooEarly)
	}
	if l.State == StateOpen {
		return l.dry(p), nil
	}
	return l.close(p, now)
}

// dry moves to SETTLING as of dry_at, however late the queue comes: when it
// came must not change who gets what.
func (l Lease) dry(p Params) Lease {
	l.ClosedBy = PartyQueue
	l.Reason = ReasonTimeout
	return l.settling(p, l.DryAt)
}

func (l Lease) settling(p Params, at uint64) Lease {
	l.State = StateSettling
	l.SettlingAt = at
	l.WindowEndsAt = addTime(at, p.WindowMS)
	return l
}

func (l Lease) finalReceipt(p Params, s FinalReceipt, now uint64) (Lease, error) {
	if !s.Reason.Valid() {
		return l, fmt.Errorf("final receipt with reason %q: %w", s.Reason, ErrReason)
	}
	l = l.allow(s.AwayMS)
	shown := Shown{Sequence: s.Sequence, ElapsedMS: s.ElapsedMS, NodeSigned: s.NodeSigned, KeySigned: s.KeySigned}
	if err := l.admit(p, shown, now); err != nil {
		return l, err
	}
	// Both signatures outrank what the node counted alone: it agreed to an end
	// below its own counters. Nothing outranks what both have signed before.
	floor := l.AckedMS
	if s.KeySigned {
		floor = l.SignedMS
	}
	if s.ElapsedMS < floor {
		return l, fmt.Errorf("final receipt counts %d ms, known are %d: %w", s.ElapsedMS, floor, ErrReceiptBackwards)
	}
	l = l.acknowledge(shown)
	l.Final, l.FinalMS, l.Reason = true, s.ElapsedMS, s.Reason
	l.BountyTo = s.Sender
	if l.State == StateOpen {
		l.ClosedBy = PartyAnyone
	}
	return l.close(p, now)
}

func (l Lease) oneSided(p Params, s OneSided, now uint64) (Lease, error) {
	if l.State != StateOpen {
		return l, refuse(s, l.State, "OPEN", ErrNotOpen)
	}
	if s.By != PartyPayer && s.By != PartyProvider {
		return l, fmt.Errorf("one-sided close by %s: %w", s.By, ErrNotAParty)
	}
	if s.Reason == ReasonNone {
		s.Reason = ReasonProviderStopped
		if s.By == PartyPayer {
			s.Reason = ReasonTenantStopped
		}
	}
	if !s.Reason.Valid() {
		return l, fmt.Errorf("one-sided close with reason %q: %w", s.Reason, ErrReason)
	}
	l = l.allow(s.AwayMS)
	if s.Receipt != nil {
		if err := l.admit(p, *s.Receipt, now); err != nil {
			return l, err
		}
		l = l.acknowledge(*s.Receipt)
	}
	if s.By == PartyPayer {
		l.CloseShownMS = l.AckedMS
	}
	l.ClosedBy = s.By
	l.Reason = s.Reason
	l.BountyTo = s.Sender
	return l.settling(p, now), nil
}

func (l Lease) receipt(p Params, s Receipt, now uint64) (Lease, error) {
	if l.State != StateSettling {
		return l, refuse(s, l.State, "SETTLING", ErrNotSettling)
	}
	l = l.allow(s.AwayMS)
	shown := Shown{Sequence: s.Sequence, ElapsedMS: s.ElapsedMS, NodeSigned: s.NodeSigned, KeySigned: s.KeySigned}
	if err := l.admit(p, shown, now); err != nil {
		return l, err
	}
	news := !l.Started || s.ElapsedMS > l.AckedMS || (s.KeySigned && s.ElapsedMS > l.SignedMS)
	if !news {
		return l, fmt.Errorf("receipt counts %d ms, known are %d: %w", s.ElapsedMS, l.AckedMS, ErrReceiptBackwards)
	}
	l = l.acknowledge(shown)
	l.BountyTo = s.Sender
	return l, nil
}

func (l Lease) claim(p Params, s Claim, now uint64) (Lease, error) {
	switch {
	case l.State != StateSettling:
		return l, refuse(s, l.State, "SETTLING", ErrNotSettling)
	case now >= l.ClaimEndsAt():
		return l, fmt.Errorf("claim at %d, due before %d: %w", now, l.ClaimEndsAt(), ErrClaimLate)
	case l.Claimed:
		return l, fmt.Errorf("claim of %d ms after one of %d: %w", s.ElapsedMS, l.ClaimMS, ErrAlreadyClaimed)
	case !l.Started:
		return l, fmt.Errorf("claim of %d ms: %w", s.ElapsedMS, ErrNotStarted)
	}
	// The meter caps a claim as it does every counter, but as of now: the
	// window leaves no time to come back later.
	counted := min(s.ElapsedMS, l.MeterBoundMS(p, now))
	if counted <= l.AckedMS {
		return l, fmt.Errorf("claim of %d ms, acknowledged are %d, %d can have passed: %w",
			s.ElapsedMS, l.AckedMS, l.MeterBoundMS(p, now), ErrNothingToClaim)
	}
	l.Claimed = true
	l.ClaimMS = counted
	l.BountyTo = s.Sender
	return l, nil
}

func (l Lease) contest(s Contest) (Lease, error) {
	switch {
	case l.State != StateSettling:
		return l, refuse(s, l.State, "SETTLING", ErrNotSettling)
	case l.Contested:
		return l, fmt.Errorf("contest at %d ms after one at %d: %w", s.ElapsedMS, l.ContestMS, ErrAlreadyContested)
	// Compared with the claim as made, not as capped: a receipt shown later
	// raises the cap, and the contest must already stand then.
	case !l.Claimed || s.ElapsedMS >= l.ClaimMS:
		return l, fmt.Errorf("contest at %d ms: %w", s.ElapsedMS, ErrNothingToContest)
	case s.ElapsedMS < l.AckedMS:
		return l, fmt.Errorf("contest at %d ms, acknowledged are %d: %w", s.ElapsedMS, l.AckedMS, ErrContestBelowAcked)
	}
	l.Contested = true
	l.ContestMS = s.ElapsedMS
	l.Contester = s.Sender
	return l, nil
}

// allow remembers an Away: the receipt key cannot take one back.
func (l Lease) allow(awayMS uint64) Lease {
	l.AwayMS = max(l.AwayMS, min(awayMS, l.TimeoutMS))
	return l
}

// admit checks that a receipt counts at all, whatever it would change.
func (l Lease) admit(p Params, r Shown, now uint64) error {
	if !r.NodeSigned {
		return ErrNotNodeSigned
	}
	if allowed := l.AdvanceAckMS(); !r.KeySigned && (allowed == 0 || r.ElapsedMS > allowed) {
		return fmt.Errorf("receipt counts %d ms, allowed in advance are %d: %w", r.ElapsedMS, allowed, ErrNotAcknowledged)
	}
	if r.ElapsedMS > l.TimeoutMS {
		return fmt.Errorf("receipt counts %d ms, the hold pays for %d: %w", r.ElapsedMS, l.TimeoutMS, ErrBeyondHold)
	}
	if bound := l.MeterBoundMS(p, now); r.ElapsedMS > bound {
		return fmt.Errorf("receipt counts %d ms, %d can have passed; try again in %d ms of meter time: %w",
			r.ElapsedMS, bound, r.ElapsedMS-bound, ErrBeyondMeter)
	}
	return nil
}

func (l Lease) acknowledge(r Shown) Lease {
	l.Started = true
	if r.ElapsedMS >= l.AckedMS {
		l.AckedMS, l.AckedSequence = r.ElapsedMS, r.Sequence
	}
	if r.KeySigned {
		l.SignedMS = max(l.SignedMS, r.ElapsedMS)
	}
	return l
}
