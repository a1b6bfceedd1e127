package lease

import "errors"

// The refusals of Apply, in the order in which a step meets them.
var (
	// ErrClosed: the lease is CLOSED; nothing follows.
	ErrClosed = errors.New("lease is closed")
	// ErrReserved: a part of the protocol that is not built yet was asked for.
	ErrReserved = errors.New("reserved, not available yet")
	// ErrNotOpen: the step needs an OPEN lease.
	ErrNotOpen = errors.New("lease is not open")
	// ErrNotSettling: the step needs a SETTLING lease.
	ErrNotSettling = errors.New("lease is not settling")
	// ErrWindowOver: the window has ended; the lease waits to be paid out.
	ErrWindowOver = errors.New("window is over")
	// ErrTooEarly: the deadline has not come.
	ErrTooEarly = errors.New("too early to expire")
	// ErrNotAParty: only payer or provider may close one-sidedly.
	ErrNotAParty = errors.New("only the payer or the provider may do this")
	// ErrReason: not a known reason to end.
	ErrReason = errors.New("unknown reason to end a lease")
	// ErrNotNodeSigned: a receipt without the node's signature.
	ErrNotNodeSigned = errors.New("receipt lacks the node's signature")
	// ErrNotAcknowledged: a receipt that the receipt key did not sign, beyond
	// what it allowed in advance.
	ErrNotAcknowledged = errors.New("receipt is neither countersigned nor within what was allowed in advance")
	// ErrBeyondHold: a counter above the time the hold pays for.
	ErrBeyondHold = errors.New("counter is beyond the time the hold pays for")
	// ErrBeyondMeter: a counter above the time since opening plus the skew;
	// later the same counter may be accepted.
	ErrBeyondMeter = errors.New("counter is ahead of the meter clock")
	// ErrReceiptBackwards: the counter is not above what the chain knows.
	ErrReceiptBackwards = errors.New("receipt shows nothing above what is known")
	// ErrNotStarted: a tail is claimed, but no receipt was ever shown.
	ErrNotStarted = errors.New("no start receipt was shown")
	// ErrClaimLate: claims are due in the first half of the window.
	ErrClaimLate = errors.New("claims are due in the first half of the window")
	// ErrAlreadyClaimed: a lease takes one claim.
	ErrAlreadyClaimed = errors.New("tail was claimed before")
	// ErrNothingToClaim: the claim is not above the acknowledged counter.
	ErrNothingToClaim = errors.New("claim is not above what is acknowledged")
	// ErrNothingToContest: no claim, or none above the contest.
	ErrNothingToContest = errors.New("no claim above the contested counter")
	// ErrContestBelowAcked: a contest cannot take back an acknowledgement.
	ErrContestBelowAcked = errors.New("contest is below what is acknowledged")
	// ErrAlreadyContested: a lease takes one contest.
	ErrAlreadyContested = errors.New("claim was contested before")
)

// Step is something that happens to a lease. The set is closed: FinalReceipt,
// OneSided, Receipt, Claim, Contest, Expire. Whoever builds one has verified
// the signatures it speaks of and that they are for this lease.
type Step interface {
	name() string
}

// Shown is a receipt as proof: what it counts and whose signatures it bears.
type Shown struct {
	Sequence   uint64
	ElapsedMS  uint64
	NodeSigned bool // by the node key of the lease
	KeySigned  bool // by the receipt key of the order
}

// FinalReceipt closes at once, from OPEN or SETTLING. Anyone may send it. The
// node signed it, and the receipt key did too or had allowed the counter in
// advance.
type FinalReceipt struct {
	Sequence   uint64
	ElapsedMS  uint64
	Reason     Reason // must be Valid
	NodeSigned bool
	KeySigned  bool
	AwayMS     uint64 // of an Away signed by the receipt key that comes along; 0 none
	Sender     string // account that sends it; earns the bounty
}

// OneSided moves an OPEN lease to SETTLING.
type OneSided struct {
	By      Party  // PartyPayer or PartyProvider, as the sender's account shows
	Reason  Reason // ReasonNone stands for "stopped" by that party
	Receipt *Shown // the last receipt it holds, or nil
	AwayMS  uint64 // of an Away signed by the receipt key that comes along; 0 none
	Sender  string
}

// Receipt shows, in SETTLING, a higher receipt than the chain knows. Anyone
// may send it.
type Receipt struct {
	Sequence   uint64
	ElapsedMS  uint64
	NodeSigned bool
	KeySigned  bool
	AwayMS     uint64 // of an Away signed by the receipt key that comes along; 0 none
	Sender     string
}

// Claim is the provider's statement of the tail after the last acknowledged
// receipt, signed by the node key.
type Claim struct {
	ElapsedMS uint64
	Sender    string
}

// Contest refuses a claimed tail above ElapsedMS, signed by the receipt key.
type Contest struct {
	ElapsedMS uint64
	Sender    string // is repaid one floor fee out of the refused tail
}

// Expire is the chain's queue at work: an OPEN lease at dry_at goes to
// SETTLING, a SETTLING one at the window's end to CLOSED. One transition a
// time.
type Expire struct{}

func (FinalReceipt) name() string { return "final receipt" }
func (OneSided) name() string     { return "one-sided close" }
func (Receipt) name() string      { return "receipt" }
func (Claim) name() string        { return "claim" }
func (Contest) name() string      { return "contest" }
func (Expire) name() string       { return "expire" }
