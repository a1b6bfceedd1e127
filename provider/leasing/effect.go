package leasing

import "fmt"

// Effects are what must happen because of an event, in this order:
//
//  1. If Save, the new State goes to stable storage, together with Finished,
//     BEFORE anything else. If that fails, no action is begun, the old state
//     stands, and the event may be offered again.
//  2. Actions, in order. Each may be repeated after a crash.
type Effects struct {
	Save bool
	// Finished is a task's outcome to be stored with the state.
	Finished *Finished
	Actions  []Action
}

// Finished is a row of the journal: how one index ended.
type Finished struct {
	Index   uint64
	Outcome Outcome
}

// Action is one thing to do. The set is closed. String is what transcripts show.
type Action interface {
	action()
	String() string
}

type (
	// SendBid sends the signed bid to the tenant.
	SendBid struct{}
	// SendReady sends the signed Ready. From here on the lease may open.
	SendReady struct{}
	// Prefetch begins to fetch and compile within what the operator risks for
	// nothing. Failing is not yet an event.
	Prefetch struct{}
	// Prepare fetches and compiles whatever Prefetch has not, then answers with
	// Prepared or PrepareFailed.
	Prepare struct{}
	// Propose signs these numbers and sends them to the tenant for its
	// countersignature.
	Propose struct{ Receipt Receipt }
	// StartClock lets the meter run on from ElapsedMS.
	StartClock struct{ ElapsedMS uint64 }
	// StopClock freezes the meter.
	StopClock struct{}
	// StartTask runs an index; answers with TaskFinished. An index for which the
	// runtime already has a task is not started again.
	StartTask struct{ Index uint64 }
	// StopTask kills the running task; answers with TaskFinished.
	StopTask struct{ Index uint64 }
	// RecoverTask asks the runtime whether a task survived a restart; answers
	// with Recovered or NeverStarted.
	RecoverTask struct{ Index uint64 }
	// SendTaskDone tells the tenant how an index ended, from the journal.
	SendTaskDone struct{ Index uint64 }
	// SendStatus tells the tenant how far things are.
	SendStatus struct{}
	// SendEnd tells the tenant that the lease is over.
	SendEnd struct{}
	// Submit shows something to the chain, through the sender, which retries
	// until the chain has accepted it or refused it for good.
	Submit struct{ Move Move }
	// Unsubmit forgets what the sender still has for this lease.
	Unsubmit struct{}
	// FreeSlot gives the capacity back. The slot's next bid has a new generation.
	FreeSlot struct{}
	// Keep serves the results until the time given (unix ms).
	Keep struct{ Until int64 }
	// Delete removes results, logs and inputs.
	Delete struct{}
	// Alert tells the operator something worth acting on.
	Alert struct{ Text string }
)

// Move is a step this provider asks the chain to take.
type Move uint8

const (
	// MoveFinal: the final receipt, countersigned or covered. Closes at once.
	MoveFinal Move = iota + 1
	// MoveOneSided: OPEN → SETTLING with the best evidence there is.
	MoveOneSided
	// MoveReceipt: in SETTLING, a higher receipt than the chain has.
	MoveReceipt
	// MoveClaim: in the window's first half, the tail nobody countersigned.
	MoveClaim
)

var moveNames = [...]string{"?", "final", "one-sided", "receipt", "claim"}

func (m Move) String() string {
	if int(m) < len(moveNames) {
		return moveNames[m]
	}
	return fmt.Sprintf("move(%d)", uint8(m))
}

func (SendBid) action()      {}
func (SendReady) action()    {}
func (Prefetch) action()     {}
func (Prepare) action()      {}
func (Propose) action()      {}
func (StartClock) action()   {}
func (StopClock) action()    {}
func (StartTask) action()    {}
func (StopTask) action()     {}
func (RecoverTask) action()  {}
func (SendTaskDone) action() {}
func (SendStatus) action()   {}
func (SendEnd) action()      {}
func (Submit) action()       {}
func (Unsubmit) action()     {}
func (FreeSlot) action()     {}
func (Keep) action()         {}
func (Delete) action()       {}
func (Alert) action()        {}

func (SendBid) String() string        { return "send bid" }
func (SendReady) String() string      { return "send ready" }
func (Prefetch) String() string       { return "prefetch" }
func (Prepare) String() string        { return "prepare" }
func (a StartClock) String() string   { return fmt.Sprintf("start clock at %d", a.ElapsedMS) }
func (StopClock) String() string      { return "stop clock" }
func (a StartTask) String() string    { return fmt.Sprintf("start task %d", a.Index) }
func (a StopTask) String() string     { return fmt.Sprintf("stop task %d", a.Index) }
func (a RecoverTask) String() string  { return fmt.Sprintf("recover task %d", a.Index) }
func (a SendTaskDone) String() string { return fmt.Sprintf("send task-done %d", a.Index) }
func (SendStatus) String() string     { return "send status" }
func (SendEnd) String() string        { return "send end" }
func (a Submit) String() string       { return "submit " + a.Move.String() }
func (Unsubmit) String() string       { return "unsubmit" }
func (FreeSlot) String() string       { return "free slot" }
func (a Keep) String() string         { return fmt.Sprintf("keep results until %d", a.Until) }
func (Delete) String() string         { return "delete results" }
func (a Alert) String() string        { return "alert: " + a.Text }
func (a Propose) String() string {
	text := fmt.Sprintf("propose seq=%d elapsed=%d", a.Receipt.Sequence, a.Receipt.ElapsedMS)
	if a.Receipt.Final {
		text += " final " + a.Receipt.Reason.String()
	}
	return text
}
