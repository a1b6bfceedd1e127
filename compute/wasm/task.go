package wasm

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/moyai-network/moyai/compute"
	"github.com/moyai-network/moyai/compute/internal/taskrecord"
	"github.com/moyai-network/moyai/compute/wasm/internal/guestfs"
	"github.com/moyai-network/moyai/compute/wasm/internal/job"
)

// task implements compute.Task over a process that may be a child of ours or of
// a runtime that is no more.
type task struct {
	run     compute.Run
	state   *state
	proc    process
	started time.Time // with a monotonic clock
	done    chan struct{}
	result  compute.Result // after done

	mu     sync.Mutex
	killed compute.Reason // why this process killed it, if it did
	usage  compute.Usage  // last sample
}

func (t *task) deadline() time.Time { return t.started.Add(t.state.Limits.Timeout) }

// process is how a task watches and ends what runs it.
type process interface {
	// wait blocks until the process is gone and tells how, as far as that can
	// be known.
	wait() ended
	kill() error
	sample() (cpu time.Duration, peak uint64)
}

// ended is the end of a process as its parent sees it.
type ended struct {
	seen bool   // by a parent: the rest is known
	how  string // "signal: killed"
	cpu  time.Duration
	peak uint64
}

// Start implements compute.Runtime.
func (r *Runtime) Start(ctx context.Context, cp compute.Prepared, run compute.Run) (compute.Task, error) {
	p, ok := cp.(*prepared)
	if !ok || p.r != r {
		return nil, fmt.Errorf("%w: it was not prepared by this runtime", compute.ErrInvalidSpec)
	}
	if err := run.Validate(&p.spec); err != nil {
		return nil, err
	}
	if err := layOut(run); err != nil {
		return nil, err
	}
	w, err := p.worker(ctx)
	if err != nil {
		return nil, err
	}
	t, err := r.begin(ctx, p, run, w)
	if err != nil {
		w.kill()
		<-w.done
		return nil, err
	}
	if p.spec.Array {
		go p.refill() //nolint:gosec // it serves the next Start, not this one's context
	}
	return t, nil
}

// begin records the task, then lets the worker go.
func (r *Runtime) begin(ctx context.Context, p *prepared, run compute.Run, w *worker) (*task, error) {
	now := time.Now()
	limits := p.spec.Limits
	s := &state{
		ID: run.ID, Start: taskrecord.Now(), Limits: limits,
		Ceiling: limits.MemoryBytes + r.config.ProcessBytes,
	}
	var err error
	if s.Process, err = taskrecord.Identify(w.cmd.Process.Pid); err != nil {
		return nil, unavailable("identify the worker", err)
	}
	if err := taskrecord.Write(run.Dir, job.StateFile, s); err != nil {
		return nil, err
	}
	_, err = w.call(ctx, job.Exec{
		Dir:           run.Dir,
		Stdin:         run.Stdin,
		Name:          filepath.Base(p.spec.Program),
		Args:          p.spec.Args,
		Env:           compute.MergeEnv(p.spec.Env, run.Env),
		Inputs:        inputs(p.spec.Inputs),
		OutputBytes:   limits.OutputBytes,
		OutputFiles:   limits.OutputFiles,
		LogBytes:      limits.LogBytes,
		TruncateLogs:  limits.TruncateLogs,
		Deadline:      limits.Timeout + watchdogSlack,
		Deterministic: p.spec.Deterministic,
		Seed:          p.spec.Seed,
	})
	if err != nil {
		_ = os.Remove(filepath.Join(run.Dir, job.StateFile)) // it never ran
		return nil, err
	}
	w.hangUp()
	return r.adopt(run, s, child{w}, now), nil
}

// watchdogSlack lets this process, if it lives, be the one that kills at the
// deadline: it knows how to say so.
const watchdogSlack = time.Second

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
	return r.adopt(run, s, findOrphan(s), s.Begun()), nil
}

// adopt makes the Task and begins to watch it.
func (r *Runtime) adopt(run compute.Run, s *state, proc process, started time.Time) *task {
	t := &task{run: run, state: s, proc: proc, started: started, done: make(chan struct{})}
	r.mu.Lock()
	r.tasks[run.Dir] = t
	r.mu.Unlock()
	gone := make(chan ended, 1)
	go func() { gone <- proc.wait() }()
	go func() {
		end := t.watch(gone)
		t.result = t.settle(end)
		// The scratch directory is nobody's result.
		_ = os.RemoveAll(filepath.Join(run.Dir, guestfs.TmpDir))
		r.mu.Lock()
		if r.tasks[run.Dir] == t {
			delete(r.tasks, run.Dir)
		}
		r.mu.Unlock()
		close(t.done)
	}()
	return t
}

// watch enforces from outside what the worker enforces from inside: the
// deadline, and the output limit in case the inside was subverted.
func (t *task) watch(gone <-chan ended) ended {
	deadline := time.NewTimer(time.Until(t.deadline()))
	defer deadline.Stop()
	const pause = time.Second
	look := time.NewTimer(pause)
	defer look.Stop()
	for {
		select {
		case end := <-gone:
			return end
		case <-deadline.C:
			_ = t.end(compute.ReasonDeadline)
		case <-look.C:
			begin := time.Now()
			if t.overQuota() {
				_ = t.end(compute.ReasonOutputLimit)
			}
			// Looking must stay cheap beside the work: at most 1/20 of the time.
			look.Reset(max(pause, 20*time.Since(begin)))
		}
	}
}

// overQuota allows twice the limit: the worker's own count is exact, and a file
// being deleted while this looks is no offence.
func (t *task) overQuota() bool {
	limit := t.state.Limits.OutputBytes
	used := treeSize(t.run.Out()) + treeSize(filepath.Join(t.run.Dir, guestfs.TmpDir))
	return used > limit && used-limit > limit
}

// end kills the task and remembers why, the first reason winning.
func (t *task) end(why compute.Reason) error {
	t.mu.Lock()
	if t.killed == compute.ReasonUnknown {
		t.killed = why
	}
	t.mu.Unlock()
	return t.proc.kill()
}

// settle decides the Result from all that is known after the process is gone.
func (t *task) settle(end ended) compute.Result {
	t.mu.Lock()
	killed := t.killed
	t.mu.Unlock()
	if final, ok := readFinal(t.run.Dir); ok {
		return t.fromFinal(final)
	}
	result := compute.Result{ExitCode: -1, Usage: t.Usage()}
	if end.seen {
		result.Usage.CPU, result.Usage.MemoryPeak = end.cpu, end.peak
	}
	limits := t.state.Limits
	words := lastWordsOf(t.run.Dir)
	// Clocks of two processes, and monotonic against wall, agree only so far.
	const jitter = 100 * time.Millisecond
	late := time.Until(t.deadline()) < jitter
	switch {
	case killed == compute.ReasonStopped:
		result.Reason, result.Message = killed, "the task was stopped"
	case killed == compute.ReasonOutputLimit:
		result.Reason = killed
		result.Message = fmt.Sprintf("the program wrote more than its output limit of %d bytes", limits.OutputBytes)
	case killed == compute.ReasonDeadline, words == "" && late:
		result.Reason = compute.ReasonDeadline
		result.Message = fmt.Sprintf("the program did not end within its timeout of %v: raise --timeout or give it less to do", limits.Timeout)
		result.Usage.Wall = min(result.Usage.Wall, limits.Timeout+watchdogSlack)
	case outOfMemory(words), end.seen && words != "" && end.peak > t.state.Ceiling/10*9:
		// Go's runtime does not always find the words when it cannot allocate.
		result.Reason = compute.ReasonMemory
		result.Message = "the program made its host process run out of memory (tables or code beyond its memory limit)"
	case end.seen:
		result.Reason = compute.ReasonCrashed
		result.Message = strings.TrimSpace(fmt.Sprintf("the process that ran the program died (%s) %s", end.how, words)) +
			": the machine is at fault, or the program made its host run out of memory"
	default:
		result.Reason = compute.ReasonLost
		result.Message = "the task was gone when the provider came back, and left no word how it ended"
	}
	return result
}

func (t *task) fromFinal(final job.Final) compute.Result {
	u := t.Usage()
	u.CPU, u.MemoryPeak = final.CPU, final.MemoryPeak
	u.OutputBytes, u.LogBytes = final.OutputBytes, final.LogBytes
	return compute.Result{
		Reason:        compute.ParseReason(final.Reason),
		ExitCode:      final.ExitCode,
		Message:       final.Message,
		LogsTruncated: final.LogsTruncated,
		Usage:         u,
	}
}

func outOfMemory(words string) bool {
	return strings.Contains(words, "out of memory") || strings.Contains(words, "cannot allocate memory")
}

func lastWordsOf(dir string) string {
	b, err := taskrecord.Bounded(filepath.Join(dir, job.WorkerLog), maxLastWords)
	if err != nil {
		return ""
	}
	return firstLine(string(b))
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
func (t *task) Stop(ctx context.Context, _ time.Duration) error {
	select {
	case <-t.done:
		return nil
	default:
	}
	if err := t.end(compute.ReasonStopped); err != nil {
		return unavailable("stop task "+t.run.ID, err)
	}
	_, err := t.Wait(ctx)
	return err
}

// Usage implements compute.Task.
func (t *task) Usage() compute.Usage {
	select {
	case <-t.done:
		return t.result.Usage
	default:
	}
	cpu, peak := t.proc.sample()
	output, logs := readCounters(t.run.Dir)
	t.mu.Lock()
	defer t.mu.Unlock()
	u := &t.usage
	u.Wall = time.Since(t.started)
	u.CPU = max(u.CPU, cpu)
	u.MemoryPeak = max(u.MemoryPeak, peak)
	u.OutputBytes, u.LogBytes = output, logs
	return *u
}
