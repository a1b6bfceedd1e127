package docker

import (
	"bufio"
	"bytes"
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
	"github.com/moyai-network/moyai/compute/docker/stand"
	"github.com/moyai-network/moyai/compute/image/launch"
	"github.com/moyai-network/moyai/compute/internal/account"
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

// helper is a supervisor that is being talked to.
type helper struct {
	cmd  *exec.Cmd
	in   io.WriteCloser
	out  *bufio.Reader
	pipe io.Closer // of out
	gone chan struct{}
}

// begin lets a supervisor make the container, records the task, and only then lets
// the program's first instruction happen.
func (r *Runtime) begin(ctx context.Context, run compute.Run, limits compute.Limits, job stand.Job) (*task, error) {
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
		r.abandon(h, job.Name)
		if cause := ctx.Err(); cause != nil {
			return nil, cause
		}
		return nil, err
	}
	words, err := json.Marshal(job)
	if err != nil {
		return fail(unavailable("describe the task", err))
	}
	if err := h.say(append(words, '\n')); err != nil {
		return fail(err)
	}
	now := time.Now()
	s := &state{ID: run.ID, Docker: job.Name, Lock: job.TaskLock, Start: taskrecord.Now(), Limits: limits}
	if s.Process, err = taskrecord.Identify(h.cmd.Process.Pid); err != nil {
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
	if err := h.say([]byte(stand.Go)); err != nil {
		t, err := fail(err)
		unix.Close(pidfd)
		_ = os.Remove(filepath.Join(run.Dir, stand.StateFile)) // it did not run, or was ended
		return t, err
	}
	h.hangUp()
	return r.adopt(run, s, now, pidfd), nil
}

// spawn starts a supervisor in a session of its own.
func (r *Runtime) spawn(run compute.Run) (*helper, error) {
	log, err := os.OpenFile(filepath.Join(run.Dir, stand.Log), os.O_WRONLY|os.O_APPEND, 0)
	if err != nil {
		return nil, unavailable("start a supervisor", err)
	}
	defer log.Close()
	cmd := exec.Command(r.config.Supervisor)
	cmd.Stderr, cmd.Dir = log, "/"
	cmd.Env = []string{"GOMAXPROCS=2"}
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
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

// say sends words and waits for the answer.
func (h *helper) say(words []byte) error {
	var r stand.Reply
	_, err := h.in.Write(words)
	var line []byte
	if err == nil {
		line, err = h.out.ReadBytes('\n') // it is our own program that answers
	}
	if err == nil {
		err = json.Unmarshal(line, &r)
	}
	if err != nil {
		return unavailable("the supervisor ended before it answered", err)
	}
	if r.Error != "" {
		return fmt.Errorf("%w: start the container: %s", compute.ErrUnavailable, r.Error)
	}
	return nil
}

func (h *helper) hangUp() {
	_ = h.in.Close()
	_ = h.pipe.Close()
}

// abandon sees to it that nothing is left of a container that was not to be.
func (r *Runtime) abandon(h *helper, name string) {
	h.hangUp()
	_ = h.cmd.Process.Signal(syscall.SIGTERM) // if it had begun to run
	select {
	case <-h.gone:
	case <-time.After(stopSlack):
		_ = h.cmd.Process.Kill()
		<-h.gone
	}
	// It has undone its work, unless it was killed.
	ctx, cancel := context.WithTimeout(context.Background(), stopSlack)
	defer cancel()
	if r.engine.remove(ctx, name) == nil {
		os.Remove(r.lock(name))
	}
}
