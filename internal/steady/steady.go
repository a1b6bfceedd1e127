// Package steady is a clock that nobody sets. It goes by the machine's own count of
// time, which a time server, an owner and daylight saving leave alone; sleep counts.
//
// It is for what is waited for on this machine. What people sign is judged by the
// wall's clock, or the chain's.
package steady

import "time"

var (
	wall  = time.Now().Round(0) // without what Go itself counts, which stands still in sleep
	begun = Up()
)

// Now is the time of day when this process began, and what has passed since.
func Now() time.Time { return wall.Add(Up() - begun) }
