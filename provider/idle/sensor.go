package idle

import (
	"context"
	"os"
	"time"

	"github.com/shirou/gopsutil/v4/cpu"
	"github.com/shirou/gopsutil/v4/process"
)

// Eyes are where a Sensor looks. Each may be nil: then it sees nothing there.
type Eyes struct {
	// Busy is the time that all processors together have worked since some
	// moment, and the time that they could have.
	Busy func(ctx context.Context) (busy, whole time.Duration, err error)
	// Ours is the part of Busy that this program and its tenants used; ok is
	// false while some of it cannot be told apart from the owner's.
	Ours func() (used time.Duration, ok bool)
	// GPU is the use of the busiest card in percent; ok is false while it is
	// unknown, or a tenant's.
	GPU func(ctx context.Context) (percent uint, ok bool)
	// FullScreen names what fills the owner's screen.
	FullScreen func(ctx context.Context) (string, error)
}

// Processors looks at this machine's processors.
func Processors(ctx context.Context) (busy, whole time.Duration, err error) {
	all, err := cpu.TimesWithContext(ctx, false)
	if err != nil || len(all) == 0 {
		return 0, 0, err
	}
	// Linux counts guests' time in user and nice as well.
	t := all[0]
	work := t.User + t.Nice + t.System + t.Irq + t.Softirq + t.Steal
	rest := t.Idle + t.Iowait
	return seconds(work), seconds(work + rest), nil
}

// Self is what this process itself has used.
func Self(ctx context.Context) time.Duration {
	p, err := process.NewProcessWithContext(ctx, int32(os.Getpid()))
	if err != nil {
		return 0
	}
	t, err := p.TimesWithContext(ctx)
	if err != nil {
		return 0
	}
	return seconds(t.User + t.System)
}

func seconds(f float64) time.Duration { return time.Duration(f * float64(time.Second)) }

// Sensor turns what the eyes see into readings. It is not safe for concurrent
// use.
type Sensor struct {
	eyes Eyes
	last look
}

// look is one glance at the processors.
type look struct {
	busy, whole, ours time.Duration
	ok                bool
}

// NewSensor looks with the eyes given.
func NewSensor(eyes Eyes) *Sensor { return &Sensor{eyes: eyes} }

// Read looks once. The processor's share is of the time since the last Read, so
// the first one does not know it.
func (s *Sensor) Read(ctx context.Context) Reading {
	var r Reading
	now := s.look(ctx)
	if share, ok := ownersShare(s.last, now); ok {
		r.CPU = &share
	}
	s.last = now
	if s.eyes.GPU != nil {
		if percent, ok := s.eyes.GPU(ctx); ok {
			r.GPU = &percent
		}
	}
	if s.eyes.FullScreen != nil {
		r.FullScreen, _ = s.eyes.FullScreen(ctx) // what cannot be seen is unknown
	}
	return r
}

func (s *Sensor) look(ctx context.Context) (l look) {
	if s.eyes.Busy == nil || s.eyes.Ours == nil {
		return l
	}
	var err error
	if l.busy, l.whole, err = s.eyes.Busy(ctx); err != nil {
		return look{}
	}
	l.ours, l.ok = s.eyes.Ours()
	return l
}

// ownersShare is the percentage of the processors that others used between two
// looks. A task that ended in between has taken its count along, so that
// less than nothing of ours is taken for unknown.
func ownersShare(a, b look) (percent uint, ok bool) {
	whole := b.whole - a.whole
	if !a.ok || !b.ok || whole <= 0 || b.ours < a.ours || b.busy < a.busy {
		return 0, false
	}
	others := max(b.busy-a.busy-(b.ours-a.ours), 0)
	return uint(min(100*others/whole, 100)), true
}
