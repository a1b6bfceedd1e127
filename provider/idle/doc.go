// Package idle decides when a machine is lent: only within its owner's schedule,
// and only while the owner does not use it. It looks at the processor, the
// graphics card and the screen, and says from when on nothing new is taken and
// by when what runs has to end.
//
// The decision (Watch) is a function of readings and times, tested without a
// machine; the readings (Sensor) come from the operating system, and what it
// does not tell is unknown, which is never a reason to stop anybody's work.
//
// It stops nothing itself and knows no leases, money or peers: package provider
// acts on what it says.
package idle

import (
	"fmt"
	"time"
)

// Rules are what an owner chose. The zero value lends always.
type Rules struct {
	Schedule Schedule // when the machine is lent; empty: always
	// WhileIdle lends only while the owner does not use the machine, as the
	// readings show it.
	WhileIdle bool
	// BusyCPU and BusyGPU are the shares of the whole processor, and of a card, in
	// percent, from which on what others than tenants run counts as use.
	BusyCPU, BusyGPU uint
	// After is how long use must last before the machine is taken back: starting
	// a browser is not coming home.
	After time.Duration
	// Resume is how long the owner must be away before the machine is lent again.
	Resume time.Duration
	// Notice is the warning that running work gets, as bids promise it.
	Notice time.Duration
}

// EnsureDefaults fills in what was left zero.
func (r *Rules) EnsureDefaults() {
	setDefault(&r.BusyCPU, 25)
	setDefault(&r.BusyGPU, 20)
	setDefault(&r.After, 10*time.Second)
	setDefault(&r.Resume, 5*time.Minute)
	setDefault(&r.Notice, time.Minute)
}

func setDefault[T comparable](v *T, d T) {
	var zero T
	if *v == zero {
		*v = d
	}
}

// Bounds of Rules.
const (
	maxWait   = 24 * time.Hour
	maxNotice = time.Hour
)

// Validate reports the first rule that makes no sense.
func (r *Rules) Validate() error {
	switch {
	case r.BusyCPU > 100 || r.BusyGPU > 100:
		return fmt.Errorf("use of %d%% or %d%% cannot be: percentages end at 100", r.BusyCPU, r.BusyGPU)
	case r.After < 0 || r.After > maxWait || r.Resume < 0 || r.Resume > maxWait:
		return fmt.Errorf("waits of %s and %s: each must lie between 0 and %s", r.After, r.Resume, maxWait)
	case r.Notice < 0 || r.Notice > maxNotice:
		return fmt.Errorf("notice of %s: it must lie between 0 and %s", r.Notice, maxNotice)
	}
	return nil
}

// Always reports that the machine is lent whatever happens.
func (r *Rules) Always() bool { return !r.WhileIdle && r.Schedule.Empty() }
