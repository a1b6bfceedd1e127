package container

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/moyai-network/moyai/compute"
	"github.com/moyai-network/moyai/compute/container/supervise"
)

// state is a task's record in its directory, complete before the program's first
// instruction. It is all that Recover needs.
type state struct {
	ID        string
	Container string // runc's name for it
	Runc      string
	RuncRoot  string
	Lock      string // what the supervisor holds while it stands over the container
	PID       int    // of the supervisor
	Born      uint64 // its start time as the kernel counts it: pids are reused
	Boot      string // and so are both after a reboot
	Started   time.Time
	Limits    compute.Limits
	Cgroup    supervise.Cgroup
}

// maxState bounds what is read back.
const maxState = 64 << 10

// layOut makes a task's directory. owner is the container's user on the host.
//
// Errors: compute.ErrExists, compute.ErrUnavailable.
func layOut(run compute.Run, uid, gid int) error {
	if _, err := os.Lstat(filepath.Join(run.Dir, supervise.StateFile)); err == nil {
		return fmt.Errorf("%w: %s", compute.ErrExists, run.Dir)
	}
	for _, dir := range []string{run.Dir, run.Out(), filepath.Join(run.Dir, supervise.BundleDir)} {
		if err := os.MkdirAll(dir, 0o700); err != nil {
			return unavailable("task directory", err)
		}
	}
	for path, content := range map[string][]byte{
		run.Stdout(): nil, run.Stderr(): nil,
		filepath.Join(run.Dir, supervise.WorkerLog):    nil,
		filepath.Join(run.Dir, supervise.CountersFile): nil,
		filepath.Join(run.Dir, supervise.FinalFile):    bytes.Repeat([]byte{' '}, supervise.FinalRoom),
	} {
		if err := os.WriteFile(path, content, 0o600); err != nil {
			return unavailable("task directory", err)
		}
	}
	if err := os.Chown(run.Out(), uid, gid); err != nil {
		return unavailable("task directory", err)
	}
	return nil
}

// record writes the state. A link, not a rename: of two starters in one
// directory the second must fail. It is not flushed to the disk: a power cut that
// loses it ends the container as well.
//
// Errors: compute.ErrExists, compute.ErrUnavailable.
func (s *state) record(dir string) error {
	b, err := json.Marshal(s)
	if err != nil {
		return unavailable("record the task", err)
	}
	tmp, err := os.CreateTemp(dir, supervise.StateFile+".")
	if err != nil {
		return unavailable("record the task", err)
	}
	defer os.Remove(tmp.Name())
	_, err = tmp.Write(b)
	err = errors.Join(err, tmp.Close())
	if err == nil {
		err = os.Link(tmp.Name(), filepath.Join(dir, supervise.StateFile))
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
	b, err := readBounded(filepath.Join(run.Dir, supervise.StateFile), maxState)
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

// readCounter is how many bytes were under /out when the supervisor last looked.
func readCounter(dir string) uint64 {
	b, err := readBounded(filepath.Join(dir, supervise.CountersFile), 32)
	if err != nil {
		return 0
	}
	n, _ := strconv.ParseUint(strings.TrimSpace(string(b)), 10, 64)
	return n
}

// logSizes is how many bytes of logs are kept.
func logSizes(run compute.Run) (total uint64) {
	for _, path := range []string{run.Stdout(), run.Stderr()} {
		if info, err := os.Stat(path); err == nil {
			total += uint64(info.Size())
		}
	}
	return total
}

// openProcess takes hold of the supervisor of s, or returns -1 if it is gone.
func openProcess(s *state) int {
	if s.Boot != bootID() {
		return -1
	}
	fd, err := unix.PidfdOpen(s.PID, 0)
	if err != nil {
		return -1
	}
	// Checked after opening: what the handle names cannot change any more.
	if born, err := bornAt(s.PID); err != nil || born != s.Born {
		unix.Close(fd)
		return -1
	}
	return fd
}

// bornAt is a process's start in clock ticks since boot.
func bornAt(pid int) (uint64, error) {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0, err
	}
	// The second field is the program's name in parentheses and may hold anything.
	fields := strings.Fields(string(b[bytes.LastIndexByte(b, ')')+1:]))
	if len(fields) < 20 || fields[0] == "Z" {
		return 0, fmt.Errorf("process %d has ended", pid)
	}
	return strconv.ParseUint(fields[19], 10, 64)
}

var bootID = sync.OnceValue(func() string {
	b, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(b))
})
