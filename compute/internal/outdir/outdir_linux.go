// Package outdir looks at a task's /out from outside: how much is in it, and, when the
// task has ended, that nothing in it surprises who collects it. What it finds was
// made by a stranger.
package outdir

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/moyai-network/moyai/compute/internal/taskrecord"
)

// Limits are what a task may have there.
type Limits struct{ Bytes, Files uint64 }

// Used is what a task has on the owner's disk.
type Used struct {
	Bytes, Files uint64
	// Unclear says that the tree cannot be walked, as when it is nested deeper
	// than paths are long: a way to hide, so it counts as too much.
	Unclear bool
	// Blind says that a process does not let us see what it has open. It may be about
	// to begin or to end; or it hides, which it cannot from root.
	Blind bool
}

// Over reports that it is too much, logs of so many bytes included.
func (u Used) Over(l Limits, logs uint64) bool {
	return u.Unclear || u.Files > l.Files || u.Bytes > l.Bytes || logs > l.Bytes-u.Bytes
}

// Measure adds up all files below dir by their apparent sizes, and the files that
// processes hold open although no directory shows them any more. It stops once
// both limits are far behind: a litter bomb must not make looking slow.
func Measure(dir string, l Limits, processes []int) Used {
	var u Used
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		switch {
		case errors.Is(err, fs.ErrNotExist):
			return nil // gone while we looked
		case err != nil:
			return err
		case path == dir:
			return nil
		}
		u.Files++
		if info, err := d.Info(); err == nil && info.Mode().IsRegular() {
			u.Bytes += uint64(info.Size())
		}
		if u.Files > l.Files || u.Bytes > l.Bytes {
			return fs.SkipAll
		}
		return nil
	})
	u.Unclear = err != nil
	deleted, blind := hidden(dir, processes)
	u.Bytes, u.Blind = u.Bytes+deleted, blind
	return u
}

// hidden is the size of deleted files that are still open.
func hidden(dir string, processes []int) (total uint64, blind bool) {
	var home unix.Stat_t
	if unix.Stat(dir, &home) != nil {
		return 0, false
	}
	seen := map[uint64]bool{}
	for _, pid := range processes {
		folder := fmt.Sprintf("/proc/%d/fd", pid)
		f, err := os.Open(folder)
		if err != nil {
			blind = blind || errors.Is(err, fs.ErrPermission) && alive(pid)
			continue
		}
		names, _ := f.Readdirnames(-1) // bounded by the container's own nofile limit
		f.Close()
		for _, name := range names {
			var st unix.Stat_t
			if unix.Stat(folder+"/"+name, &st) != nil || st.Dev != home.Dev || st.Nlink != 0 || st.Mode&unix.S_IFMT != unix.S_IFREG || seen[st.Ino] {
				continue
			}
			seen[st.Ino] = true
			total += uint64(st.Size)
		}
	}
	return total, blind
}

// alive reports that a process has not ended: what has nothing open any more does not
// show that either.
func alive(pid int) bool {
	fields, err := taskrecord.Stat(pid)
	return err == nil && fields[0] != "Z" && fields[0] != "X"
}

// Tidy leaves only what a caller can collect without surprise: no FIFO that
// blocks its reader, no socket, no device, and nothing that is set-uid.
func Tidy(dir string) {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return
	}
	defer root.Close()
	_ = filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return nil //nolint:nilerr // what cannot be walked cannot be collected either
		}
		info, err := d.Info()
		if err != nil {
			return nil //nolint:nilerr // as above
		}
		name, err := filepath.Rel(dir, path)
		if err != nil {
			return nil //nolint:nilerr // as above
		}
		switch mode := info.Mode(); {
		case mode.IsDir(), mode&fs.ModeSymlink != 0:
		case mode.IsRegular():
			if mode&(fs.ModeSetuid|fs.ModeSetgid) != 0 {
				_ = root.Chmod(name, mode.Perm())
			}
		default:
			_ = root.Remove(name)
		}
		return nil
	})
}

// DiskFull reports that the file system of dir has no room left to speak of.
func DiskFull(dir string) bool {
	var s syscall.Statfs_t
	if syscall.Statfs(dir, &s) != nil {
		return false
	}
	return s.Bavail*uint64(s.Bsize) < 1<<20 || s.Files > 0 && s.Ffree == 0
}
