package container

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/moyai-network/moyai/compute"
	"github.com/moyai-network/moyai/compute/container/supervise"
	"github.com/moyai-network/moyai/compute/internal/account"
	"github.com/moyai-network/moyai/compute/internal/cgroup"
	"github.com/moyai-network/moyai/compute/internal/taskrecord"
)

// state is a task's record in its directory, complete before the program's first
// instruction. It is all that Recover needs.
type state struct {
	ID                 string
	Container          string // the OCI runtime's name for it
	OCI                supervise.OCI
	Lock               string // what the supervisor holds while it stands over the container
	taskrecord.Process        // the supervisor
	// Init is the container's first process; of no number where the image cannot
	// run its program.
	Init taskrecord.Process
	taskrecord.Start
	Limits compute.Limits
	Cgroup cgroup.Group
}

// maxRecord bounds what is read back of a container's description.
const maxRecord = 8 << 20

// The image's own user database, in the bundle: for who enters later.
const (
	passwdFile = "passwd"
	groupFile  = "group"
)

// layOut makes a task's directory. uid and gid are the container's user on the
// host.
//
// Errors: compute.ErrExists, compute.ErrUnavailable.
func layOut(run compute.Run, img *image, uid, gid int) error {
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
		filepath.Join(run.Dir, account.File):           bytes.Repeat([]byte{' '}, account.Room),

		filepath.Join(run.Dir, supervise.BundleDir, passwdFile): img.Passwd,
		filepath.Join(run.Dir, supervise.BundleDir, groupFile):  img.Group,
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

// readState reads a task's record.
//
// Errors: compute.ErrNotFound, compute.ErrUnavailable.
func readState(run compute.Run) (*state, error) {
	s := new(state)
	if err := taskrecord.Read(run, supervise.StateFile, s, &s.ID); err != nil {
		return nil, err
	}
	if s.Container == "" {
		return nil, fmt.Errorf("%w: %s was started by way of Docker", compute.ErrUnavailable, run.ID)
	}
	return s, nil
}

// readCounter is how many bytes were under /out when the supervisor last looked.
func readCounter(dir string) uint64 {
	b, err := taskrecord.Bounded(filepath.Join(dir, supervise.CountersFile), 32)
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
