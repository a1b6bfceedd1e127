package wasm

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"

	"github.com/moyai-network/moyai/compute"
	"github.com/moyai-network/moyai/compute/internal/taskrecord"
	"github.com/moyai-network/moyai/compute/wasm/internal/guestfs"
	"github.com/moyai-network/moyai/compute/wasm/internal/job"
)

// state is a task's record in its directory, complete before the program's
// first instruction. It is all that Recover needs.
type state struct {
	ID string
	taskrecord.Process
	taskrecord.Start
	Limits  compute.Limits
	Ceiling uint64 // bytes the whole process may have
}

// maxFinal bounds what is read back of a Final.
const maxFinal = 64 << 10

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

// readState reads a task's record.
//
// Errors: compute.ErrNotFound, compute.ErrUnavailable.
func readState(run compute.Run) (*state, error) {
	s := new(state)
	if err := taskrecord.Read(run, job.StateFile, s, &s.ID); err != nil {
		return nil, err
	}
	return s, nil
}

// readFinal returns the worker's own account, if it lived to give one.
func readFinal(dir string) (job.Final, bool) {
	var final job.Final
	b, err := taskrecord.Bounded(filepath.Join(dir, job.FinalFile), maxFinal)
	if err != nil || json.Unmarshal(b, &final) != nil {
		return job.Final{}, false
	}
	return final, final.Done
}

// readCounters returns the quota's figures as of now.
func readCounters(dir string) (outputBytes, logBytes uint64) {
	b, err := taskrecord.Bounded(filepath.Join(dir, job.CountersFile), job.Counters)
	if err != nil || len(b) < job.Counters {
		return 0, 0
	}
	return binary.NativeEndian.Uint64(b), binary.NativeEndian.Uint64(b[16:])
}
