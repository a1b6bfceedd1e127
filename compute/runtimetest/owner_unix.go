//go:build unix

package runtimetest

import (
	"os"
	"syscall"
	"testing"
)

// ownerOf is the user a file belongs to, where files belong to users.
func ownerOf(t *testing.T, path string) (uint32, bool) {
	t.Helper()
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	st, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return 0, false
	}
	return st.Uid, true
}
