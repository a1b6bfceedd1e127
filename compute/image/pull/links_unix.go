//go:build unix

package pull

import (
	"io/fs"
	"syscall"
)

// linked reports that a file has other names.
func linked(info fs.FileInfo) bool {
	st, ok := info.Sys().(*syscall.Stat_t)
	return ok && st.Nlink > 1
}
