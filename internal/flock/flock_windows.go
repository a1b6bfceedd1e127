package flock

import (
	"errors"
	"os"

	"golang.org/x/sys/windows"
)

// Try takes the lock. Errors: ErrHeld, the operating system's.
func Try(f *os.File) error {
	// Locks bind everybody here, so it lies on a byte that no file has.
	const far = 1 << 30
	err := windows.LockFileEx(windows.Handle(f.Fd()), windows.LOCKFILE_EXCLUSIVE_LOCK|windows.LOCKFILE_FAIL_IMMEDIATELY,
		0, 1, 0, &windows.Overlapped{OffsetHigh: far})
	if errors.Is(err, windows.ERROR_LOCK_VIOLATION) || errors.Is(err, windows.ERROR_IO_PENDING) {
		return ErrHeld
	}
	return err
}
