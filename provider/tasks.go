package provider

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strconv"
	"time"

	"github.com/moyai-network/moyai/compute"
	"github.com/moyai-network/moyai/mechanism/lease"
	"github.com/moyai-network/moyai/provider/leasing"
)

// attempt is a task in this process's hands: being started, or found again after
// a restart, and then running.
type attempt struct {
	index uint64
	halt  context.CancelFunc // ends a preparation under way
	known chan struct{}      // closed once task is set, or never will be
	task  compute.Task       // nil if it did not start
	gone  chan struct{}      // closed once it has ended, or did not start
}

// attempt registers a task before anything is done for it, so that a stop finds
// it however early it comes. preparing ends with ctx, or when a stop wants it to.
func (j *job) attempt(ctx context.Context, index uint64) (a *attempt, preparing context.Context) {
	preparing, halt := context.WithCancel(ctx)
	a = &attempt{index: index, halt: halt, known: make(chan struct{}), gone: make(chan struct{})}
	j.mu.Lock()
	defer j.mu.Unlock()
	j.tasks[index] = a
	return a, preparing
}

// settle tells a stop what there is to be stopped; nil is nothing.
func (j *job) settle(a *attempt, task compute.Task) {
	a.task = task
	close(a.known)
	if task == nil {
		j.forget(a)
	}
}

func (j *job) forget(a *attempt) {
	j.mu.Lock()
	defer j.mu.Unlock()
	delete(j.tasks, a.index)
	close(a.gone)
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
	a, preparing := j.attempt(ctx, index)
	j.a.d.wg.Go(func() {
		defer a.halt()
		task, err := j.begin(ctx, preparing, index)
		j.settle(a, task)
		switch {
		case err == nil:
			j.watch(ctx, a)
		case ctx.Err() != nil: // the daemon ends, and its journal says where to go on
		case preparing.Err() != nil:
			j.finish(index, leasing.Outcome{ExitCode: -1, Reason: compute.ReasonStopped.String(), Lease: lease.ReasonTenantStopped})
		default:
			j.finish(index, failure(err))
		}
	})
}

func (j *job) begin(ctx, preparing context.Context, index uint64) (compute.Task, error) {
	if err := j.ensure(preparing, true); err != nil { // prepared already, except after a restart
		return nil, err
	}
	secrets, err := j.reveal()
	if err != nil {
		return nil, err
	}
	run := j.run(index)
	run.Env = append(run.Env, secrets.Environ()...)
	if j.stdin != nil {
		if err := j.stdin.open(); err != nil {
			return nil, err
		}
	}
	if err := preparing.Err(); err != nil {
		return nil, err
	}
	task, err := j.runtime.Start(ctx, j.prepared, run)
	if errors.Is(err, compute.ErrExists) {
		return j.runtime.Recover(ctx, run)
	}
	if err != nil {
		return nil, err
	}
	if j.stdin != nil {
		j.a.d.wg.Go(func() { j.stdin.feed(ctx) })
	}
	return task, nil
}

// recover asks the runtime what became of a task.
func (j *job) recover(ctx context.Context, index uint64) {
	a, _ := j.attempt(ctx, index)
	j.a.d.wg.Go(func() {
		defer a.halt()
		task, err := j.find(ctx, index)
		j.settle(a, task)
		switch {
		case errors.Is(err, compute.ErrNotFound):
			j.a.post(leasing.NeverStarted{Index: index, Now: j.a.d.now()})
			return
		case ctx.Err() != nil:
			return
		}
		j.a.post(leasing.Recovered{Index: index})
		if err != nil {
			j.finish(index, failure(err))
			return
		}
		j.watch(ctx, a)
	})
}

func (j *job) find(ctx context.Context, index uint64) (compute.Task, error) {
	task, err := j.a.d.runtimes.find(ctx, j.a.man.Runtime, j.run(index))
	if err != nil {
		return nil, err
	}
	j.stdin.close() // its end of file came with the old process
	return task, nil
}

// watch waits for a task's end. When the daemon ends first the task is left alone.
func (j *job) watch(ctx context.Context, a *attempt) {
	result, err := a.task.Wait(ctx)
	if err != nil {
		return // only ctx's
	}
	elapsed := j.a.meter.elapsed() // what follows is this machine's own time
	j.forget(a)
	j.stdin.close()
	outcome := leasing.Outcome{
		ExitCode: int32(result.ExitCode), Reason: result.Reason.String(), Text: result.Message, Lease: leaseReason(result),
	}
	j.results(ctx, a.index, &outcome)
	j.a.post(leasing.TaskFinished{Index: a.index, Outcome: outcome, Elapsed: elapsed, Now: j.a.d.now()})
}

// stopGrace is what a program that can be asked to end gets.
const stopGrace = 2 * time.Second

// stop ends a task, which may still be on its way to start.
func (j *job) stop(ctx context.Context, index uint64) {
	j.mu.Lock()
	a := j.tasks[index]
	j.mu.Unlock()
	if a == nil {
		return // it has ended, and says so itself
	}
	j.a.d.wg.Go(func() {
		a.halt()
		select {
		case <-a.known:
		case <-ctx.Done():
			return
		}
		if a.task == nil {
			return // it did not start, and says so itself
		}
		if err := a.task.Stop(ctx, stopGrace); err != nil && ctx.Err() == nil {
			j.a.log.Error("task cannot be stopped", "task", index, "err", err)
			j.a.d.alert("unstoppable", "error", fmt.Sprintf("a task of lease %x cannot be stopped: %v", j.a.row.ID, err))
		}
	})
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
	j.a.post(leasing.TaskFinished{Index: index, Outcome: outcome, Now: j.a.d.now()})
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
