package container

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/moyai-network/moyai/compute"
	"github.com/moyai-network/moyai/compute/container/supervise"
	"github.com/moyai-network/moyai/compute/internal/cgroup"
	"github.com/moyai-network/moyai/compute/internal/supervised"
	"github.com/moyai-network/moyai/compute/internal/taskrecord"
)

// Start implements compute.Runtime.
func (r *Runtime) Start(ctx context.Context, cp compute.Prepared, run compute.Run) (compute.Task, error) {
	p, ok := cp.(*prepared)
	if !ok || p.r != r {
		return nil, fmt.Errorf("%w: %w", compute.ErrInvalidSpec, errNotOurs)
	}
	if err := run.Validate(&p.spec); err != nil {
		return nil, err
	}
	id, base, err := r.draw()
	if err != nil {
		return nil, err
	}
	if err := layOut(run, p.image, int(base+p.image.User.UID), int(base+p.image.User.GID)); err != nil {
		return nil, err
	}
	spec := ociSpec(p, run, id, base)
	if err := r.handOut(spec, p.spec.Devices); err != nil {
		return nil, err
	}
	config, err := json.Marshal(spec)
	if err == nil {
		err = os.WriteFile(filepath.Join(run.Dir, supervise.BundleDir, "config.json"), config, 0o600)
	}
	if err != nil {
		return nil, unavailable("describe the container", err)
	}
	t, err := r.begin(ctx, p, run, id, base)
	if err != nil {
		os.RemoveAll(filepath.Join(run.Dir, supervise.BundleDir))
		return nil, err
	}
	return t, nil
}

// draw picks a name and a range of user ids. Two containers with the same range
// would still be apart by everything else, so a draw needs no book.
func (r *Runtime) draw() (id string, base uint32, err error) {
	var b [16]byte
	if _, err := rand.Read(b[:]); err != nil {
		return "", 0, unavailable("draw a name", err)
	}
	slot := binary.BigEndian.Uint32(b[:]) % r.config.UIDRanges
	return "moyai-" + hex.EncodeToString(b[4:]), r.config.UIDBase + slot*idsPerContainer, nil
}

// begin lets a supervisor make the container, records the task, and only then
// lets the program's first instruction happen.
func (r *Runtime) begin(ctx context.Context, p *prepared, run compute.Run, id string, base uint32) (*task, error) {
	h, err := supervised.Start(exec.Command(r.config.Worker, supervise.Mode), filepath.Join(run.Dir, supervise.WorkerLog), syscall.CLONE_NEWNS)
	if err != nil {
		return nil, err
	}
	// From here on a helper that is hung up on undoes what it did.
	ctx, cancel := context.WithTimeout(ctx, r.config.StartTimeout)
	defer cancel()
	stop := context.AfterFunc(ctx, h.HangUp)
	defer stop()
	fail := func(err error) (*task, error) {
		r.abandon(h, id)
		if cause := ctx.Err(); cause != nil {
			return nil, cause
		}
		return nil, err
	}
	job := p.job(run, id, base)
	reply, err := h.Create(job)
	if err != nil {
		return fail(err)
	}
	now := time.Now()
	s := &state{ID: run.ID, Container: id, OCI: job.OCI, Lock: r.engine.lock(id),
		Start: taskrecord.Now(), Limits: p.spec.Limits}
	if s.Process, err = taskrecord.Identify(h.PID()); err != nil {
		return fail(unavailable("identify the supervisor", err))
	}
	if reply.PID > 0 { // else the image cannot run its program, which is a result
		if s.Cgroup, err = cgroup.Of(reply.PID); err != nil {
			return fail(unavailable("find the container's control group", err))
		}
		if s.Init, err = taskrecord.Identify(reply.PID); err != nil {
			return fail(unavailable("identify the container's first process", err))
		}
	}
	pidfd, err := unix.PidfdOpen(s.PID, 0)
	if err != nil {
		return fail(unavailable("take hold of the supervisor", err))
	}
	if err := taskrecord.Write(run.Dir, supervise.StateFile, s); err != nil {
		unix.Close(pidfd)
		return fail(err)
	}
	if err := h.Go(); err != nil {
		task, err := fail(err)
		unix.Close(pidfd)
		_ = os.Remove(filepath.Join(run.Dir, supervise.StateFile)) // it did not run, or was ended
		return task, err
	}
	h.HangUp()
	return r.adopt(run, s, now, pidfd), nil
}

// abandon sees to it that nothing is left of a container that was not to be.
func (r *Runtime) abandon(h *supervised.Supervisor, id string) {
	h.Abandon(stopSlack)
	// It has undone its work, unless it was killed.
	if err := r.oci.Delete(id); err == nil {
		os.Remove(r.engine.lock(id))
	}
}
