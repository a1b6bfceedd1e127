package taskrecord

import (
	"testing"
	"time"
)

// TestStartOutlivesAClockThatIsSet: a task found again began when it did, though the
// wall's clock was an hour fast or slow by then.
func TestStartOutlivesAClockThatIsSet(t *testing.T) {
	for _, off := range []time.Duration{-time.Hour, 0, time.Hour} {
		s := Now()
		s.Started = s.Started.Add(off).Round(0) // as if it had been set since
		if ran := time.Since(s.Begun()); ran < 0 || ran > time.Minute {
			t.Errorf("set by %s: it ran for %s", off, ran)
		}
	}
	const ago = time.Hour
	before := Start{Started: time.Now().Add(-ago), Up: 1 << 62} // up for longer than the machine is
	if ran := time.Since(before.Begun()); ran < ago || ran > ago+time.Minute {
		t.Errorf("before the machine's start: it ran for %s", ran)
	}
}
