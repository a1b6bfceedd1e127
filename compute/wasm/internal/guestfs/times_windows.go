package guestfs

import (
	"os"

	experimentalsys "github.com/tetratelabs/wazero/experimental/sys"
	"golang.org/x/sys/windows"
)

// futimens sets an open file's times, if it is open for writing.
func futimens(f *os.File, atim, mtim int64) experimentalsys.Errno {
	err := windows.SetFileTime(windows.Handle(f.Fd()), nil, filetime(atim), filetime(mtim))
	return experimentalsys.UnwrapOSError(err)
}

// filetime is nil for a time that is left as it is.
func filetime(ns int64) *windows.Filetime {
	if ns == experimentalsys.UTIME_OMIT {
		return nil
	}
	t := windows.NsecToFiletime(ns)
	return &t
}
