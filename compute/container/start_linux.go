package container

import (
	"bufio"
	"context"
	"crypto/rand"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/moyai-network/moyai/compute"
	"github.com/moyai-network/moyai/compute/container/supervise"
	"github.com/moyai-network/moyai/compute/internal/cgroup"
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

// helper is a supervisor that is being talked to.
type helper struct {
	cmd  *exec.Cmd
	in   io.WriteCloser
	out  *bufio.Reader
	pipe io.Closer // of out
	gone chan struct{}
}

// begin lets a supervisor make the container, records the task, and only then
// lets the program's first instruction happen.
func (r *Runtime) begin(ctx context.Context, p *prepared, run compute.Run, id string, base uint32) (*task, error) {
	h, err := r.spawn(run)
	if err != nil {
		return nil, err
	}
	// From here on a helper that is hung up on undoes what it did.
	ctx, cancel := context.WithTimeout(ctx, r.config.StartTimeout)
	defer cancel()
	stop := context.AfterFunc(ctx, h.hangUp)
	defer stop()
	fail := func(err error) (*task, error) {
		r.abandon(h, id)
		if cause := ctx.Err(); cause != nil {
			return nil, cause
		}
		return nil, err
	}
	job := p.job(run, id, base)
	reply, err := h.call(job)
	if err != nil {
		return fail(err)
	}
	now := time.Now()
	s := &state{ID: run.ID, Container: id, OCI: job.OCI, Lock: r.engine.lock(id),
		Start: taskrecord.Now(), Limits: p.spec.Limits}
	if s.Process, err = taskrecord.Identify(h.cmd.Process.Pid); err != nil {
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
	if _, err := h.goAhead(); err != nil {
		task, err := fail(err)
		unix.Close(pidfd)
		_ = os.Remove(filepath.Join(run.Dir, supervise.StateFile)) // it did not run, or was ended
		return task, err
	}
	h.hangUp()
	return r.adopt(run, s, now, pidfd), nil
}

// spawn starts a supervisor in a session and a mount namespace of its own.
func (r *Runtime) spawn(run compute.Run) (*helper, error) {
	log, err := os.OpenFile(filepath.Join(run.Dir, supervise.WorkerLog), os.O_WRONLY|os.O_APPEND, 0)
	if err != nil {
		return nil, unavailable("start a supervisor", err)
	}
	defer log.Close()
	cmd := exec.Command(r.config.Worker, supervise.Mode)
	cmd.Stderr, cmd.Dir = log, "/"
	cmd.Env = []string{"GOMAXPROCS=2"}
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Cloneflags: syscall.CLONE_NEWNS}
	in, inErr := cmd.StdinPipe()
	out, outErr := cmd.StdoutPipe()
	if err := errors.Join(inErr, outErr); err != nil {
		return nil, unavailable("start a supervisor", err)
	}
	if err := cmd.Start(); err != nil {
		return nil, unavailable("start a supervisor", err)
	}
	h := &helper{cmd: cmd, in: in, out: bufio.NewReader(out), pipe: out, gone: make(chan struct{})}
	go func() {
		_, _ = cmd.Process.Wait() // not cmd.Wait, which would close the pipe under a reader
		close(h.gone)
	}()
	return h, nil
}

// call sends the job and waits until the container is there.
func (h *helper) call(job supervise.Job) (supervise.Reply, error) {
	b, err := json.Marshal(job)
	if err != nil {
		return supervise.Reply{}, unavailable("describe the task", err)
	}
	return h.say(append(b, '\n'))
}

// goAhead lets the program's first instruction happen.
func (h *helper) goAhead() (supervise.Reply, error) { return h.say([]byte(supervise.Go)) }

func (h *helper) say(words []byte) (supervise.Reply, error) {
	var r supervise.Reply
	_, err := h.in.Write(words)
	var line []byte
	if err == nil {
		line, err = h.out.ReadBytes('\n') // it is our own program that answers
	}
	if err == nil {
		err = json.Unmarshal(line, &r)
	}
	if err != nil {
		return r, unavailable("the supervisor ended before it answered", err)
	}
	if r.Error != "" {
		return r, fmt.Errorf("%w: start the container: %s", compute.ErrUnavailable, r.Error)
	}
	return r, nil
}

func (h *helper) hangUp() {
	_ = h.in.Close()
	_ = h.pipe.Close()
}

// abandon sees to it that nothing is left of a container that was not to be.
func (r *Runtime) abandon(h *helper, id string) {
	h.hangUp()
	_ = h.cmd.Process.Signal(syscall.SIGTERM) // if it had begun to run
	select {
	case <-h.gone:
	case <-time.After(stopSlack):
		_ = h.cmd.Process.Kill()
		<-h.gone
	}
	// It has undone its work, unless it was killed.
	if err := r.oci.Delete(id); err == nil {
		os.Remove(r.engine.lock(id))
	}
}
