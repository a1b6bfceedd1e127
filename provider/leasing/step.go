package leasing

import (
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"slices"

	"github.com/moyai-network/moyai/mechanism/lease"
)

// Step takes one event. On an error the state is unchanged and there is nothing
// to do. An event that is merely late or repeated (the network and the chain
// both repeat themselves) is no error and has no effects.
func Step(s State, e Event) (State, Effects, error) {
	s.Queue = slices.Clone(s.Queue)
	s.Refused = slices.Clone(s.Refused)
	m := machine{s: s}
	if err := m.take(e); err != nil {
		return s, Effects{}, err
	}
	return m.s, m.fx, nil
}

// machine is one Step under way.
type machine struct {
	s  State
	fx Effects

	// The chain's meter clock, if this event brought news of the window.
	seen     bool
	meterNow uint64
}

func (m *machine) take(e Event) error {
	switch e := e.(type) {
	case Promised:
		return m.promised(e)
	case Lapsed:
		return m.lapsed(e)
	case Opened:
		m.opened()
	case Prepared:
		m.prepared(e)
	case PrepareFailed:
		m.prepareFailed(e)
	case Acked:
		return m.acked(e)
	case AwaySigned:
		return m.away(e)
	case TaskAsked:
		return m.taskAsked(e)
	case NoMoreTasks:
		return m.noMoreTasks(e)
	case TaskFinished:
		m.taskFinished(e)
	case StopAsked:
		m.stop(e.Reason, e.Text, e.Elapsed, e.Now)
	case NoticeGiven:
		m.notice(e)
	case NoticeLifted:
		m.noticeLifted()
	case Tick:
		m.tick(e)
	case Attached:
		m.attached(e)
	case SettlingSeen:
		m.settling(e)
	case ClosedSeen:
		m.closed(e)
	case Refused:
		m.refused(e)
	case Restarted:
		m.restarted(e)
	case Recovered:
		m.recovered(e)
	case NeverStarted:
		m.neverStarted(e)
	case KeepOver:
		m.keepOver(e)
	default:
		return m.illegal(e)
	}
	return nil
}

func (m *machine) do(actions ...Action) { m.fx.Actions = append(m.fx.Actions, actions...) }
func (m *machine) save()                { m.fx.Save = true }
func (m *machine) illegal(e Event) error {
	return fmt.Errorf("%w: %T while work is %s and chain is %s", ErrTransition, e, m.s.Work, m.s.Chain)
}

// The beginning.

func (m *machine) promised(e Promised) error {
	if m.s.Work != WorkOffered {
		return m.illegal(e)
	}
	m.s.Work = WorkPromised
	m.save() // BEFORE Ready leaves: from then on the chain may open a lease we must know
	m.do(SendReady{})
	if e.Likely {
		m.do(Prefetch{})
	}
	return nil
}

func (m *machine) lapsed(e Lapsed) error {
	if m.s.Chain == ChainLapsed {
		return nil
	}
	if m.s.Chain != ChainNone {
		return m.illegal(e)
	}
	journalled := m.s.Work != WorkOffered
	m.s.Chain, m.s.Work = ChainLapsed, WorkForgotten
	m.fx.Save = journalled
	m.do(FreeSlot{}, Delete{})
	return nil
}

func (m *machine) opened() {
	if m.s.Chain != ChainNone {
		return // told twice, or late
	}
	m.s.Chain = ChainOpen
	m.save()
	switch m.s.Work {
	case WorkPromised:
		m.s.Work = WorkPreparing
		if m.s.Reason != lease.ReasonNone { // stopped by a tenant who was faster than the chain's news
			m.end(m.s.Reason, m.s.Text, 0)
			return
		}
		m.do(Prepare{}, SendStatus{})
	case WorkOffered:
		// Cannot be: opening needs our Ready. If a node key was used twice, the
		// one honest thing is to give the tenant its money back.
		m.end(lease.ReasonProviderStopped, "this machine never saw the manifest", 0)
	}
}

func (m *machine) prepared(e Prepared) {
	if m.s.Work != WorkPreparing {
		return
	}
	m.s.Work = WorkStarting
	m.s.StartBy = e.Now + int64(m.s.Terms.GraceMS)
	m.s.Proposed = &Receipt{}
	m.save()
	if m.s.ownWord() > 0 {
		// An Away, or the offline allowance, is the countersignature.
		m.begin(e.Now)
		return
	}
	m.do(Propose{*m.s.Proposed}, SendStatus{})
}

func (m *machine) prepareFailed(e PrepareFailed) {
	if m.s.Work != WorkPreparing {
		return
	}
	if !m.s.Terms.Array {
		// The tenant waits for task 0; this is how it ended.
		m.fx.Finished = &Finished{0, Outcome{ExitCode: -1, Reason: "not-prepared", Text: e.Text, Lease: e.Reason}}
		m.do(SendTaskDone{0})
	}
	m.end(e.Reason, e.Text, e.Now)
}

// begin starts the meter and the work.
func (m *machine) begin(now int64) {
	m.s.Work, m.s.Started, m.s.StartBy = WorkRunning, true, 0
	if !m.s.Terms.Array {
		m.s.Queue = []uint64{0}
		m.s.NoMore = true
	}
	m.save() // BEFORE the task starts: a restart must know that it may be running
	m.do(StartClock{m.s.ElapsedMS})
	m.next()
	m.do(SendStatus{})
	if m.idle() {
		m.end(lease.ReasonCompleted, "", now)
	}
}

// next starts the first queued index if nothing runs.
func (m *machine) next() {
	if m.s.Task != nil || len(m.s.Queue) == 0 {
		return
	}
	index := m.s.Queue[0]
	m.s.Queue = m.s.Queue[1:]
	m.s.Task = &index
	m.save()
	m.do(StartTask{index})
}

// What the tenant says.

func (m *machine) acked(e Acked) error {
	r := e.Receipt
	if m.s.Work < WorkStarting {
		return m.illegal(e)
	}
	if a := m.s.Acked; a != nil && !better(r.Receipt, a.Receipt) {
		return nil
	}
	m.s.Acked = &r
	m.s.ElapsedMS = max(m.s.ElapsedMS, r.ElapsedMS)
	m.s.Sequence = max(m.s.Sequence, r.Sequence)
	if p := m.s.Proposed; p != nil && !better(*p, r.Receipt) {
		m.s.Proposed = nil
	}
	m.save()
	if m.s.Work == WorkStarting && !r.Final {
		m.begin(e.Now)
	}
	if m.s.Work == WorkEnded && r.Final {
		final := r.Receipt
		m.s.Final = &final
		if m.s.Chain == ChainOpen || m.s.Chain == ChainSettling {
			m.submitFinal()
		}
	}
	return nil
}

// better reports whether a says more than b.
func better(a, b Receipt) bool {
	if a.Final != b.Final {
		return a.Final
	}
	if a.ElapsedMS != b.ElapsedMS {
		return a.ElapsedMS > b.ElapsedMS
	}
	return a.Sequence > b.Sequence
}

func (m *machine) away(e AwaySigned) error {
	if m.s.Work < WorkPromised {
		return m.illegal(e)
	}
	if e.UntilMS <= m.s.AwayMS {
		return nil
	}
	m.s.AwayMS, m.s.Away = e.UntilMS, slices.Clone(e.Bytes)
	m.save()
	switch {
	case m.s.Work == WorkStarting:
		m.begin(e.Now)
	case m.s.Work == WorkEnded && (m.s.Chain == ChainOpen || m.s.Chain == ChainSettling) && m.finalReady():
		m.submitFinal()
	}
	return nil
}

func (m *machine) taskAsked(e TaskAsked) error {
	if !m.s.Terms.Array {
		return ErrNotArray
	}
	if e.Finished {
		m.do(SendTaskDone{e.Index})
		return nil
	}
	// A tenant that knows of the opening before this provider does is not too early.
	if m.s.Work < WorkPromised || m.s.Work > WorkRunning || m.s.NoMore {
		return nil // too late: the tenant learns it from Status or End and deals it elsewhere
	}
	if m.s.Task != nil && *m.s.Task == e.Index || slices.Contains(m.s.Queue, e.Index) {
		return nil
	}
	if len(m.s.Queue) >= MaxQueue {
		return ErrQueueFull
	}
	m.s.Queue = append(m.s.Queue, e.Index)
	m.save()
	if m.s.Work == WorkRunning {
		m.next()
	}
	return nil
}

func (m *machine) noMoreTasks(e NoMoreTasks) error {
	if !m.s.Terms.Array {
		return ErrNotArray
	}
	if m.s.NoMore || m.s.Work > WorkRunning {
		return nil
	}
	m.s.NoMore = true
	m.save()
	m.count(e.Elapsed)
	if m.s.Work == WorkRunning && m.idle() {
		m.end(lease.ReasonCompleted, "", e.Now)
	}
	return nil
}

// idle reports that there is nothing left that this lease could run.
func (m *machine) idle() bool {
	return m.s.NoMore && m.s.Task == nil && len(m.s.Queue) == 0
}

func (m *machine) attached(e Attached) {
	m.do(SendStatus{})
	switch m.s.Work {
	case WorkStarting, WorkRunning:
		if p := m.s.Proposed; p != nil {
			if m.s.Acked == nil && p.Sequence > 0 {
				m.do(Propose{Receipt{}})
			}
			m.do(Propose{*p})
		}
		if m.s.Work == WorkRunning && m.s.Paused {
			m.s.Paused, m.s.StartBy = false, 0
			m.save()
			m.do(StartClock{m.s.ElapsedMS})
		}
	case WorkEnded:
		if m.s.Chain == ChainClosed {
			m.do(SendEnd{})
		} else {
			m.proposeFinal()
		}
	}
}

// Running.

// count moves the counter up to the meter, never past what is worth signing.
func (m *machine) count(elapsed uint64) {
	if m.s.Work == WorkRunning {
		m.s.ElapsedMS = max(m.s.ElapsedMS, min(elapsed, m.s.Ceiling()))
	}
}

func (m *machine) tick(e Tick) {
	if by := m.s.NoticeBy; by != 0 && e.Now >= by && m.s.Work >= WorkPreparing && m.s.Work <= WorkRunning {
		m.stop(lease.ReasonProviderStopped, m.s.NoticeText, e.Elapsed, e.Now)
		return
	}
	switch m.s.Work {
	case WorkStarting:
		if e.Now >= m.s.StartBy {
			m.end(lease.ReasonTenantVanished, "the start receipt was never countersigned", e.Now)
		}
	case WorkRunning:
		m.tickRunning(e)
	case WorkEnded:
		if m.s.Chain == ChainOpen && !m.s.Alone && m.s.AckBy != 0 && e.Now >= m.s.AckBy && !m.finalReady() {
			m.closeAlone()
		}
	}
}

func (m *machine) tickRunning(e Tick) {
	if m.s.Paused {
		if e.Now >= m.s.StartBy {
			m.stop(lease.ReasonTenantVanished, "nobody came back after the provider's restart", m.s.ElapsedMS, e.Now)
		}
		return
	}
	before := m.s.ElapsedMS
	m.count(e.Elapsed)
	switch {
	case m.s.ElapsedMS >= m.s.Terms.TimeoutMS:
		m.stop(lease.ReasonTimeout, "the lease's time is used up", e.Elapsed, e.Now)
	case m.s.ElapsedMS >= m.s.Ceiling():
		m.stop(lease.ReasonTenantVanished, "receipts were not countersigned in time", e.Elapsed, e.Now)
	case m.s.ElapsedMS > before || m.s.Sequence == 0:
		m.s.Sequence++
		m.s.Proposed = &Receipt{Sequence: m.s.Sequence, ElapsedMS: m.s.ElapsedMS, Tasks: m.s.Tasks}
		m.save() // BEFORE it is shown: a restart must never sign a lower counter
		m.do(Propose{*m.s.Proposed})
	}
}

func (m *machine) taskFinished(e TaskFinished) {
	if m.s.Task == nil || *m.s.Task != e.Index {
		return
	}
	m.count(e.Elapsed)
	m.s.Task = nil
	m.s.Tasks++
	m.s.Outputs = chainOutput(m.s.Outputs, e.Index, e.Outcome.Output)
	m.fx.Finished = &Finished{e.Index, e.Outcome}
	m.save()
	m.do(SendTaskDone{e.Index})
	switch m.s.Work {
	case WorkStopping:
		m.end(m.s.Reason, m.s.Text, e.Now)
	case WorkRunning:
		m.next()
		if m.idle() {
			reason, text := lease.ReasonCompleted, ""
			if !m.s.Terms.Array {
				reason, text = e.Outcome.Lease, e.Outcome.Text
			}
			m.end(reason, text, e.Now)
		}
	}
}

// chainOutput commits to every task's result in the order in which they ended.
// With one task it is the hash over (index, CID); both sides can compute it from
// the TaskDone messages.
func chainOutput(prev []byte, index uint64, cid []byte) []byte {
	h := sha256.New()
	h.Write(prev)
	h.Write(binary.BigEndian.AppendUint64(nil, index))
	h.Write(cid)
	return h.Sum(nil)
}

// stop ends the work from outside: freezes the counter now and lets the task die.
func (m *machine) stop(reason lease.Reason, text string, elapsed uint64, now int64) {
	switch m.s.Work {
	case WorkPromised:
		m.s.Reason, m.s.Text = reason, text // for when it opens
		m.save()
	case WorkPreparing, WorkStarting:
		m.end(reason, text, now)
	case WorkRunning:
		m.count(elapsed)
		m.s.Queue = nil
		if m.s.Task == nil {
			m.end(reason, text, now)
			return
		}
		m.s.Work, m.s.Reason, m.s.Text = WorkStopping, reason, text
		m.save()
		m.do(StopClock{}, StopTask{*m.s.Task}, SendStatus{})
	}
}

// notice tells the tenant by when the work will be ended. A notice that stands is
// not made longer or shorter: tenants act on it.
func (m *machine) notice(e NoticeGiven) {
	if m.s.NoticeBy != 0 || m.s.Work < WorkPromised || m.s.Work > WorkRunning {
		return
	}
	m.s.NoticeBy, m.s.NoticeText = max(e.By, e.Now+int64(m.s.Terms.NoticeMS)), e.Text
	m.save() // BEFORE it is shown: a restart must not take it back
	m.do(SendStatus{})
}

func (m *machine) noticeLifted() {
	if m.s.NoticeBy == 0 || m.s.Work > WorkRunning {
		return
	}
	m.s.NoticeBy, m.s.NoticeText = 0, ""
	m.save()
	m.do(SendStatus{})
}

// Coming back.

func (m *machine) restarted(e Restarted) {
	switch m.s.Work {
	case WorkPreparing, WorkStarting:
		m.s.Work, m.s.Proposed = WorkPreparing, nil
		m.save()
		m.do(Prepare{})
	case WorkRunning, WorkStopping:
		if m.s.Task != nil {
			m.do(RecoverTask{*m.s.Task})
			return
		}
		m.pause(e.Now)
	case WorkEnded:
		m.resumeClosing(e.Now)
	}
}

func (m *machine) resumeClosing(now int64) {
	switch m.s.Chain {
	case ChainOpen:
		m.s.AckBy = now + int64(m.s.Terms.AckWaitMS)
		m.closing()
	case ChainSettling:
		m.show(0)
	case ChainClosed:
		m.do(Keep{m.s.KeepUntil})
	}
}

// pause holds the meter of an idle array lease until its tenant is back: time in
// which this machine could not have served is not billed.
func (m *machine) pause(now int64) {
	m.s.Paused = true
	m.s.StartBy = now + int64(m.s.Terms.GraceMS)
	m.save()
	m.next()
}

func (m *machine) recovered(e Recovered) {
	if m.s.Task == nil || *m.s.Task != e.Index {
		return
	}
	switch m.s.Work {
	case WorkRunning:
		m.do(StartClock{m.s.ElapsedMS}, SendStatus{}) // the time it ran unwatched is not billed
	case WorkStopping:
		m.do(StopTask{e.Index})
	}
}

// neverStarted starts a task that the state before the restart wanted started and
// the runtime never heard of. It cannot run twice: the runtime would know.
func (m *machine) neverStarted(e NeverStarted) {
	if m.s.Task == nil || *m.s.Task != e.Index {
		return
	}
	switch m.s.Work {
	case WorkRunning:
		m.do(StartClock{m.s.ElapsedMS}, StartTask{e.Index}, SendStatus{})
	case WorkStopping:
		m.s.Task = nil
		m.end(m.s.Reason, m.s.Text, e.Now)
	}
}
