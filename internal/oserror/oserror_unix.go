//go:build unix

package oserror

import "syscall"

// DiskFull: there is no room, or no more for this user.
func DiskFull(err error) bool { return is(err, syscall.ENOSPC, syscall.EDQUOT) }

// AddressTaken: somebody listens there already.
func AddressTaken(err error) bool { return is(err, syscall.EADDRINUSE) }
