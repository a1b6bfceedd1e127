package docker

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/moyai-network/moyai/compute"
	"github.com/moyai-network/moyai/compute/docker/stand"
	"github.com/moyai-network/moyai/compute/internal/account"
	"github.com/moyai-network/moyai/compute/internal/taskrecord"
)

// task implements compute.Task over a supervisor, whoever started it.
type task struct {
	r       *Runtime
	run     compute.Run
	state   *state
	started time.Time // with a monotonic clock where this process started it
	done    chan struct{}
	result  compute.Result // after done

	mu    sync.Mutex
	pidfd int // of the supervisor; -1 when it is gone
}

// stopSlack is how long a supervisor may take beyond the grace before it is taken
// for hung: Docker may be slow.
const stopSlack = 30 * time.Second

// Recover implements compute.Runtime.
func (r *Runtime) Recover(_ context.Context, run compute.Run) (compute.Task, error) {
	r.mu.Lock()
	t, ok := r.tasks[run.Dir]
	r.mu.Unlock()
	if ok && t.run.ID == run.ID {
		return t, nil
	}
	s, err := readState(run)
	if err != nil {
		return nil, err
	}
	return r.adopt(run, s, s.Begun(), s.Open()), nil
}

// readState reads a task's record.
//
// Errors: compute.ErrNotFound, compute.ErrUnavailable.
func readState(run compute.Run) (*state, error) {
	s := new(state)
	if err := taskrecord.Read(run, stand.StateFile, s, &s.ID); err != nil {
		return nil, err
	}
	if s.Docker == "" {
		return nil, fmt.Errorf("%w: %s was started without Docker", compute.ErrUnavailable, run.ID)
	}
	return s, nil
}

// adopt makes the Task and begins to watch it.
func (r *Runtime) adopt(run compute.Run, s *state, started time.Time, pidfd int) *task {
	t := &task{r: r, run: run, state: s, started: started, pidfd: pidfd, done: make(chan struct{})}
	r.mu.Lock()
	r.tasks[run.Dir] = t
	r.mu.Unlock()
	go func() {
		t.await()
		t.result = t.settle()
		r.mu.Lock()
		if r.tasks[run.Dir] == t {
			delete(r.tasks, run.Dir)
		}
		r.mu.Unlock()
		close(t.done)
	}()
	return t
}

// await returns when the supervisor is gone.
func (t *task) await() {
	if t.pidfd < 0 {
		return
	}
	taskrecord.Await(t.pidfd)
	t.mu.Lock()
	defer t.mu.Unlock()
	unix.Close(t.pidfd)
	t.pidfd = -1
}

// settle reads the supervisor's account, or gives one in its place: then its
// container may still run, and must not.
func (t *task) settle() compute.Result {
	f, ok := account.Read(t.run.Dir)
	if ok {
		return f.Result()
	}
	ctx, cancel := context.WithTimeout(context.Background(), stopSlack)
	defer cancel()
	err := t.r.engine.remove(ctx, t.state.Docker)
	u := t.measure()
	f = account.Final{Reason: compute.ReasonLost.String(), ExitCode: -1, Wall: u.Wall, CPU: u.CPU, MemoryPeak: u.MemoryPeak, OutputBytes: u.OutputBytes, LogBytes: u.LogBytes,
		Message: "the task was gone when the provider came back, and left no word how it ended"}
	if t.state.ThisBoot() {
		f.Reason = compute.ReasonCrashed.String()
		f.Message = "what stood over the container was killed on the provider's machine, so the container was ended"
	}
	if err == nil {
		os.Remove(t.state.Lock)
		err = account.Write(t.run.Dir, f)
	}
	if err != nil {
		f.Message += fmt.Sprintf(" (and it could not be cleared away: %v)", err)
	}
	return f.Result()
}

// ID implements compute.Task.
func (t *task) ID() string { return t.run.ID }

// Wait implements compute.Task.
func (t *task) Wait(ctx context.Context) (compute.Result, error) {
	select {
	case <-t.done:
		return t.result, nil
	default:
	}
	select {
	case <-t.done:
		return t.result, nil
	case <-ctx.Done():
		return compute.Result{}, ctx.Err()
	}
}

// Stop implements compute.Task.
func (t *task) Stop(ctx context.Context, grace time.Duration) error {
	select {
	case <-t.done:
		return nil
	default:
	}
	if err := account.AskToStop(t.run.Dir, grace); err != nil {
		// A full disk must not keep a task alive: without its wish, the
		// supervisor ends the container at once.
		grace = 0
	}
	if err := t.signal(unix.SIGTERM); err != nil {
		return unavailable("stop task "+t.run.ID, err)
	}
	hung := time.NewTimer(max(grace, 0) + stopSlack)
	defer hung.Stop()
	select {
	case <-t.done:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	case <-hung.C:
	}
	if err := t.signal(unix.SIGKILL); err != nil { // settle clears the container away
		return unavailable("stop task "+t.run.ID, err)
	}
	_, err := t.Wait(ctx)
	return err
}

// signal reaches the supervisor while it is there.
func (t *task) signal(sig unix.Signal) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.pidfd < 0 {
		return nil
	}
	return taskrecord.Signal(t.pidfd, sig)
}

// Usage implements compute.Task.
func (t *task) Usage() compute.Usage {
	select {
	case <-t.done:
		return t.result.Usage
	default:
	}
	return t.measure()
}

// measure reads what the supervisor counted last.
func (t *task) measure() compute.Usage {
	u := compute.Usage{Wall: time.Since(t.started)}
	if b, err := taskrecord.Bounded(filepath.Join(t.run.Dir, stand.CountersFile), 128); err == nil {
		var cpu int64
		if n, _ := fmt.Sscan(string(b), &u.OutputBytes, &cpu, &u.MemoryPeak); n == 3 {
			u.CPU = time.Duration(cpu)
		}
	}
	for _, path := range []string{t.run.Stdout(), t.run.Stderr()} {
		if info, err := os.Stat(path); err == nil {
			u.LogBytes += uint64(info.Size())
		}
	}
	return u
}
