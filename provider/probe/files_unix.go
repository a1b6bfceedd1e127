//go:build unix

package probe

import "golang.org/x/sys/unix"

// OpenFiles is how many files a program of this user may open at once, 0 if
// nobody knows. Go programs raise their own limit to it.
func OpenFiles() uint64 {
	var l unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &l); err != nil {
		return 0
	}
	return l.Max
}
