// Package leasing is what a provider does with one lease, as a pure function:
//
//	Step(State, Event) → (State, Effects)
//
// Nothing here reads a clock, a disk, the chain or the network. Events say what
// happened, with every time and counter in them; effects say what must happen
// now, as data, in the order in which it must happen. The daemon around it
// (package provider) feeds events and carries effects out; the tests here read
// like transcripts because there is nothing else to set up.
//
// The one promise everything else leans on: when Effects.Save is set, the new
// State must be on stable storage BEFORE any of the actions is begun. A provider
// killed between the two then finds in its journal a state from which Restarted
// asks for the same actions again, and each of them can be repeated safely.
//
// What it deliberately is not: the rules of settlement. Those are
// mechanism/lease, which the chain runs; this package only decides what a
// prudent provider shows to the chain, and when.
package leasing

import (
	"errors"
	"fmt"

	"github.com/moyai-network/moyai/mechanism/lease"
)

// Work is how far the provider's own side of the agreement has come.
type Work uint8

const (
	// WorkOffered: a bid is out, the manifest is not known. Nothing can be
	// opened on it yet, because opening needs the provider's Ready. This state
	// alone is not journalled: losing it loses nothing (the generation it used
	// was persisted by the slot before the bid was sent).
	WorkOffered Work = iota + 1
	// WorkPromised: Ready is signed. The lease may open at any moment.
	WorkPromised
	// WorkPreparing: open on chain; module and inputs are being fetched and
	// compiled. Not billed.
	WorkPreparing
	// WorkStarting: prepared, the start receipt is proposed. Not billed.
	WorkStarting
	// WorkRunning: the start receipt is countersigned or covered by an Away.
	// The meter runs.
	WorkRunning
	// WorkStopping: the counter is frozen and the running task is being killed.
	WorkStopping
	// WorkEnded: nothing runs, the final figures are fixed.
	WorkEnded
	// WorkForgotten: results are deleted. Terminal.
	WorkForgotten
)

// Chain is how far the chain is known to have come. It lags, never leads.
type Chain uint8

const (
	// ChainNone: no lease is known. "Unknown" stays here; it is never a reason
	// to end anything.
	ChainNone Chain = iota + 1
	// ChainOpen: the lease exists and its hold is locked.
	ChainOpen
	// ChainSettling: the one window runs.
	ChainSettling
	// ChainClosed: paid out. Terminal.
	ChainClosed
	// ChainLapsed: the chain's own clock passed the bid's expiry without
	// opening it. Terminal.
	ChainLapsed
)

var workNames = [...]string{"?", "offered", "promised", "preparing", "starting", "running", "stopping", "ended", "forgotten"}
var chainNames = [...]string{"?", "none", "open", "settling", "closed", "lapsed"}

func (w Work) String() string {
	if int(w) < len(workNames) {
		return workNames[w]
	}
	return fmt.Sprintf("work(%d)", uint8(w))
}

func (c Chain) String() string {
	if int(c) < len(chainNames) {
		return chainNames[c]
	}
	return fmt.Sprintf("chain(%d)", uint8(c))
}

// Terms are what was fixed by order and bid. Times in milliseconds.
type Terms struct {
	TimeoutMS    uint64 `json:"timeout_ms"`
	GraceMS      uint64 `json:"grace_ms"`
	MaxUnackedMS uint64 `json:"max_unacked_ms"`
	// OfflineMS is Order.Terms.OfflineMax as a counter: receipts up to it need
	// no countersignature.
	OfflineMS uint64 `json:"offline_ms"`
	// Array leases run the indices the tenant deals; others run task 0.
	Array bool `json:"array"`
	// KeepMS is how long results are kept after the end.
	KeepMS uint64 `json:"keep_ms"`
	// NoticeMS is the warning that the bid promised before the provider ends the
	// work early.
	NoticeMS uint64 `json:"notice_ms,omitempty"`
	// AckWaitMS is how long the final receipt waits for its countersignature
	// before the provider closes alone.
	AckWaitMS uint64 `json:"ack_wait_ms"`
}

// Receipt is the unsigned numbers of a wire.Receipt.
type Receipt struct {
	Sequence  uint64       `json:"seq"`
	ElapsedMS uint64       `json:"elapsed_ms"`
	Tasks     uint64       `json:"tasks"`
	Final     bool         `json:"final,omitempty"`
	Reason    lease.Reason `json:"reason,omitempty"`
	Outputs   []byte       `json:"outputs,omitempty"`
}

// Signed is a receipt with the bytes that prove it.
type Signed struct {
	Receipt
	Bytes []byte `json:"bytes"` // both signatures on it
}

// Outcome is how one task ended.
type Outcome struct {
	ExitCode    int32  `json:"exit_code"`
	Reason      string `json:"reason"` // compute's word: exited, deadline, memory, …
	Text        string `json:"text,omitempty"`
	Output      []byte `json:"output,omitempty"` // CID bytes of the result, empty if none
	OutputBytes uint64 `json:"output_bytes,omitempty"`
	// Lease is what the outcome means for a lease that ends with it.
	Lease lease.Reason `json:"lease_reason"`
}

// Shown is what the chain is known to hold, from its last event or query.
type Shown struct {
	Started  bool   `json:"started,omitempty"`
	AckedMS  uint64 `json:"acked_ms,omitempty"`
	Claimed  bool   `json:"claimed,omitempty"`
	ClaimEnd uint64 `json:"claim_end,omitempty"`  // meter ms after which no claim is taken
	Window   uint64 `json:"window_end,omitempty"` // meter ms
	ByPayer  bool   `json:"by_payer,omitempty"`
}

// State is everything that matters about one bid and the lease it may become.
// It is a value: Step returns a new one and leaves its argument alone.
type State struct {
	Work  Work  `json:"work"`
	Chain Chain `json:"chain"`
	Terms Terms `json:"terms"`

	// Running.
	Started   bool     `json:"started,omitempty"`  // the meter has run
	ElapsedMS uint64   `json:"elapsed_ms"`         // highest counter ever put into a receipt
	Sequence  uint64   `json:"sequence"`           // of the last receipt proposed
	Task      *uint64  `json:"task,omitempty"`     // the index that runs
	Queue     []uint64 `json:"queue,omitempty"`    // indices dealt ahead, ≤ MaxQueue
	NoMore    bool     `json:"no_more,omitempty"`  // the tenant has dealt its last index
	Tasks     uint64   `json:"tasks"`              // finished, whatever their outcome
	StartBy   int64    `json:"start_by,omitempty"` // unix ms: give up waiting for the tenant
	Paused    bool     `json:"paused,omitempty"`   // restarted; the meter waits for the tenant
	Outputs   []byte   `json:"outputs,omitempty"`  // running commitment to the results, 32 bytes

	// Notice.
	NoticeBy   int64  `json:"notice_by,omitempty"` // unix ms: the work ends then; 0: no notice
	NoticeText string `json:"notice_text,omitempty"`

	// Evidence.
	Proposed *Receipt `json:"proposed,omitempty"` // highest, not countersigned yet
	Acked    *Signed  `json:"acked,omitempty"`    // highest countersigned
	AwayMS   uint64   `json:"away_ms,omitempty"`
	Away     []byte   `json:"away,omitempty"` // signed wire.Away behind AwayMS

	// The end.
	Reason  lease.Reason `json:"reason,omitempty"` // why the work ended
	Text    string       `json:"text,omitempty"`   // the same for people
	Final   *Receipt     `json:"final,omitempty"`
	AckBy   int64        `json:"ack_by,omitempty"`  // unix ms: then close alone
	Alone   bool         `json:"alone,omitempty"`   // closing one-sidedly was decided
	Refused []Move       `json:"refused,omitempty"` // submissions the chain refused for good
	Shown   Shown        `json:"shown"`

	Settlement *Settlement `json:"settlement,omitempty"`
	KeepUntil  int64       `json:"keep_until,omitempty"` // unix ms: results are deleted then
}

// Settlement is what the chain paid for this lease; sums in base units, as text.
type Settlement struct {
	Denom    string       `json:"denom"`
	BilledMS uint64       `json:"billed_ms"`
	Provider string       `json:"provider"`
	Gross    string       `json:"gross"`
	Bounty   string       `json:"bounty,omitempty"`
	Reason   lease.Reason `json:"reason"`
}

// MaxQueue bounds how many indices a tenant may deal ahead of the running one.
const MaxQueue = 1024

// Sentinel errors of Step. A refused event changes nothing.
var (
	// ErrTransition: the event makes no sense in this state; names both.
	ErrTransition = errors.New("illegal transition")
	// ErrNotArray: an index was dealt to a lease that runs one program.
	ErrNotArray = errors.New("lease is not an array lease")
	// ErrQueueFull: more than MaxQueue indices were dealt ahead.
	ErrQueueFull = errors.New("too many indices dealt ahead")
)

// New is a lease at its beginning: a bid about to be sent.
//
// The slot's generation must already be on stable storage: it is the only thing
// about an unanswered bid that must survive.
func New(t Terms) (State, Effects) {
	return State{Work: WorkOffered, Chain: ChainNone, Terms: t}, Effects{Actions: []Action{SendBid{}}}
}

// ownWord is the counter up to which no countersignature at all is needed.
func (s State) ownWord() uint64 { return max(s.AwayMS, s.Terms.OfflineMS) }

// Evidence is the receipt that proves most: the highest countersigned one, or,
// where an Away or the offline allowance reaches higher, one of the node alone
// (then Bytes is empty, for the caller to sign). False if nothing proves a start.
func (s State) Evidence() (Signed, bool) {
	own := min(s.ElapsedMS, s.ownWord())
	if s.Started && s.ownWord() > 0 && (s.Acked == nil || own > s.Acked.ElapsedMS) {
		return Signed{Receipt: Receipt{Sequence: max(s.Sequence, 1), ElapsedMS: own, Tasks: s.Tasks}}, true
	}
	if s.Acked == nil {
		return Signed{}, false
	}
	return *s.Acked, true
}

// Covered is the counter up to which the provider's own word is enough:
// countersigned, or within an Away or the order's offline allowance.
func (s State) Covered() uint64 {
	c := max(s.AwayMS, s.Terms.OfflineMS)
	if s.Acked != nil {
		c = max(c, s.Acked.ElapsedMS)
	}
	return min(c, s.Terms.TimeoutMS)
}

// Ceiling is the highest counter worth signing: past it the tenant's client
// refuses the receipt and the chain would not pay a claim.
func (s State) Ceiling() uint64 {
	c := s.Covered() + s.Terms.MaxUnackedMS
	if c < s.Terms.MaxUnackedMS { // wrapped
		c = s.Terms.TimeoutMS
	}
	return min(c, s.Terms.TimeoutMS)
}

// NeedsSlot reports whether the lease occupies the machine's capacity.
func (s State) NeedsSlot() bool { return s.Work < WorkEnded && s.Chain != ChainLapsed }

// Done reports whether nothing is left to do but remember the figures.
func (s State) Done() bool {
	return s.Work == WorkForgotten && (s.Chain == ChainClosed || s.Chain == ChainLapsed)
}
