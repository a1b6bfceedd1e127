package idle

import (
	"fmt"
	"time"
)

// Reading is what a look at the machine showed. A nil share is unknown.
type Reading struct {
	// CPU is how much of the whole processor, in percent, others than tenants
	// used since the last look.
	CPU *uint
	// GPU is the same of the busiest card.
	GPU *uint
	// FullScreen names what fills the owner's screen; empty: nothing, or unknown.
	FullScreen string
}

// Verdict says what follows from the rules now.
type Verdict struct {
	// Lend: new work may be taken.
	Lend bool
	// StopBy is when running work has to have ended; zero: it may run on.
	StopBy time.Time
	// Why is the reason for people, if not Lend.
	Why string
}

// Watch is the memory of the decisions. It is not safe for concurrent use.
type Watch struct {
	rules Rules

	usedSince time.Time // the owner has used the machine without a break since
	usedLast  time.Time // the last look at which the owner did
	what      string    // that use, for people
	taken     time.Time // the owner has the machine since; zero: it is lent
}

// NewWatch begins with a machine that nobody uses. The rules must be valid.
func NewWatch(rules Rules) *Watch { return &Watch{rules: rules} }

// Look takes a reading and says what follows.
func (w *Watch) Look(r Reading, now time.Time) Verdict {
	w.note(r, now)
	v := w.schedule(now)
	if w.taken.IsZero() {
		return v
	}
	stop := w.taken.Add(w.rules.Notice)
	if v.StopBy.IsZero() || stop.Before(v.StopBy) {
		v.StopBy = stop
	}
	v.Lend, v.Why = false, "its owner uses the machine: "+w.what
	return v
}

// note keeps count of the owner's use, and decides whose the machine is.
func (w *Watch) note(r Reading, now time.Time) {
	if !w.rules.WhileIdle {
		return
	}
	if what := w.use(r); what != "" {
		if w.usedSince.IsZero() {
			w.usedSince = now
		}
		w.usedLast, w.what = now, what
		if w.taken.IsZero() && now.Sub(w.usedSince) >= w.rules.After {
			w.taken = now
		}
		return
	}
	w.usedSince = time.Time{}
	if !w.taken.IsZero() && now.Sub(w.usedLast) >= w.rules.Resume {
		w.taken = time.Time{}
	}
}

// use names what shows that the owner uses the machine, if anything does.
func (w *Watch) use(r Reading) string {
	switch {
	case r.FullScreen != "":
		return r.FullScreen + " fills the screen"
	case r.GPU != nil && *r.GPU >= w.rules.BusyGPU:
		return fmt.Sprintf("%d%% of the graphics card", *r.GPU)
	case r.CPU != nil && *r.CPU >= w.rules.BusyCPU:
		return fmt.Sprintf("%d%% of the processor", *r.CPU)
	}
	return ""
}

// schedule judges by the clock alone. The end of a span is known beforehand, so
// the notice is given before it and no new work is taken that would get it at
// once.
func (w *Watch) schedule(now time.Time) Verdict {
	s := w.rules.Schedule
	change, changes := s.Change(now)
	if !s.Open(now) {
		why := "outside its schedule"
		if changes {
			why += ", back " + change.Format("Mon 15:04")
		}
		return Verdict{StopBy: now, Why: why}
	}
	if changes && change.Sub(now) <= w.rules.Notice {
		return Verdict{StopBy: change, Why: "its schedule ends " + change.Format("Mon 15:04")}
	}
	return Verdict{Lend: true}
}
