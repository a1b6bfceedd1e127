package supervised

import (
	"context"
	"fmt"
	"os"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/moyai-network/moyai/compute"
	"github.com/moyai-network/moyai/compute/internal/account"
	"github.com/moyai-network/moyai/compute/internal/taskrecord"
)

// Task implements compute.Task over a supervisor, whoever started it. A runtime sets
// the exported fields, and then calls Watch.
type Task struct {
	Run        compute.Run
	Supervisor taskrecord.Process
	Lock       string // what the supervisor holds; removed with the container
	// Slack is how long a supervisor may take beyond the grace before it is taken for
	// hung.
	Slack time.Duration
	// Remove ends the container, if it still runs, and leaves nothing of it.
	Remove func() error
	// Measure says what was used so far.
	Measure func() compute.Usage

	done   chan struct{}
	result compute.Result // after done

	mu    sync.Mutex
	pidfd int // of the supervisor; -1 when it is gone
}

// Watch begins to watch the supervisor, by a pidfd that becomes the task's, or -1 if
// it is gone already. forget is called once it is known how the task ended.
func (t *Task) Watch(pidfd int, forget func()) {
	t.pidfd, t.done = pidfd, make(chan struct{})
	go func() {
		t.await()
		t.result = t.settle()
		forget()
		close(t.done)
	}()
}

// Done is closed when the task has ended.
func (t *Task) Done() <-chan struct{} { return t.done }

// await returns when the supervisor is gone.
func (t *Task) await() {
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
func (t *Task) settle() compute.Result {
	f, ok := account.Read(t.Run.Dir)
	if ok {
		return f.Result()
	}
	err := t.Remove()
	u := t.Measure()
	f = account.Final{Reason: compute.ReasonLost.String(), ExitCode: -1, Wall: u.Wall, CPU: u.CPU, MemoryPeak: u.MemoryPeak, OutputBytes: u.OutputBytes, LogBytes: u.LogBytes, EgressBytes: u.EgressBytes,
		Message: "the task was gone when the provider came back, and left no word how it ended"}
	if t.Supervisor.ThisBoot() {
		f.Reason = compute.ReasonCrashed.String()
		f.Message = "what stood over the container was killed on the provider's machine, so the container was ended"
	}
	if err == nil {
		os.Remove(t.Lock)
		err = account.Write(t.Run.Dir, f)
	}
	if err != nil {
		f.Message += fmt.Sprintf(" (and it could not be cleared away: %v)", err)
	}
	return f.Result()
}

// ID implements compute.Task.
func (t *Task) ID() string { return t.Run.ID }

// Wait implements compute.Task.
func (t *Task) Wait(ctx context.Context) (compute.Result, error) {
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
func (t *Task) Stop(ctx context.Context, grace time.Duration) error {
	select {
	case <-t.done:
		return nil
	default:
	}
	if err := account.AskToStop(t.Run.Dir, grace); err != nil {
		// A full disk must not keep a task alive: without its wish, the
		// supervisor ends the container at once.
		grace = 0
	}
	if err := t.signal(unix.SIGTERM); err != nil {
		return unavailable("stop task "+t.Run.ID, err)
	}
	hung := time.NewTimer(max(grace, 0) + t.Slack)
	defer hung.Stop()
	select {
	case <-t.done:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	case <-hung.C:
	}
	if err := t.signal(unix.SIGKILL); err != nil { // settle clears the container away
		return unavailable("stop task "+t.Run.ID, err)
	}
	_, err := t.Wait(ctx)
	return err
}

// signal reaches the supervisor while it is there.
func (t *Task) signal(sig unix.Signal) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.pidfd < 0 {
		return nil
	}
	return taskrecord.Signal(t.pidfd, sig)
}

// Usage implements compute.Task.
func (t *Task) Usage() compute.Usage {
	select {
	case <-t.done:
		return t.result.Usage
	default:
	}
	return t.Measure()
}
