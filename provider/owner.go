package provider

import (
	"context"
	"sync"
	"time"

	"github.com/moyai-network/moyai/provider/idle"
	"github.com/moyai-network/moyai/provider/leasing"
)

// lookEvery is how often the owner's use is looked at: the shortest use that
// counts is several looks long.
const lookEvery = 2 * time.Second

// takenBack tells tenants no more than they need: what the owner does is
// nobody's business.
const takenBack = "the machine's owner takes it back"

// readings show whether the owner uses the machine, as *idle.Sensor.
type readings interface {
	Read(ctx context.Context) idle.Reading
}

// ownership takes the machine back for its owner and lends it again: by the
// rules, or because the owner said so.
type ownership struct {
	rules  idle.Rules
	sensor readings
	d      *desk
	stall  *stall

	mu    sync.Mutex
	endBy time.Time // the owner wants running work to have ended by then; zero: no
}

func (o *ownership) run(ctx context.Context) error {
	watch := idle.NewWatch(o.rules)
	look := time.NewTicker(lookEvery)
	defer look.Stop()
	for {
		now := time.Now()
		var seen idle.Reading
		if o.rules.WhileIdle { // else it would wake graphics cards for nothing
			seen = o.sensor.Read(ctx)
		}
		o.apply(watch.Look(seen, now), now)
		select {
		case <-ctx.Done():
			return nil
		case <-look.C:
		}
	}
}

// apply stops or allows new work, and gives or lifts notice.
func (o *ownership) apply(v idle.Verdict, now time.Time) {
	was := o.stall.owned.Load()
	switch {
	case v.Lend && was != nil:
		o.stall.owned.Store(nil)
		o.stall.log.Info("lent again")
	case !v.Lend && (was == nil || *was != v.Why):
		o.stall.owned.Store(&v.Why)
		o.stall.log.Info("not lent", "why", v.Why)
	}
	by := o.wanted()
	if !v.StopBy.IsZero() && (by.IsZero() || v.StopBy.Before(by)) {
		by = v.StopBy
	}
	for _, a := range o.d.all() {
		given := a.snapshot().NoticeBy != 0
		switch {
		case !by.IsZero() && !given:
			a.post(leasing.NoticeGiven{By: o.d.now() + by.Sub(now).Milliseconds(), Text: takenBack, Now: o.d.now()})
		case by.IsZero() && given:
			a.post(leasing.NoticeLifted{})
		}
	}
}

func (o *ownership) wanted() time.Time {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.endBy
}

// end gives all running work notice, or takes that wish back.
func (o *ownership) end(wanted bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	switch {
	case !wanted:
		o.endBy = time.Time{}
	case o.endBy.IsZero():
		o.endBy = time.Now().Add(o.rules.Notice)
	}
}

// used is the processor time of this program and of the tasks that run now. It
// cannot be told while something is fetched or unpacked, which other programs
// of ours help with.
func (d *desk) used() (time.Duration, bool) {
	total := idle.Self(d.ctx)
	for _, a := range d.all() {
		s := a.snapshot()
		if s.Work == leasing.WorkPreparing {
			return 0, false
		}
		if a.job != nil {
			total += a.job.used()
		}
	}
	return total, true
}

// used is the processor time of the tasks that run.
func (j *job) used() (total time.Duration) {
	j.mu.Lock()
	defer j.mu.Unlock()
	for _, a := range j.tasks {
		select {
		case <-a.known:
			if a.task != nil {
				total += a.task.Usage().CPU
			}
		default:
		}
	}
	return total
}
