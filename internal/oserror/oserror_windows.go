package oserror

import (
	"syscall"

	"golang.org/x/sys/windows"
)

// DiskFull: there is no room, or no more for this user.
func DiskFull(err error) bool {
	return is(err, windows.ERROR_DISK_FULL, windows.ERROR_HANDLE_DISK_FULL, windows.ERROR_DISK_QUOTA_EXCEEDED, syscall.ENOSPC)
}

// AddressTaken: somebody listens there already, or the system keeps the port.
func AddressTaken(err error) bool { return is(err, windows.WSAEADDRINUSE, windows.WSAEACCES) }
