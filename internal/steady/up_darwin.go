package steady

import (
	"time"

	"golang.org/x/sys/unix"
)

// Up is the time since the machine started: the same to all its processes.
func Up() time.Duration {
	var ts unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_MONOTONIC, &ts); err != nil { // goes on in sleep, unlike Linux's
		panic(err)
	}
	return time.Duration(ts.Nano())
}
