package wasm

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/moyai-network/moyai/compute"
	"github.com/moyai-network/moyai/compute/wasm/internal/guestfs"
	"github.com/moyai-network/moyai/compute/wasm/internal/job"
)

// state is a task's record in its directory, complete before the program's
// first instruction. It is all that Recover needs.
type state struct {
	ID       string
	PID      int
	Born     uint64 // the process's start time as the kernel counts it: pids are reused
	Boot     string // and so are both after a reboot
	Started  time.Time
	Deadline time.Time
	Limits   compute.Limits
	Ceiling  uint64 // bytes the whole process may have
}

// maxState bounds what is read back.
const maxState = 64 << 10

// layOut makes a task's directory: what the worker will write to exists, since
// it may create nothing.
//
// Errors: compute.ErrExists, compute.ErrUnavailable.
func layOut(run compute.Run) error {
	if _, err := os.Lstat(filepath.Join(run.Dir, job.StateFile)); err == nil {
		return fmt.Errorf("%w: %s", compute.ErrExists, run.Dir)
	}
	for _, dir := range []string{run.Dir, run.Out(), filepath.Join(run.Dir, guestfs.TmpDir)} {
		if err := os.MkdirAll(dir, 0o700); err != nil {
			return unavailable("task directory", err)
		}
	}
	for _, file := range []struct {
		path    string
		content []byte
	}{
		{path: run.Stdout()}, {path: run.Stderr()}, {path: filepath.Join(run.Dir, job.WorkerLog)},
		{filepath.Join(run.Dir, job.CountersFile), make([]byte, job.Counters)},
		{filepath.Join(run.Dir, job.FinalFile), bytes.Repeat([]byte{' '}, job.FinalRoom)},
	} {
		if err := os.WriteFile(file.path, file.content, 0o600); err != nil {
			return unavailable("task directory", err)
		}
	}
	return nil
}

// record writes the state. A link, not a rename: of two starters in one
// directory the second must fail.
//
// Errors: compute.ErrExists, compute.ErrUnavailable.
func (s *state) record(dir string) error {
	b, err := json.Marshal(s)
	if err != nil {
		return unavailable("record the task", err)
	}
	tmp, err := os.CreateTemp(dir, job.StateFile+".")
	if err != nil {
		return unavailable("record the task", err)
	}
	defer os.Remove(tmp.Name())
	if _, err = tmp.Write(b); err == nil {
		err = tmp.Close()
	}
	if err == nil {
		err = os.Link(tmp.Name(), filepath.Join(dir, job.StateFile))
	}
	if errors.Is(err, fs.ErrExist) {
		return fmt.Errorf("%w: %s", compute.ErrExists, dir)
	}
	if err != nil {
		return unavailable("record the task", err)
	}
	return nil
}

// readState reads what record wrote.
//
// Errors: compute.ErrNotFound, compute.ErrUnavailable.
func readState(run compute.Run) (*state, error) {
	b, err := readBounded(filepath.Join(run.Dir, job.StateFile), maxState)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("%w: %s in %s", compute.ErrNotFound, run.ID, run.Dir)
	}
	if err != nil {
		return nil, unavailable("read the task's record", err)
	}
	s := new(state)
	if err := json.Unmarshal(b, s); err != nil {
		return nil, unavailable("read the task's record", err)
	}
	if s.ID != run.ID {
		return nil, fmt.Errorf("%w: %s holds task %s, not %s", compute.ErrNotFound, run.Dir, s.ID, run.ID)
	}
	return s, nil
}

// readFinal returns the worker's own account, if it lived to give one.
func readFinal(dir string) (job.Final, bool) {
	var final job.Final
	b, err := readBounded(filepath.Join(dir, job.FinalFile), maxState)
	if err != nil || json.Unmarshal(b, &final) != nil {
		return job.Final{}, false
	}
	return final, final.Done
}

// readCounters returns the quota's figures as of now.
func readCounters(dir string) (outputBytes, logBytes uint64) {
	b, err := readBounded(filepath.Join(dir, job.CountersFile), job.Counters)
	if err != nil || len(b) < job.Counters {
		return 0, 0
	}
	return binary.NativeEndian.Uint64(b), binary.NativeEndian.Uint64(b[16:])
}

func readBounded(path string, limit int64) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return io.ReadAll(io.LimitReader(f, limit))
}
