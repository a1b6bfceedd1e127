package taskrecord

import (
	"time"

	"github.com/moyai-network/moyai/internal/steady"
)

// Start is when a task began, in a record.
type Start struct {
	Started time.Time
	Up      time.Duration // of the machine, at that time: nobody sets it
}

// Now is a Start.
func Now() Start { return Start{time.Now(), steady.Up()} }

// Begun is the start as this process counts time, whatever the wall's clock says
// by now.
func (s Start) Begun() time.Time {
	ran := steady.Up() - s.Up
	if ran < 0 { // before the machine's last start
		ran = time.Since(s.Started)
	}
	return time.Now().Add(-ran)
}
