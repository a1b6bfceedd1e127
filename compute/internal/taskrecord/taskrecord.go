// Package taskrecord keeps what lets a runtime find its tasks again after its
// own process was killed: a record in the task's directory, written once and
// whole, and the identity of the process that stands for the task. What a record
// holds beyond that is each runtime's own.
package taskrecord

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/moyai-network/moyai/compute"
)

// maxRecord bounds what is read back.
const maxRecord = 64 << 10

// Process names a process for good: its number may be given to another, and its
// start, in clock ticks, begins anew with each boot.
type Process struct {
	PID  int
	Born uint64
	Boot string
}

// Write records a task as dir/name. A link, not a rename: of two starters in one
// directory the second must fail. It is not flushed to the disk: a power cut that
// loses it ends the process as well.
//
// Errors: compute.ErrExists, compute.ErrUnavailable.
func Write(dir, name string, record any) error {
	b, err := json.Marshal(record)
	if err != nil {
		return unavailable("record the task", err)
	}
	tmp, err := os.CreateTemp(dir, name+".")
	if err != nil {
		return unavailable("record the task", err)
	}
	defer os.Remove(tmp.Name())
	_, err = tmp.Write(b)
	err = errors.Join(err, tmp.Close())
	if err == nil {
		err = os.Link(tmp.Name(), filepath.Join(dir, name))
	}
	if errors.Is(err, fs.ErrExist) {
		return fmt.Errorf("%w: %s", compute.ErrExists, dir)
	}
	if err != nil {
		return unavailable("record the task", err)
	}
	return nil
}

// Read reads what Write wrote into record, of which id is the task's own.
//
// Errors: compute.ErrNotFound, also if it is another task's;
// compute.ErrUnavailable.
func Read(run compute.Run, name string, record any, id *string) error {
	b, err := Bounded(filepath.Join(run.Dir, name), maxRecord)
	if errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("%w: %s in %s", compute.ErrNotFound, run.ID, run.Dir)
	}
	if err != nil {
		return unavailable("read the task's record", err)
	}
	if err := json.Unmarshal(b, record); err != nil {
		return unavailable("read the task's record", err)
	}
	if *id != run.ID {
		return fmt.Errorf("%w: %s holds task %s, not %s", compute.ErrNotFound, run.Dir, *id, run.ID)
	}
	return nil
}

// Bounded reads at most limit bytes of a file.
func Bounded(path string, limit int64) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return io.ReadAll(io.LimitReader(f, limit))
}

func unavailable(what string, err error) error {
	return fmt.Errorf("%w: %s: %w", compute.ErrUnavailable, what, err)
}
