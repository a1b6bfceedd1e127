// Package flock takes a lock on an open file for one process. The kernel gives it
// back when the file is closed or the process ends, however it ends. It binds only
// who asks: it keeps nobody from reading, writing or removing the file.
//
// It does not wait, and it knows no shared locks.
package flock

import "errors"

// ErrHeld: another open file, of this process or another, has the lock.
var ErrHeld = errors.New("held by another process")
