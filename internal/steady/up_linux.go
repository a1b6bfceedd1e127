package steady

import (
	"time"

	"golang.org/x/sys/unix"
)

// Up is the time since the machine started: the same to all its processes.
func Up() time.Duration {
	var ts unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_BOOTTIME, &ts); err != nil {
		panic(err) // every Linux that Go runs on has it
	}
	return time.Duration(ts.Nano())
}
