package steady

import (
	"time"

	"golang.org/x/sys/windows"
)

// Up is the time since the machine started: the same to all its processes.
func Up() time.Duration { return windows.DurationSinceBoot() }
