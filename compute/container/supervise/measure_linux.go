package supervise

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"

	"golang.org/x/sys/unix"
)

// used is what a container has on the owner's disk.
type used struct {
	bytes, files uint64
	// unclear says that the tree cannot be walked, as when it is nested deeper
	// than paths are long: a way to hide, so it counts as too much.
	unclear bool
}

func (u used) over(job *Job, logs uint64) bool {
	return u.unclear || u.files > job.OutputFiles || u.bytes > job.OutputBytes || logs > job.OutputBytes-u.bytes
}

// measure adds up all files below dir by their apparent sizes, and the files that
// processes hold open although no directory shows them any more. It stops once
// both limits are far behind: a litter bomb must not make looking slow.
func measure(dir string, job *Job, processes []int) used {
	var u used
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		switch {
		case errors.Is(err, fs.ErrNotExist):
			return nil // gone while we looked
		case err != nil:
			return err
		case path == dir:
			return nil
		}
		u.files++
		if info, err := d.Info(); err == nil && info.Mode().IsRegular() {
			u.bytes += uint64(info.Size())
		}
		if u.files > job.OutputFiles || u.bytes > job.OutputBytes {
			return fs.SkipAll
		}
		return nil
	})
	u.unclear = err != nil
	u.bytes += hidden(dir, processes)
	return u
}

// hidden is the size of deleted files that are still open.
func hidden(dir string, processes []int) uint64 {
	var home unix.Stat_t
	if unix.Stat(dir, &home) != nil {
		return 0
	}
	seen := map[uint64]bool{}
	var total uint64
	for _, pid := range processes {
		folder := fmt.Sprintf("/proc/%d/fd", pid)
		f, err := os.Open(folder)
		if err != nil {
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
	return total
}

// tidy leaves only what a caller can collect without surprise: no FIFO that
// blocks its reader, no socket, no device, and nothing that is set-uid.
func tidy(dir string) {
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

// diskFull reports that the file system of dir has no room left to speak of.
func diskFull(dir string) bool {
	var s syscall.Statfs_t
	if syscall.Statfs(dir, &s) != nil {
		return false
	}
	return s.Bavail*uint64(s.Bsize) < 1<<20 || s.Files > 0 && s.Ffree == 0
}
