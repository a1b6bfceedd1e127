package docker

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"

	"github.com/moyai-network/moyai/compute"
	"github.com/moyai-network/moyai/compute/docker/stand"
	"github.com/moyai-network/moyai/compute/image/launch"
	"github.com/moyai-network/moyai/compute/internal/account"
	"github.com/moyai-network/moyai/compute/internal/supervised"
	"github.com/moyai-network/moyai/compute/internal/taskrecord"
)

// state is a task's record in its directory, complete before the program's first
// instruction. It is all that Recover needs.
type state struct {
	ID                 string
	Docker             string // the container's name
	Lock               string // what the supervisor holds while it stands over it
	taskrecord.Process        // the supervisor
	taskrecord.Start
	Limits compute.Limits
}

var errNotOurs = errors.New("it was not prepared by this runtime")

// Start implements compute.Runtime.
func (r *Runtime) Start(ctx context.Context, cp compute.Prepared, run compute.Run) (compute.Task, error) {
	p, ok := cp.(*prepared)
	if !ok || p.r != r {
		return nil, fmt.Errorf("%w: %w", compute.ErrInvalidSpec, errNotOurs)
	}
	if err := run.Validate(&p.spec); err != nil {
		return nil, err
	}
	if !isText(run.Env) {
		return nil, fmt.Errorf("%w: a variable is not UTF-8, and Docker takes no other", compute.ErrInvalidSpec)
	}
	name, slot, err := r.draw()
	if err != nil {
		return nil, err
	}
	u := p.image.User
	who := r.engine.as(u.UID, u.GID, u.Groups, slot)
	if err := layOut(run, who); err != nil {
		return nil, err
	}
	config, host, err := p.configure(run, name, r.lock(name), who)
	if err != nil {
		return nil, err
	}
	t, err := r.begin(ctx, run, p.spec.Limits, stand.Job{
		Name: name, Dir: run.Dir, Host: r.engine.host, ImageLock: r.images.Lock(p.hash), TaskLock: r.lock(name),
		Stdin: run.Stdin, Limits: p.spec.Limits, Config: config, HostConfig: host,
	})
	if err != nil {
		return nil, err // not t: a nil *task would be a non-nil interface
	}
	return t, nil
}

// draw picks a name and a range of user ids. Two containers with the same range
// would still be apart by everything else, so a draw needs no book.
func (r *Runtime) draw() (name string, base uint32, err error) {
	var b [16]byte
	if _, err := rand.Read(b[:]); err != nil {
		return "", 0, unavailable("draw a name", err)
	}
	slot := binary.BigEndian.Uint32(b[:]) % r.config.UIDRanges
	return "moyai-" + hex.EncodeToString(b[4:]), r.config.UIDBase + slot*launch.IDs, nil
}

// layOut makes a task's directory.
//
// Errors: compute.ErrExists, compute.ErrUnavailable.
func layOut(run compute.Run, who identity) error {
	if _, err := os.Lstat(filepath.Join(run.Dir, stand.StateFile)); err == nil {
		return fmt.Errorf("%w: %s", compute.ErrExists, run.Dir)
	}
	for _, dir := range []string{run.Dir, run.Out()} {
		if err := os.MkdirAll(dir, 0o700); err != nil {
			return unavailable("task directory", err)
		}
	}
	for path, content := range map[string][]byte{
		run.Stdout(): nil, run.Stderr(): nil,
		filepath.Join(run.Dir, stand.Log):          nil,
		filepath.Join(run.Dir, stand.CountersFile): nil,
		filepath.Join(run.Dir, account.File):       bytes.Repeat([]byte{' '}, account.Room),
	} {
		if err := os.WriteFile(path, content, 0o600); err != nil {
			return unavailable("task directory", err)
		}
	}
	if err := os.Chown(run.Out(), who.HostUID, who.HostGID); err != nil {
		return unavailable("task directory", err)
	}
	return nil
}

// begin lets a supervisor make the container, records the task, and only then lets
// the program's first instruction happen.
func (r *Runtime) begin(ctx context.Context, run compute.Run, limits compute.Limits, job stand.Job) (*task, error) {
	h, err := supervised.Start(exec.Command(r.config.Supervisor), filepath.Join(run.Dir, stand.Log), 0)
	if err != nil {
		return nil, err
	}
	// From here on a helper that is hung up on undoes what it did.
	ctx, cancel := context.WithTimeout(ctx, r.config.StartTimeout)
	defer cancel()
	stop := context.AfterFunc(ctx, h.HangUp)
	defer stop()
	fail := func(err error) (*task, error) {
		r.abandon(h, job.Name)
		if cause := ctx.Err(); cause != nil {
			return nil, cause
		}
		return nil, err
	}
	if _, err := h.Create(job); err != nil {
		return fail(err)
	}
	now := time.Now()
	s := &state{ID: run.ID, Docker: job.Name, Lock: job.TaskLock, Start: taskrecord.Now(), Limits: limits}
	if s.Process, err = taskrecord.Identify(h.PID()); err != nil {
		return fail(unavailable("identify the supervisor", err))
	}
	pidfd, err := unix.PidfdOpen(s.PID, 0)
	if err != nil {
		return fail(unavailable("take hold of the supervisor", err))
	}
	if err := taskrecord.Write(run.Dir, stand.StateFile, s); err != nil {
		unix.Close(pidfd)
		return fail(err)
	}
	if err := h.Go(); err != nil {
		t, err := fail(err)
		unix.Close(pidfd)
		_ = os.Remove(filepath.Join(run.Dir, stand.StateFile)) // it did not run, or was ended
		return t, err
	}
	h.HangUp()
	return r.adopt(run, s, now, pidfd), nil
}

// abandon sees to it that nothing is left of a container that was not to be.
func (r *Runtime) abandon(h *supervised.Supervisor, name string) {
	h.Abandon(stopSlack)
	// It has undone its work, unless it was killed.
	ctx, cancel := context.WithTimeout(context.Background(), stopSlack)
	defer cancel()
	if r.engine.remove(ctx, name) == nil {
		os.Remove(r.lock(name))
	}
}
