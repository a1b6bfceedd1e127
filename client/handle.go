package client

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/moyai-network/moyai/client/journal"
	"github.com/moyai-network/moyai/wire"
)

// Run buys what the job needs and starts it. When it returns, leases are open and
// a background goroutine attends to them; ctx bounds only the buying.
//
// Errors before anything is bought: ErrBadJob, ErrOutput, ErrNoProviders,
// ErrNoBid (*RefusedError), ErrTooDear (*TooDearError), ErrFunds (*FundsError),
// ErrNotOpened, and those of the chain.
func (c *Client) Run(ctx context.Context, job Job) (*Handle, error) {
	if c.keyErr != nil {
		return nil, c.keyErr
	}
	job.EnsureDefaults()
	if err := job.Validate(); err != nil {
		return nil, err
	}
	if err := c.Connect(); err != nil { // beside the hashing of the files
		return nil, err
	}
	if err := absolute(&job); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrBadJob, err)
	}
	if err := c.resolve(ctx, &job); err != nil {
		return nil, err
	}
	program, err := prepare(ctx, &job)
	if err != nil {
		return nil, err
	}
	if err := job.checkOutput(); err != nil {
		return nil, err
	}
	spec, err := json.Marshal(job)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrBadJob, err)
	}
	id := random(wire.NonceSize)
	lock, err := c.journal.LockJob(id)
	if err != nil {
		return nil, err
	}
	if err := c.journal.AddJob(ctx, journal.Job{ID: id, Created: time.Now(), Spec: spec, Manifest: program.manifest}); err != nil {
		lock.Unlock()
		return nil, err
	}
	r := c.newRun(id, job, lock)
	r.program = program
	r.emit(Event{Kind: EventPrepared, Bytes: program.bytes, Text: job.Resolved.String()})
	s := &shopping{c: c, jobID: id, job: &r.job, program: program, emit: r.emit}
	got, err := s.buy(ctx, r.parallel())
	if err != nil {
		r.abandon()
		return nil, err
	}
	if len(got) < r.parallel() {
		r.emit(Event{Kind: EventWarning, Text: fmt.Sprintf("%d leases instead of %d: no more bids", len(got), r.parallel())})
	}
	if job.Array != nil {
		r.queue = r.indices()
	}
	r.opened(got)
	c.wg.Go(r.loop)
	return &Handle{r}, nil
}

// abandon ends a run that bought nothing.
func (r *run) abandon() {
	if err := r.c.journal.SetDone(context.WithoutCancel(r.ctx), r.id); err != nil {
		r.c.log.Warn("journal", "err", err)
	}
	r.end()
}

// prepareAgain hashes a job's files for another purchase, in another process than
// the one that wrote the manifest, and makes sure they are what they were.
func (c *Client) prepareAgain(ctx context.Context, id []byte, job *Job) (*program, error) {
	saved, err := c.journal.JobByID(ctx, id)
	if err != nil {
		return nil, err
	}
	p, err := prepare(ctx, job)
	if err != nil {
		return nil, err
	}
	if string(p.manifest) != string(saved.Manifest) {
		return nil, fmt.Errorf("%w: the module or an input changed since the job began", ErrBadJob)
	}
	return p, nil
}

func (c *Client) loadJob(ctx context.Context, id []byte) (Job, error) {
	saved, err := c.journal.JobByID(ctx, id)
	if err != nil {
		return Job{}, err
	}
	var job Job
	if err := json.Unmarshal(saved.Spec, &job); err != nil {
		return Job{}, fmt.Errorf("journal: job %s: %w", journal.JobName(id), err)
	}
	return job, nil
}

// find resolves a name to a job of this home.
func (c *Client) find(ctx context.Context, name string) ([]byte, error) {
	id, _, err := c.journal.Find(ctx, name)
	switch {
	case errors.Is(err, journal.ErrAmbiguous):
		return nil, fmt.Errorf("%w: %q; give more digits", ErrAmbiguous, name)
	case errors.Is(err, journal.ErrNone):
		if _, chainErr := c.Lease(ctx, name); chainErr == nil {
			return nil, fmt.Errorf("%w: %s; its keys are not in %s", ErrNotOurs, name, c.cfg.Home)
		}
		return nil, fmt.Errorf("%w: %q; \"moyai ps --all\" lists those of this home", ErrUnknownLease, name)
	}
	return id, err
}

// Wait waits for a job's end, attending to it if nobody else does. Events come
// only if this process attends.
func (c *Client) Wait(ctx context.Context, name string, events func(Event)) (*Result, error) {
	id, err := c.find(ctx, name)
	if err != nil {
		return nil, err
	}
	for {
		h, err := c.attach(ctx, id, events)
		if err == nil {
			return h.Wait(ctx)
		}
		if !errors.Is(err, ErrBusy) {
			return nil, err
		}
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-time.After(tickPeriod):
		}
	}
}

// Stop ends a job early and waits until what was used is settled, whichever
// process attends to it.
func (c *Client) Stop(ctx context.Context, name string) (*Result, error) {
	id, err := c.find(ctx, name)
	if err != nil {
		return nil, err
	}
	if err := c.journal.SetStopping(ctx, id); err != nil {
		return nil, err
	}
	res, err := c.Wait(ctx, name, nil)
	if errors.Is(err, ErrFailed) {
		err = nil // unfinished is what was asked for
	}
	return res, err
}

// resultOf is a job's result as the journal and the chain have it.
func (c *Client) resultOf(ctx context.Context, id []byte) (*Result, error) {
	job, err := c.loadJob(ctx, id)
	if err != nil {
		return nil, err
	}
	res := &Result{JobID: journal.JobName(id), Output: job.Output}
	err = c.journal.Tasks(ctx, id, func(_ uint64, raw json.RawMessage) error {
		var k task
		if err := json.Unmarshal(raw, &k); err != nil {
			return err
		}
		res.Tasks = append(res.Tasks, k.TaskResult)
		return nil
	})
	if err != nil {
		return nil, err
	}
	rows, err := c.journal.Leases(ctx, id)
	if err != nil {
		return nil, err
	}
	for _, row := range rows {
		if row.LeaseID == nil {
			continue
		}
		report, err := c.report(ctx, row)
		if err != nil {
			return nil, err
		}
		res.Leases = append(res.Leases, *report)
	}
	slices.SortFunc(res.Leases, func(a, b LeaseReport) int {
		if d := a.OpenedAt.Compare(b.OpenedAt); d != 0 {
			return d
		}
		return strings.Compare(a.ID, b.ID)
	})
	return res, nil
}

// Handle is a job this process attends to.
type Handle struct{ r *run }

// JobID names the job; Attach, Wait and Stop take it or its beginning.
func (h *Handle) JobID() string { return journal.JobName(h.r.id) }

// Kept is how long the job's results stay at their providers after its end.
func (h *Handle) Kept() time.Duration { return h.r.job.KeepResults }

// LeaseIDs are the job's leases so far, oldest first.
func (h *Handle) LeaseIDs() []string {
	reply := make(chan []string, 1)
	ask := func() {
		var ids []string
		for _, t := range h.r.sorted() {
			ids = append(ids, t.name)
		}
		reply <- ids
	}
	if !h.r.post(ask) {
		<-h.r.done
		ask() // the loop has ended: nobody else touches the run
	}
	select {
	case ids := <-reply:
		return ids
	case <-h.r.done:
		return nil
	}
}

// Wait waits until every task has ended, its results are fetched and every lease
// is settled. The error is ErrFailed if a task did not succeed; the result is
// complete all the same. An ended ctx does not stop the job.
func (h *Handle) Wait(ctx context.Context) (*Result, error) {
	select {
	case <-ctx.Done():
		return nil, ctx.Err()
	case <-h.r.done:
		return h.r.result, h.r.err
	}
}

// Stop asks every provider to end the job early; Wait returns once final receipts
// are signed and what was used is settled.
func (h *Handle) Stop() { h.r.post(h.r.stop) }
