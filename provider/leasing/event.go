package leasing

import "github.com/moyai-network/moyai/mechanism/lease"

// Event is something that happened. The set is closed.
type Event interface{ event() }

// Promised: the manifest came, its hash and limits are good, Ready is signed.
type Promised struct {
	Likely bool // the bid is the first candidate: begin to prepare at once
}

// Lapsed: the chain's own clock is past the bid's expiry and the chain says that
// no lease was opened on it, or the chain opened the order's one lease on another
// bid. Never derived from silence.
type Lapsed struct{}

// Opened: the chain says that the lease is open.
type Opened struct{}

// Prepared: module and inputs are in place and the runtime can start a task.
type Prepared struct{ Now int64 }

// PrepareFailed: the work can never start; Reason says whose fault it was.
type PrepareFailed struct {
	Reason lease.Reason
	Text   string
	Now    int64
}

// Acked: a receipt with both signatures, each verified by the caller.
type Acked struct {
	Receipt Signed
	Now     int64
}

// AwaySigned: the receipt key signed in advance up to UntilMS; verified.
type AwaySigned struct {
	UntilMS uint64
	Bytes   []byte
	Now     int64
}

// TaskAsked: the tenant dealt an index. Finished says that the journal already
// has an outcome for it.
type TaskAsked struct {
	Index    uint64
	Finished bool
}

// NoMoreTasks: the tenant dealt its last index.
type NoMoreTasks struct {
	Elapsed uint64
	Now     int64
}

// TaskFinished: the running task ended. Elapsed is the meter at that instant.
type TaskFinished struct {
	Index   uint64
	Outcome Outcome
	Elapsed uint64
	Now     int64
}

// StopAsked: the tenant, or the operator, wants the work to end.
type StopAsked struct {
	Reason  lease.Reason
	Text    string
	Elapsed uint64
	Now     int64
}

// NoticeGiven: the machine is to be free by By (unix ms), for the reason in Text.
// The bid's promise comes first: no notice is shorter than Terms.NoticeMS.
type NoticeGiven struct {
	By   int64
	Text string
	Now  int64
}

// NoticeLifted: the machine is lent on after all.
type NoticeLifted struct{}

// Tick passes time. Elapsed is the meter, zero if it does not run.
type Tick struct {
	Elapsed uint64
	Now     int64
}

// Attached: a tenant's stream is there; whatever it must answer is said again.
type Attached struct{ Now int64 }

// SettlingSeen: the chain moved the lease to SETTLING, or changed what it holds.
type SettlingSeen struct {
	Shown
	Elapsed uint64
	Now     int64
	// MeterNow is the chain's meter clock as last seen, to judge the claim half.
	MeterNow uint64
}

// ClosedSeen: the chain paid.
type ClosedSeen struct {
	Settlement Settlement
	Elapsed    uint64
	Now        int64
}

// Refused: the chain refused a submission for good (not for lack of contact).
type Refused struct {
	Move Move
	Text string
	Now  int64
}

// Restarted: the provider came back with this state from its journal.
type Restarted struct{ Now int64 }

// Recovered: after a restart the runtime knows the task: it runs on, or ended
// meanwhile, which TaskFinished will tell.
type Recovered struct{ Index uint64 }

// NeverStarted: after a restart the runtime never heard of the task.
type NeverStarted struct {
	Index uint64
	Now   int64
}

// KeepOver: results were kept long enough.
type KeepOver struct{ Now int64 }

func (Promised) event()      {}
func (Lapsed) event()        {}
func (Opened) event()        {}
func (Prepared) event()      {}
func (PrepareFailed) event() {}
func (Acked) event()         {}
func (AwaySigned) event()    {}
func (TaskAsked) event()     {}
func (NoMoreTasks) event()   {}
func (TaskFinished) event()  {}
func (StopAsked) event()     {}
func (NoticeGiven) event()   {}
func (NoticeLifted) event()  {}
func (Tick) event()          {}
func (Attached) event()      {}
func (SettlingSeen) event()  {}
func (ClosedSeen) event()    {}
func (Refused) event()       {}
func (Restarted) event()     {}
func (Recovered) event()     {}
func (NeverStarted) event()  {}
func (KeepOver) event()      {}
