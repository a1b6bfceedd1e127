package leasing

import (
	"fmt"
	"slices"

	"github.com/moyai-network/moyai/mechanism/lease"
)

// The end.

// end fixes the final figures and sets about closing.
func (m *machine) end(reason lease.Reason, text string, now int64) {
	metered := m.s.Work == WorkRunning
	m.s.Work, m.s.Reason, m.s.Text = WorkEnded, reason, text
	m.s.Queue, m.s.Task, m.s.Proposed, m.s.StartBy = nil, nil, nil, 0
	m.s.Sequence++
	m.s.Final = &Receipt{
		Sequence: m.s.Sequence, ElapsedMS: m.s.ElapsedMS, Tasks: m.s.Tasks,
		Final: true, Reason: reason, Outputs: slices.Clone(m.s.Outputs),
	}
	m.s.AckBy = now + int64(m.s.Terms.AckWaitMS)
	m.s.Alone = !m.s.Started && reason == lease.ReasonTenantVanished // waited for long enough already
	m.save()
	if metered {
		m.do(StopClock{})
	}
	m.do(FreeSlot{})
	switch m.s.Chain {
	case ChainOpen:
		m.closing()
	case ChainSettling:
		m.proposeFinal()
		switch {
		case m.seen:
			m.show(m.meterNow)
		case m.finalReady():
			m.submitFinal()
		}
	case ChainClosed:
		m.do(SendEnd{})
	}
}

// proposeFinal asks for the last countersignature, and for the first one too if
// there is none: the work began under an Away or the offline allowance, or it
// never began, in which case both count nothing and the hold goes back at once
// instead of after the window.
func (m *machine) proposeFinal() {
	if m.s.Final == nil || m.s.Alone && !m.s.Started || m.s.Acked != nil && m.s.Acked.Final {
		return
	}
	if m.s.Acked == nil {
		m.do(Propose{Receipt{}})
	}
	m.do(Propose{*m.s.Final})
}

// closing asks for the cheapest close that can still be had while OPEN.
func (m *machine) closing() {
	switch {
	case m.finalReady():
		m.submitFinal()
	case m.s.Alone:
		m.do(Submit{MoveOneSided})
	default:
		m.proposeFinal()
	}
}

func (m *machine) closeAlone() {
	m.s.Alone = true
	m.save()
	m.do(Submit{MoveOneSided})
}

func (m *machine) submitFinal() { m.do(Submit{MoveFinal}) }

// finalReady reports whether the chain should accept the final receipt as it is.
func (m *machine) finalReady() bool {
	s := &m.s
	if s.Final == nil || slices.Contains(s.Refused, MoveFinal) {
		return false
	}
	return s.Acked != nil && s.Acked.Final || m.s.ownWord() > 0 && s.Final.ElapsedMS <= m.s.ownWord()
}

// settling reacts to the window: whatever is better than what the chain holds is
// shown at once, without asking anybody.
func (m *machine) settling(e SettlingSeen) {
	if m.s.Chain == ChainClosed || m.s.Chain == ChainLapsed {
		return
	}
	first := m.s.Chain != ChainSettling
	if !first && m.s.Shown == e.Shown {
		return
	}
	m.s.Chain, m.s.Shown = ChainSettling, e.Shown
	m.seen, m.meterNow = true, e.MeterNow
	m.save()
	reason, text := lease.ReasonTimeout, "the lease's hold ran dry"
	if e.ByPayer {
		reason, text = lease.ReasonTenantStopped, "the tenant closed the lease"
	}
	switch {
	case m.s.Work < WorkPreparing:
		m.s.Work = WorkPreparing // it was open and is over, and nobody told us
		m.stop(reason, text, 0, e.Now)
	case m.s.Work <= WorkRunning:
		m.stop(reason, text, e.Elapsed, e.Now)
		if m.s.Work == WorkStopping {
			m.show(e.MeterNow)
		}
	case first:
		m.show(e.MeterNow)
	}
}

// show submits what betters the chain's knowledge.
func (m *machine) show(meterNow uint64) {
	s := &m.s
	if m.finalReady() {
		m.submitFinal()
		return
	}
	if e, ok := s.Evidence(); ok && (e.ElapsedMS > s.Shown.AckedMS || !s.Shown.Started) && !slices.Contains(s.Refused, MoveReceipt) {
		m.do(Submit{MoveReceipt})
	}
	if m.tail() > 0 && !s.Shown.Claimed && meterNow < s.Shown.ClaimEnd && !slices.Contains(s.Refused, MoveClaim) {
		m.do(Submit{MoveClaim})
	}
}

// tail is the metered time nobody countersigned. Without any proof of a start
// there is none: nothing is owed before it.
func (m *machine) tail() uint64 {
	if _, ok := m.s.Evidence(); !ok {
		return 0
	}
	return m.s.ElapsedMS - min(m.s.ElapsedMS, m.s.Covered())
}

func (m *machine) closed(e ClosedSeen) {
	if m.s.Chain == ChainClosed {
		return
	}
	m.s.Chain = ChainClosed
	paid := e.Settlement
	m.s.Settlement = &paid
	m.s.KeepUntil = e.Now + int64(m.s.Terms.KeepMS)
	m.save()
	m.do(Unsubmit{})
	switch {
	case m.s.Work < WorkPreparing:
		m.s.Work = WorkPreparing
		m.stop(paid.Reason, "", 0, e.Now)
	case m.s.Work <= WorkRunning:
		m.stop(paid.Reason, "the lease was closed on chain", e.Elapsed, e.Now)
	case m.s.Work == WorkEnded:
		m.do(SendEnd{})
	}
	m.do(Keep{m.s.KeepUntil})
}

func (m *machine) refused(e Refused) {
	if slices.Contains(m.s.Refused, e.Move) {
		return
	}
	m.s.Refused = append(m.s.Refused, e.Move)
	m.save()
	if e.Move == MoveFinal || e.Move == MoveOneSided {
		// Receipts and claims may simply come second; these two never should.
		m.do(Alert{fmt.Sprintf("the chain refused a %s step: %s", e.Move, e.Text)})
	}
	if e.Move != MoveFinal || m.s.Work != WorkEnded {
		return
	}
	switch m.s.Chain {
	case ChainOpen:
		m.closeAlone()
	case ChainSettling:
		m.show(0)
	}
}

func (m *machine) keepOver(e KeepOver) {
	if m.s.Work != WorkEnded || m.s.Chain != ChainClosed || e.Now < m.s.KeepUntil {
		return
	}
	m.s.Work = WorkForgotten
	m.save()
	m.do(Delete{})
}
