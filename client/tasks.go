package client

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/ipfs/go-cid"

	"github.com/moyai-network/moyai/client/journal"
	"github.com/moyai-network/moyai/compute"
	"github.com/moyai-network/moyai/p2p"
	"github.com/moyai-network/moyai/p2p/content"
)

const (
	reasonLost        = "lost"         // our word for a task whose lease went away
	reasonNotPrepared = "not-prepared" // the provider could not get it ready
	reasonNotStarted  = "not-started"  // nor start it
	reasonStopped     = "stopped"
	// A provider that was killed is back within a minute, as a rule. What can be
	// done again elsewhere is not waited for that long.
	fetchAttempts      = 14
	fetchAttemptsArray = 3
	fetchPauseMost     = 5 * time.Second
	progressPeriod     = 100 * time.Millisecond
)

// taskDone takes a provider's word that an index ended on lease t. Providers
// repeat themselves after reconnecting; the first word counts.
func (r *run) taskDone(t *tenancy, m *p2p.TaskDone) {
	k := r.tasks[m.Index]
	if k == nil || k.Done || !t.assigned[m.Index] {
		return
	}
	delete(t.assigned, m.Index)
	res := TaskResult{
		Index: m.Index, Done: true, ExitCode: m.ExitCode, Reason: m.Reason, Error: m.Error, Lease: t.name,
		Attempts: k.Attempts, OutputBytes: m.OutputBytes,
	}
	if !res.OK() && k.Lease != t.name {
		return // others have it by now: that it failed here is no news
	}
	why := taskText(&res)
	if m.Reason == reasonStopped && t.noticed {
		why = reasonLost + ": " + t.row.Moniker + " took its machine back"
	}
	if !res.OK() && r.again(k, t, why) {
		return
	}
	k.TaskResult, k.Root = res, m.Output
	r.dropFromQueue(m.Index) // it may have been given up for lost meanwhile
	r.saveTask(k)
	r.emit(Event{Kind: EventTask, Lease: t.name, Provider: t.row.Provider, Moniker: t.row.Moniker, Task: m.Index, MS: m.BilledMS, Result: &res})
	r.fetch(k, t)
}

// again puts an index that failed back into the queue, if it may be tried again.
func (r *run) again(k *task, t *tenancy, why string) bool {
	if r.stopping || r.failure != nil || k.Attempts >= r.attempts() {
		return false
	}
	if theirFault(why) {
		r.avoid[t.row.Provider] = true
	} else if r.job.Array == nil {
		return false
	}
	if !r.waiting(k.Index) {
		r.queue = append(r.queue, k.Index)
	}
	k.Lease = ""
	r.saveTask(k)
	r.emit(Event{Kind: EventRetry, Lease: t.name, Task: k.Index, Text: why})
	return true
}

// theirFault: the program did not get to run, or its machine failed it. Another
// may succeed.
func theirFault(why string) bool {
	reason, _, _ := strings.Cut(why, ":")
	switch reason {
	case reasonLost, reasonNotPrepared, reasonNotStarted:
		return true
	}
	return compute.ParseReason(reason).ProvidersFault()
}

// orphan takes back what lease t was given, because t is silent or over.
func (r *run) orphan(t *tenancy, why string) {
	for i := range t.assigned {
		k := r.tasks[i]
		if k.Done || (k.Lease != t.name && k.Lease != "") || r.waiting(i) {
			continue
		}
		if r.again(k, t, reasonLost+": "+why) {
			continue
		}
		if t.closed { // no hope is left
			k.TaskResult = TaskResult{Index: i, Done: true, Reason: reasonLost, Error: why, Lease: t.name, Attempts: k.Attempts}
			if r.stopping {
				k.Done, k.Reason = false, reasonStopped
			}
			r.saveTask(k)
			res := k.TaskResult
			r.emit(Event{Kind: EventTask, Lease: t.name, Task: i, Result: &res})
		}
	}
}

func (r *run) waiting(index uint64) bool {
	for _, i := range r.queue {
		if i == index {
			return true
		}
	}
	return false
}

func (r *run) dropFromQueue(index uint64) {
	kept := r.queue[:0]
	for _, i := range r.queue {
		if i != index {
			kept = append(kept, i)
		}
	}
	r.queue = kept
}

func (r *run) saveTask(k *task) {
	if err := r.c.journal.SetTask(context.WithoutCancel(r.ctx), r.id, k.Index, k); err != nil {
		r.emit(Event{Kind: EventWarning, Task: k.Index, Text: err.Error()})
	}
}

// fetch brings a task's results home beside the loop.
func (r *run) fetch(k *task, t *tenancy) {
	if r.job.Output == "" || k.Fetched || k.fetching || (r.job.Array != nil && !k.OK()) {
		return
	}
	k.fetching = true
	r.fetches++
	index, root, total := k.Index, k.Root, k.OutputBytes
	r.background(func() {
		err := r.bring(t, index, root, total)
		r.post(func() {
			r.fetches--
			k.fetching = false
			if err == nil {
				k.Fetched = true
				r.saveTask(k)
				r.emit(Event{Kind: EventFetched, Task: index, Lease: t.name, Bytes: total})
				return
			}
			if r.job.Array != nil && !t.accepts() {
				k.Done = false // a result nobody has is a lost index
				if r.again(k, t, reasonLost+": results: "+err.Error()) {
					return
				}
				k.Done = true
			}
			r.emit(Event{Kind: EventWarning, Task: index, Lease: t.name, Text: "results not fetched: " + err.Error()})
		})
	})
}

func (r *run) bring(t *tenancy, index uint64, root []byte, total uint64) error {
	select {
	case r.fetching <- struct{}{}:
		defer func() { <-r.fetching }()
	case <-r.ctx.Done():
		return r.ctx.Err()
	}
	if len(root) == 0 { // it wrote nothing
		return os.MkdirAll(r.place(index), 0o755)
	}
	id, err := cid.Cast(root)
	if err != nil {
		return fmt.Errorf("the provider named its results wrongly: %w", err)
	}
	temp := filepath.Join(r.job.Output, fmt.Sprintf(".moyai-%s-%d", t.name[:8], index))
	var last time.Time
	progress := func(n uint64) {
		if now := time.Now(); now.Sub(last) > progressPeriod {
			last = now
			r.emit(Event{Kind: EventFetching, Task: index, Lease: t.name, Bytes: n, Total: total})
		}
	}
	get := content.Get{Scope: t.o.hash(), Root: id.Bytes(), Access: t.o.access}
	limits := content.Limits{Bytes: r.job.OutputBytesMax}
	attempts := fetchAttempts
	if r.job.Array != nil {
		attempts = fetchAttemptsArray
	}
	for try := 1; ; try++ {
		if err := os.RemoveAll(temp); err != nil {
			return err
		}
		err = content.Fetch(r.ctx, r.c.host, r.c.located(t.info), get, temp, limits, progress)
		if err == nil {
			break
		}
		final := errors.Is(err, content.ErrNotFound) || errors.Is(err, content.ErrLimit) || errors.Is(err, content.ErrDiskFull) || errors.Is(err, content.ErrUnauthorized)
		if final || try == attempts || r.ctx.Err() != nil {
			return err
		}
		select {
		case <-r.ctx.Done():
			return r.ctx.Err()
		case <-time.After(min(time.Duration(try)*time.Second, fetchPauseMost)):
		}
	}
	return r.settleInto(temp, index)
}

// place is where a task's results belong.
func (r *run) place(index uint64) string {
	if r.job.Array == nil {
		return r.job.Output
	}
	return filepath.Join(r.job.Output, strconv.FormatUint(index, 10))
}

// settleInto moves fetched results to their place. A single job's entries go
// into the output folder one by one, because that folder is the user's.
func (r *run) settleInto(temp string, index uint64) error {
	if r.job.Array != nil {
		if err := os.RemoveAll(r.place(index)); err != nil {
			return err
		}
		return os.Rename(temp, r.place(index))
	}
	entries, err := os.ReadDir(temp)
	if err != nil {
		return err
	}
	for _, e := range entries {
		to := filepath.Join(r.job.Output, e.Name())
		if r.job.Overwrite {
			if err := os.RemoveAll(to); err != nil {
				return err
			}
		}
		if err := os.Rename(filepath.Join(temp, e.Name()), to); err != nil {
			return err
		}
	}
	return os.Remove(temp)
}

// loadTasks reads what an earlier process wrote.
func (r *run) loadTasks(ctx context.Context) error {
	return r.c.journal.Tasks(ctx, r.id, func(i uint64, raw json.RawMessage) error {
		k := r.tasks[i]
		if k == nil {
			return fmt.Errorf("journal: job %s has no task %d", journal.JobName(r.id), i)
		}
		return json.Unmarshal(raw, k)
	})
}

// tasksOn counts the indices that ended on a lease.
func (c *Client) tasksOn(ctx context.Context, row journal.Lease) (n uint64, err error) {
	name := leaseName(row.LeaseID)
	err = c.journal.Tasks(ctx, row.Job, func(_ uint64, raw json.RawMessage) error {
		var k task
		if err := json.Unmarshal(raw, &k); err != nil {
			return err
		}
		if k.Done && k.Lease == name {
			n++
		}
		return nil
	})
	return n, err
}
