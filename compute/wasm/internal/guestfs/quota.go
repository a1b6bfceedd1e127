package guestfs

import (
	"io/fs"
	"os"
	"path/filepath"
	"sync/atomic"

	"github.com/tetratelabs/wazero/sys"
)

// Limit names what was exceeded.
type Limit int

// The limits.
const (
	LimitBytes Limit = iota + 1 // Quota.MaxBytes
	LimitFiles                  // Quota.MaxFiles
	LimitDisk                   // the host's disk is full
)

// Counters are the figures a Quota publishes, so that another process that maps
// the same memory can read them while the guest runs.
type Counters struct {
	OutputBytes atomic.Uint64
	OutputFiles atomic.Uint64
	LogBytes    atomic.Uint64
}

// Quota bounds what a guest leaves on the host's disk: apparent sizes of all
// files below its writable directories, deleted ones that are still open
// included, plus logs.
//
// It counts growth only, so its figure is never too low, and recounts from the
// disk when the figure reaches the bound. A guest is one thread; a Quota is not
// safe for concurrent use.
type Quota struct {
	MaxBytes uint64
	MaxFiles uint64
	Counters *Counters
	// Exceeded is called before the operation that would exceed a limit is done,
	// and is expected not to return. If it does, the operation fails.
	Exceeded func(Limit)

	dirs []string // host paths to recount
	root *os.Root
	open map[*file]struct{}
}

func (q *Quota) used() uint64 { return q.Counters.OutputBytes.Load() + q.Counters.LogBytes.Load() }

// grow reserves the growth of f to end bytes and reports whether it may happen.
func (q *Quota) grow(f *file, end int64) bool {
	if end <= f.size {
		return true
	}
	if q.used()+uint64(end-f.size) > q.MaxBytes {
		q.recount() // which also corrects f.size
		if growth := max(0, end-f.size); q.used()+uint64(growth) > q.MaxBytes {
			q.Exceeded(LimitBytes)
			return false
		}
	}
	if end > f.size {
		q.Counters.OutputBytes.Add(uint64(end - f.size))
		f.size = end
	}
	return true
}

// create reserves one more file or directory.
func (q *Quota) create() bool {
	if q.Counters.OutputFiles.Load()+1 > q.MaxFiles {
		q.recount()
		if q.Counters.OutputFiles.Load()+1 > q.MaxFiles {
			q.Exceeded(LimitFiles)
			return false
		}
	}
	q.Counters.OutputFiles.Add(1)
	return true
}

// Recount makes the counters exact.
func (q *Quota) Recount() { q.recount() }

func (q *Quota) recount() {
	var bytes, files uint64
	for _, dir := range q.dirs {
		_ = fs.WalkDir(q.root.FS(), filepath.ToSlash(dir), func(p string, d fs.DirEntry, err error) error {
			if err != nil || p == dir {
				return nil //nolint:nilerr // unreadable entries were counted when they were made
			}
			files++
			if info, err := d.Info(); err == nil && info.Mode().IsRegular() {
				bytes += uint64(info.Size())
			}
			return nil
		})
	}
	deleted := map[sys.Inode]bool{} // several descriptors may hold one file
	for f := range q.open {
		st, ok := f.measure()
		if ok && st.Nlink == 0 && (st.Ino == 0 || !deleted[st.Ino]) {
			bytes += uint64(st.Size)
			deleted[st.Ino] = true
		}
	}
	q.Counters.OutputBytes.Store(bytes)
	q.Counters.OutputFiles.Store(files)
}

// Fits reports whether n more bytes, of logs, stay within the bound.
func (q *Quota) Fits(n uint64) bool {
	if q.used()+n <= q.MaxBytes {
		return true
	}
	q.recount()
	return q.used()+n <= q.MaxBytes
}
