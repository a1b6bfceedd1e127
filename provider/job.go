package provider

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"syscall"
	"time"

	"github.com/moyai-network/moyai/compute"
	"github.com/moyai-network/moyai/mechanism/lease"
	"github.com/moyai-network/moyai/p2p/content"
	"github.com/moyai-network/moyai/provider/leasing"
)

// job is the work of one lease on this machine: its folder, its prepared program,
// its tasks. It reports to its agreement with events.
type job struct {
	a   *agreement
	dir string

	prepMu   sync.Mutex // held while fetching and preparing: both happen once
	prepared compute.Prepared

	mu    sync.Mutex
	tasks map[uint64]compute.Task
	kept  bool

	stdin *stdin // of task 0; nil for an array
}

func newJob(a *agreement) *job {
	j := &job{a: a, dir: a.d.leaseDir(a.row.ID), tasks: map[uint64]compute.Task{}}
	if !a.man.Array {
		j.stdin = newStdin(j.dir)
	}
	return j
}

func (j *job) program() string { return filepath.Join(j.dir, "module") }
func (j *job) input(name string) string {
	return filepath.Join(j.dir, "in-"+hex.EncodeToString([]byte(name)))
}
func (j *job) taskDir(index uint64) string {
	return filepath.Join(j.dir, "tasks", strconv.FormatUint(index, 10))
}

// prefetch prepares what can be had before anybody paid, within bounds.
func (j *job) prefetch(ctx context.Context) {
	if j.a.man.ModuleBytes+j.a.man.InputBytes() > j.a.d.prefetchBytes {
		return
	}
	select {
	case j.a.d.prefetches <- struct{}{}:
	default:
		return // busy with other strangers' maybes; Prepare will do it
	}
	j.a.d.wg.Go(func() {
		defer func() { <-j.a.d.prefetches }()
		if err := j.ensure(ctx); err != nil {
			j.a.log.Info("prefetch failed, to be tried again if the lease opens", "err", err)
		}
	})
}

// prepare does what prefetch has not, trying again while the tenant is out of
// reach and the grace lasts.
func (j *job) prepare(ctx context.Context) {
	j.a.d.wg.Go(func() {
		deadline := time.Now().Add(time.Duration(j.a.bid.GraceMS) * time.Millisecond)
		for wait := 200 * time.Millisecond; ; wait = min(2*wait, 5*time.Second) {
			err := j.ensure(ctx)
			if ctx.Err() != nil {
				return
			}
			if err == nil {
				j.a.post(leasing.Prepared{Now: unixMS(time.Now())})
				return
			}
			reason, text, final := prepareFailure(err)
			if final || time.Now().Add(wait).After(deadline) {
				j.a.log.Info("cannot prepare", "err", err)
				j.a.post(leasing.PrepareFailed{Reason: reason, Text: text, Now: unixMS(time.Now())})
				return
			}
			select {
			case <-ctx.Done():
				return
			case <-time.After(wait):
			}
		}
	})
}

// errDisk: this machine has no room, through no fault of the tenant's.
var errDisk = errors.New("the provider's disk is full")

// prepareFailure says whose fault it is, for the receipt and for people, and
// whether trying again could help.
func prepareFailure(err error) (reason lease.Reason, text string, final bool) {
	switch {
	case errors.Is(err, compute.ErrBadProgram), errors.Is(err, compute.ErrInvalidSpec),
		errors.Is(err, content.ErrMismatch), errors.Is(err, content.ErrLimit), errors.Is(err, content.ErrUnsupported):
		return lease.ReasonBadManifest, err.Error(), true
	case errors.Is(err, content.ErrDiskFull), errors.Is(err, syscall.ENOSPC), errors.Is(err, errDisk):
		return lease.ReasonProviderStopped, errDisk.Error(), true
	case errors.Is(err, compute.ErrUnavailable):
		return lease.ReasonProviderStopped, err.Error(), true
	case errors.Is(err, content.ErrNotFound), errors.Is(err, content.ErrUnauthorized):
		return lease.ReasonBadManifest, "an input could not be had from the tenant: " + err.Error(), false
	}
	return lease.ReasonTenantVanished, "the inputs could not be fetched: " + err.Error(), false
}

// ensure fetches whatever is not there and prepares the program.
func (j *job) ensure(ctx context.Context) error {
	j.prepMu.Lock()
	defer j.prepMu.Unlock()
	if j.prepared != nil {
		return nil
	}
	if j.a.d.diskFull() {
		return errDisk
	}
	runtime := j.a.d.runtimes[j.a.man.Runtime]
	if runtime == nil {
		return fmt.Errorf("%w: runtime %q is not offered here", compute.ErrUnavailable, j.a.man.Runtime)
	}
	if err := os.MkdirAll(filepath.Join(j.dir, "tasks"), 0o700); err != nil {
		return fmt.Errorf("lease folder: %w", err)
	}
	if err := j.fetch(ctx, j.a.man.Module, j.a.man.ModuleBytes, j.program()); err != nil {
		return fmt.Errorf("fetch module: %w", err)
	}
	spec := j.spec()
	for _, in := range j.a.man.Inputs {
		dest := j.input(in.Name)
		if err := j.fetch(ctx, in.CID, in.Bytes, dest); err != nil {
			return fmt.Errorf("fetch input %s: %w", in.Name, err)
		}
		spec.Inputs = append(spec.Inputs, compute.Input{Name: in.Name, Path: dest})
	}
	prepared, err := runtime.Prepare(ctx, spec)
	if err != nil {
		return err
	}
	j.prepared = prepared
	return nil
}

func (j *job) fetch(ctx context.Context, root []byte, bytes uint64, dest string) error {
	if _, err := os.Lstat(dest); err == nil {
		return nil // complete: it appears by renaming
	}
	if err := os.RemoveAll(dest + ".partial"); err != nil { // of a fetch that was killed
		return err
	}
	return j.a.d.wares.Fetch(ctx, j.a.row.Tenant, j.a.row.OrderHash, root, bytes, dest)
}

func (j *job) spec() compute.Spec {
	m := j.a.man
	timeout := min(m.TaskTimeoutMS, j.a.order.Terms.TimeoutMS)
	if timeout == 0 {
		timeout = j.a.order.Terms.TimeoutMS
	}
	return compute.Spec{
		Dir: j.dir, Program: j.program(), Args: m.Args, Env: m.Environ(), Array: m.Array,
		Limits: compute.Limits{
			MemoryBytes: m.MemoryBytes, OutputBytes: m.OutputBytesMax, LogBytes: m.LogBytesMax,
			Timeout: time.Duration(timeout) * time.Millisecond,
		},
	}
}

func (j *job) run(index uint64) compute.Run {
	run := compute.Run{ID: fmt.Sprintf("%x-%d", j.a.row.ID[:6], index), Dir: j.taskDir(index)}
	if j.a.man.Array {
		run.Env = []string{"MOYAI_INDEX=" + strconv.FormatUint(index, 10)}
	} else {
		run.Stdin = j.stdin.path()
	}
	return run
}

// start begins a task, once: the runtime keeps, beside the task's files, what
// tells a second start from the first.
func (j *job) start(ctx context.Context, index uint64) {
	j.a.d.wg.Go(func() {
		task, err := j.begin(ctx, index)
		if err != nil {
			j.finish(index, failure(err))
			return
		}
		j.watch(ctx, index, task)
	})
}

func (j *job) begin(ctx context.Context, index uint64) (compute.Task, error) {
	if err := j.ensure(ctx); err != nil { // prepared already, except after a restart
		return nil, err
	}
	run := j.run(index)
	if j.stdin != nil {
		if err := j.stdin.open(); err != nil {
			return nil, err
		}
	}
	runtime := j.a.d.runtimes[j.a.man.Runtime]
	task, err := runtime.Start(ctx, j.prepared, run)
	if errors.Is(err, compute.ErrExists) {
		return runtime.Recover(ctx, run)
	}
	if err == nil && j.stdin != nil {
		j.a.d.wg.Go(func() { j.stdin.feed(ctx) })
	}
	return task, err
}

// recover asks the runtime what became of a task.
func (j *job) recover(ctx context.Context, index uint64) {
	j.a.d.wg.Go(func() {
		runtime := j.a.d.runtimes[j.a.man.Runtime]
		if runtime == nil {
			j.a.post(leasing.Recovered{Index: index})
			j.finish(index, failure(fmt.Errorf("%w: runtime %q is gone", compute.ErrUnavailable, j.a.man.Runtime)))
			return
		}
		task, err := runtime.Recover(ctx, j.run(index))
		if err == nil {
			j.stdin.close() // its end of file came with the old process
		}
		if errors.Is(err, compute.ErrNotFound) {
			j.a.post(leasing.NeverStarted{Index: index, Now: unixMS(time.Now())})
			return
		}
		j.a.post(leasing.Recovered{Index: index})
		if err != nil {
			j.finish(index, failure(err))
			return
		}
		j.watch(ctx, index, task)
	})
}

// watch waits for a task's end. When the daemon ends first the task is left alone.
func (j *job) watch(ctx context.Context, index uint64, task compute.Task) {
	j.mu.Lock()
	j.tasks[index] = task
	j.mu.Unlock()
	result, err := task.Wait(ctx)
	if err != nil {
		return // only ctx's
	}
	elapsed := j.a.meter.elapsed() // what follows is this machine's own time
	j.mu.Lock()
	delete(j.tasks, index)
	j.mu.Unlock()
	j.stdin.close()
	outcome := leasing.Outcome{
		ExitCode: int32(result.ExitCode), Reason: result.Reason.String(), Text: result.Message, Lease: leaseReason(result),
	}
	j.results(ctx, index, &outcome)
	j.a.post(leasing.TaskFinished{Index: index, Outcome: outcome, Elapsed: elapsed, Now: unixMS(time.Now())})
}

// results makes what the task wrote available to the tenant.
func (j *job) results(ctx context.Context, index uint64, outcome *leasing.Outcome) {
	out := j.run(index).Out()
	if outcome.Reason == compute.ReasonDisk.String() {
		// What is cut off is of no use to anybody, and it is what fills the disk.
		if err := os.RemoveAll(out); err != nil {
			j.a.log.Warn("a result that fills the disk cannot be removed", "task", index, "err", err)
		}
		return
	}
	entries, err := os.ReadDir(out)
	if err != nil || len(entries) == 0 {
		return
	}
	root, bytes, err := j.a.d.wares.Offer(ctx, j.a.row.OrderHash, out)
	if err != nil {
		if ctx.Err() == nil && outcome.Lease == lease.ReasonCompleted {
			outcome.ExitCode, outcome.Reason, outcome.Lease = -1, "bad-output", lease.ReasonFailed
		}
		outcome.Text = joinText(outcome.Text, "the results cannot be sent: "+err.Error())
		return
	}
	outcome.Output, outcome.OutputBytes = root, bytes
}

func joinText(a, b string) string {
	if a == "" {
		return b
	}
	return a + "; " + b
}

// finish ends a task that this machine failed to run. The time it took to find out
// is not the tenant's: the counter stays at what was proposed before.
func (j *job) finish(index uint64, outcome leasing.Outcome) {
	j.a.post(leasing.TaskFinished{Index: index, Outcome: outcome, Now: unixMS(time.Now())})
}

func failure(err error) leasing.Outcome {
	reason, text, _ := prepareFailure(err)
	if reason == lease.ReasonTenantVanished {
		reason = lease.ReasonProviderLost
	}
	return leasing.Outcome{ExitCode: -1, Reason: "not-started", Text: text, Lease: reason}
}

// leaseReason is what a task's end means for a lease that ends with it.
func leaseReason(r compute.Result) lease.Reason {
	switch r.Reason {
	case compute.ReasonExited:
		if r.ExitCode == 0 {
			return lease.ReasonCompleted
		}
		return lease.ReasonFailed
	case compute.ReasonMemory:
		return lease.ReasonOutOfMemory
	case compute.ReasonOutputLimit, compute.ReasonLogLimit:
		return lease.ReasonOutputLimit
	case compute.ReasonDeadline:
		return lease.ReasonDeadlineExceeded
	case compute.ReasonStopped:
		return lease.ReasonTenantStopped
	case compute.ReasonCrashed, compute.ReasonLost:
		return lease.ReasonProviderLost
	case compute.ReasonDisk:
		return lease.ReasonProviderStopped
	}
	return lease.ReasonFailed
}

// stopGrace is what a program that can be asked to end gets.
const stopGrace = 2 * time.Second

func (j *job) stop(ctx context.Context, index uint64) {
	j.mu.Lock()
	task := j.tasks[index]
	j.mu.Unlock()
	j.a.d.wg.Go(func() {
		if task == nil {
			// It is being started right now, or a restart lost the handle.
			var err error
			if task, err = j.a.d.runtimes[j.a.man.Runtime].Recover(ctx, j.run(index)); err != nil {
				if ctx.Err() == nil {
					j.finish(index, leasing.Outcome{ExitCode: -1, Reason: compute.ReasonStopped.String(), Lease: lease.ReasonTenantStopped})
				}
				return
			}
		}
		if err := task.Stop(ctx, stopGrace); err != nil && ctx.Err() == nil {
			j.a.log.Error("task cannot be stopped", "task", index, "err", err)
			j.a.d.alert("unstoppable", "error", fmt.Sprintf("a task of lease %x cannot be stopped: %v", j.a.row.ID, err))
		}
	})
}

// keep serves results again after a restart; before one they are served already.
func (j *job) keep(ctx context.Context) {
	j.mu.Lock()
	done := j.kept
	j.kept = true
	j.mu.Unlock()
	if done {
		return
	}
	j.a.mu.Lock()
	tasks := append([]taskView(nil), j.a.tasks...)
	j.a.mu.Unlock()
	j.a.d.wg.Go(func() {
		for _, t := range tasks {
			if t.outcome == nil || len(t.outcome.Output) == 0 {
				continue
			}
			if _, _, err := j.a.d.wares.Offer(ctx, j.a.row.OrderHash, j.run(t.index).Out()); err != nil && ctx.Err() == nil {
				j.a.log.Warn("a kept result cannot be served", "task", t.index, "err", err)
			}
		}
	})
}

// release gives the prepared program back once nothing will start any more. It
// waits for a preparation under way. On nil it does nothing.
func (j *job) release() {
	if j == nil {
		return
	}
	j.prepMu.Lock()
	defer j.prepMu.Unlock()
	if j.prepared != nil {
		_ = j.prepared.Close()
		j.prepared = nil
	}
}

func (j *job) remove() {
	j.release()
	j.stdin.close()
	if err := os.RemoveAll(j.dir); err != nil {
		j.a.log.Warn("lease folder cannot be removed", "err", err)
	}
}
