// Package lease is the state machine of one lease: what may happen to it, who
// may do it when, and where its money goes.
//
// It is a function of values: a lease, a step and the meter time go in, the
// next lease comes out. The chain, a provider deciding whether to claim, a
// tenant asking "what have I spent" and the simulator run the same code. It is
// not a store, it verifies no signature and knows no account: whoever calls it
// has checked who signed what, and says so in the step.
//
// # States
//
//	          FinalReceipt                          (two transactions in all)
//	  +----------------------------------------+
//	  |                                        v
//	OPEN --- OneSided, or Expire at dry_at --> SETTLING --- FinalReceipt, or Expire at the window's end --> CLOSED
//	                                           |   ^
//	                                           +---+ Receipt, Claim, Contest
//
// Nothing moves before CLOSED: the hold, the bounty and the bond stay locked
// through SETTLING. STANDBY is reserved and refused by name.
//
// # Who may do what, and when
//
//	step          state           by                          until
//	FinalReceipt  OPEN, SETTLING  anyone who has it           the window's end; the first accepted wins
//	OneSided      OPEN            payer or provider           dry_at
//	Receipt       SETTLING        anyone who has it           the window's end
//	Claim         SETTLING        anyone; the node signed it  half of the window; once
//	Contest       SETTLING        anyone; the key signed it   the window's end; once, and after a claim
//	Expire        OPEN, SETTLING  the chain's queue           from dry_at, from the window's end
//
// Deadlines are judged on use, not by whether a queue got there: an open lease
// past dry_at is treated as SETTLING since dry_at, and a lease past its window
// accepts nothing but Expire. All times here are meter time in milliseconds.
//
// # Counters
//
// A counter (ElapsedMS) is milliseconds on the provider's monotonic clock since
// Start. It counts as acknowledged if the node and the receipt key signed it,
// or if the node alone did and it lies within what the tenant allowed in
// advance: OfflineMS of the order, or an Away of the receipt key. A counter
// beyond the hold's time is refused, and so is one beyond
// meter(now) − meter(opened) + skew, until the meter clock has caught up.
// Nothing is owed before a start receipt (sequence 0, counter 0) is
// acknowledged; showing any later receipt proves it.
//
// # Settlement
//
// The billed time is the final receipt's counter, or without one the highest
// acknowledged counter plus the claimed tail, if the provider claimed one in
// time. The claim counts up to acknowledged + max_unacked, the hold's time and
// what the meter allowed when it was made. A contest grants a counter at or above the acknowledged one; the
// money between it and the claim first pays the contester one floor fee (the
// bounty's amount, at par in the lease's denomination), and the rest is
// burned, never refunded: otherwise a tenant would gain by withholding its last
// acknowledgement.
//
// If the payer's side closed below a counter that its own receipt key had
// signed, the difference is paid and as much again is burned from the hold,
// however the higher counter came to be shown. Counters acknowledged in advance
// do not count for this: a tenant that was away cannot know them. A tenant that
// closes one-sidedly therefore stops countersigning first.
//
// Gross is floor(rate × billed time), split once by escrow.TakeParams. What is
// left of the hold goes back to the payer. The bounty goes to the sender of the
// last accepted close, receipt or claim, or back to the payer if the queue
// alone closed the lease. The bond is released.
//
// # What each side can lose at worst
//
// A tenant that signs only what it has seen, and shows a contest within the
// window, pays at most floor(rate × (signed + max_unacked)), of which the
// provider gets no more than the part up to signed, less the take. One that
// is absent through the window pays the same sum, but the provider can get it
// all. Having been away, read "signed" as the larger of signed and what was
// allowed in advance. Besides, it may lose its gas, the bounty, and the
// acknowledged time of work that was never finished. A tenant that closes below
// its own receipt loses the difference twice, never more than the hold.
//
// A provider that stops when receipts lag by max_unacked, and shows its last
// receipt within the window, is paid for all but the last max_unacked of its
// work: gross is at least floor(rate × (elapsed − max_unacked)). One that stays
// dark through the whole window gets what the closing side showed, at worst
// nothing. A Ready that is never followed by Start costs the provider the
// slot's time and the tenant its gas and the bounty; nobody can prove who was
// silent.
package lease

import (
	"errors"
	"fmt"
	"math"

	"github.com/moyai-network/moyai/mechanism/amount"
	"github.com/moyai-network/moyai/mechanism/escrow"
)

// State is where a lease stands; numbered as moyai.market.v1.LeaseState.
type State uint8

// The states.
const (
	// StateOpen: money is locked, work may run. Ends with a final receipt, a
	// one-sided close, or when the hold runs dry.
	StateOpen State = 1
	// StateSettling: one window in which either side shows what it holds. Work
	// no longer accrues.
	StateSettling State = 2
	// StateClosed: Settlement says where the money went. Nothing follows.
	StateClosed State = 3
	// StateStandby is reserved: a replacement waiting beside an open lease.
	StateStandby State = 4
)

// String is the state's name in the protocol.
func (s State) String() string {
	switch s {
	case StateOpen:
		return "OPEN"
	case StateSettling:
		return "SETTLING"
	case StateClosed:
		return "CLOSED"
	case StateStandby:
		return "STANDBY"
	}
	return fmt.Sprintf("state(%d)", uint8(s))
}

// Party is who ended a lease's OPEN state.
type Party uint8

// The parties.
const (
	PartyNone     Party = 0 // still open
	PartyPayer    Party = 1 // the payer, or its grantee
	PartyProvider Party = 2 // the provider's operator or the node's hot account
	PartyAnyone   Party = 3 // anybody, with a final receipt
	PartyQueue    Party = 4 // the chain, at dry_at
)

// String is the party's name in lower case.
func (p Party) String() string {
	names := [...]string{"none", "payer", "provider", "anyone", "queue"}
	if int(p) < len(names) {
		return names[p]
	}
	return fmt.Sprintf("party(%d)", uint8(p))
}

// Lease is the whole memory of one agreement. It is comparable with ==.
type Lease struct {
	State State
	Terms
	Hold     amount.Amount // ceil(rate × timeout), locked from the payer
	Bounty   amount.Amount // locked from the payer, in the bond denomination
	OpenedAt uint64        // meter ms
	DryAt    uint64        // meter ms: opened + grace + timeout

	Started       bool   // a receipt was acknowledged
	AckedMS       uint64 // highest acknowledged counter shown to the chain
	AckedSequence uint64 // its sequence number, informational
	SignedMS      uint64 // highest counter shown that the receipt key itself had signed
	AwayMS        uint64 // highest counter the receipt key acknowledged in advance

	SettlingAt   uint64 // meter ms at which SETTLING began
	WindowEndsAt uint64 // meter ms
	ClosedBy     Party  // who ended OPEN
	CloseShownMS uint64 // counter the payer's side showed when it closed
	Claimed      bool
	ClaimMS      uint64 // as claimed, up to what the meter allowed at that time
	Contested    bool
	ContestMS    uint64
	Contester    string // account that sent the contest; opaque
	BountyTo     string // account that sent the last accepted close, receipt or claim; opaque

	Final      bool // closed by a final receipt
	FinalMS    uint64
	Reason     Reason
	ClosedAt   uint64     // meter ms
	Settlement Settlement // set in CLOSED
}

// Open returns a new lease under terms at meter time nowMeter. It returns
// ErrTerms for terms outside the parameters, and amount.ErrOverflow if the
// hold would not fit.
func Open(p Params, t Terms, nowMeter uint64) (Lease, error) {
	if err := t.validate(p); err != nil {
		return Lease{}, err
	}
	hold, err := escrow.HoldFor(t.Rate, t.TimeoutMS)
	if err != nil {
		return Lease{}, fmt.Errorf("hold of rate %s for %d ms: %w", t.Rate, t.TimeoutMS, err)
	}
	dryAt := addTime(nowMeter, addTime(t.GraceMS, t.TimeoutMS))
	return Lease{
		State:    StateOpen,
		Terms:    t,
		Hold:     hold,
		Bounty:   p.Bounty,
		OpenedAt: nowMeter,
		DryAt:    dryAt,
	}, nil
}

// StateAt is the state as judged at meter time now: an open lease past dry_at
// is settling, whether or not the queue has been there.
func (l Lease) StateAt(now uint64) State {
	if l.State == StateOpen && now >= l.DryAt {
		return StateSettling
	}
	return l.State
}

// Deadline is the meter time from which Expire applies, for the queue;
// ok is false in states that do not expire.
func (l Lease) Deadline() (at uint64, ok bool) {
	switch l.State {
	case StateOpen:
		return l.DryAt, true
	case StateSettling:
		return l.WindowEndsAt, true
	}
	return 0, false
}

// ClaimEndsAt is the meter time at which claims come too late: half of the
// window, so that a contest always has the other half. 0 unless SETTLING.
func (l Lease) ClaimEndsAt() uint64 {
	if l.State != StateSettling {
		return 0
	}
	return l.SettlingAt + (l.WindowEndsAt-l.SettlingAt)/2
}

// AdvanceAckMS is the counter up to which the node's signature alone counts as
// acknowledged: the larger of the order's offline allowance and an Away shown.
func (l Lease) AdvanceAckMS() uint64 { return min(max(l.OfflineMS, l.AwayMS), l.TimeoutMS) }

// MeterBoundMS is the highest counter the chain accepts at meter time now.
// After a halt the provider's clock may be ahead of it; retry then, the bound
// reaches the hold's time before the lease runs dry.
func (l Lease) MeterBoundMS(p Params, now uint64) uint64 {
	if now < l.OpenedAt {
		return 0
	}
	return addTime(now-l.OpenedAt, p.SkewMS)
}

// Apply returns the lease after a step at meter time nowMeter, or the
// unchanged lease and the refusal. The sentinel errors of this package say
// which rule refused; the text names the state and what the step needs. When
// the result is CLOSED its Settlement is set, and adds up.
func (l Lease) Apply(p Params, s Step, nowMeter uint64) (Lease, error) {
	if s == nil {
		return l, errNoStep
	}
	next, err := l.apply(p, s, nowMeter)
	if err != nil {
		return l, err
	}
	return next, nil
}

func (l Lease) apply(p Params, s Step, now uint64) (Lease, error) {
	switch l.State {
	case StateOpen, StateSettling:
	case StateClosed:
		return l, refuse(s, l.State, "OPEN or SETTLING", ErrClosed)
	case StateStandby:
		return l, fmt.Errorf("standby leases: %w", ErrReserved)
	default:
		return l, refuse(s, l.State, "OPEN or SETTLING", ErrNotOpen)
	}
	if e, ok := s.(Expire); ok {
		return l.expire(p, e, now)
	}
	if l.StateAt(now) != l.State {
		l = l.dry(p)
	}
	if l.State == StateSettling && now >= l.WindowEndsAt {
		return l, fmt.Errorf("%s at %d, the window ended at %d: %w", s.name(), now, l.WindowEndsAt, ErrWindowOver)
	}
	switch s := s.(type) {
	case FinalReceipt:
		return l.finalReceipt(p, s, now)
	case OneSided:
		return l.oneSided(p, s, now)
	case Receipt:
		return l.receipt(p, s, now)
	case Claim:
		return l.claim(p, s, now)
	case Contest:
		return l.contest(s)
	}
	return l, errNoStep
}

var errNoStep = errors.New("not a step of a lease")

// refuse names the state a lease is in and the states the step needs.
func refuse(s Step, have State, want string, why error) error {
	return fmt.Errorf("%s in %s, needs %s: %w", s.name(), have, want, why)
}

// addTime adds two times and stands still at the end of time.
func addTime(a, b uint64) uint64 {
	if a > math.MaxUint64-b {
		return math.MaxUint64
	}
	return a + b
}
