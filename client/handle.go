package client

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/moyai-network/moyai/client/chain"
	"github.com/moyai-network/moyai/client/journal"
	"github.com/moyai-network/moyai/p2p"
	"github.com/moyai-network/moyai/wire"
)

// awayPoll is how often Detach looks whether leases have started.
const awayPoll = 50 * time.Millisecond

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
	r.emit(Event{Kind: EventPrepared, Bytes: program.bytes})
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

// Attach takes over a job of this home that no process attends to, named by a
// job id, a lease id or an unambiguous beginning of either. ErrUnknownLease,
// ErrAmbiguous, ErrNotOurs, or ErrBusy if another process attends to it.
func (c *Client) Attach(ctx context.Context, name string, events func(Event)) (*Handle, error) {
	if c.keyErr != nil {
		return nil, c.keyErr
	}
	id, err := c.find(ctx, name)
	if err != nil {
		return nil, err
	}
	return c.attach(ctx, id, events)
}

func (c *Client) attach(ctx context.Context, id []byte, events func(Event)) (*Handle, error) {
	if err := c.Connect(); err != nil {
		return nil, err
	}
	lock, err := c.journal.LockJob(id)
	if errors.Is(err, journal.ErrLocked) {
		return nil, fmt.Errorf("%w: %s", ErrBusy, journal.JobName(id))
	}
	if err != nil {
		return nil, err
	}
	job, err := c.loadJob(ctx, id)
	if err != nil {
		lock.Unlock()
		return nil, err
	}
	job.Events = events
	r := c.newRun(id, job, lock)
	if err := r.resume(ctx); err != nil {
		r.end()
		return nil, err
	}
	c.wg.Go(r.loop)
	return &Handle{r}, nil
}

// resume rebuilds a run from the journal and the chain.
func (r *run) resume(ctx context.Context) error {
	saved, err := r.c.journal.JobByID(ctx, r.id)
	if err != nil {
		return err
	}
	r.stopping = saved.Stopping
	if err := r.c.journal.SetDetached(ctx, r.id, false); err != nil {
		return err
	}
	if err := r.loadTasks(ctx); err != nil {
		return err
	}
	rows, err := r.c.journal.Leases(ctx, r.id)
	if err != nil {
		return err
	}
	for _, row := range rows {
		if row.State == journal.StateOpening {
			if row, err = r.c.discover(ctx, row); err != nil {
				return err
			}
		}
		if row.LeaseID == nil {
			continue
		}
		if err := r.takeUp(ctx, row); err != nil {
			return err
		}
	}
	if !saved.Done {
		r.requeue()
	}
	return nil
}

// takeUp cares again for a lease of an earlier process, closed or not: results
// may still be there.
func (r *run) takeUp(ctx context.Context, row journal.Lease) error {
	o, err := r.c.reopenOrder(row)
	if err != nil {
		return err
	}
	t, err := newTenancy(r, row, o)
	if err != nil {
		return err
	}
	t.watch = func() {}
	r.bought++
	r.leases[t.name] = t
	t.closed = row.State == journal.StateClosed
	for _, k := range r.tasks {
		if k.Lease != t.name {
			continue
		}
		if !k.Done {
			t.assigned[k.Index] = true
		} else {
			r.fetch(k, t)
		}
	}
	if t.closed {
		t.closeText = row.Text
		if t.collect(); t.collecting() {
			r.background(t.stay)
		}
		return nil
	}
	if r.stopping {
		t.requestStop()
	}
	if t.acked == nil {
		r.serveAgain(t)
	}
	t.begin()
	t.reconcile()
	return nil
}

// serveAgain offers module and inputs to a provider that has not started yet.
func (r *run) serveAgain(t *tenancy) {
	r.background(func() {
		p, err := r.c.prepareAgain(r.ctx, r.id, &r.job)
		if err != nil {
			r.emit(Event{Kind: EventWarning, Lease: t.name, Text: err.Error()})
			return
		}
		for _, src := range p.sources {
			r.c.content.Add(t.o.hash(), src)
		}
		r.c.allowFetch(t.o.signed.Digest, t.info.ID)
	})
}

// requeue finds the indices that nobody works on.
func (r *run) requeue() {
	for _, i := range r.indices() {
		k := r.tasks[i]
		if t := r.leases[k.Lease]; !k.Done && (t == nil || t.closed && !t.collecting()) {
			r.queue = append(r.queue, i)
		}
	}
}

// discover finds out whether an order became a lease when we did not see it.
func (c *Client) discover(ctx context.Context, row journal.Lease) (journal.Lease, error) {
	for _, cand := range row.Candidates {
		_, err := c.chain.Lease(ctx, cand.LeaseID)
		if errors.Is(err, chain.ErrNotFound) {
			continue
		}
		if err != nil {
			return row, err
		}
		opened := row.Created // earlier than the truth, so graces end no later
		if err := c.journal.SetOpen(ctx, row.OrderHash, cand, "", opened); err != nil {
			return row, err
		}
		row.Candidate, row.LeaseID, row.State, row.Opened = cand, cand.LeaseID, journal.StateOpen, opened
		return row, nil
	}
	o, err := wire.Open[wire.Order](c.chain.ChainID(), row.SignedOrder)
	if err == nil && c.chain.Now().UnixMilli() > o.Value.Terms.ExpiresAt {
		return row, c.journal.SetEnd(ctx, row.OrderHash, journal.StateRefused, "expired without a lease")
	}
	return row, nil
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

// Detach leaves the job to run alone: it acknowledges in advance what the rest of
// each hold can pay, deals an array's remaining indices, and lets go. Wait then
// returns ErrDetached. It waits for leases that have not started yet.
func (h *Handle) Detach(ctx context.Context) error {
	for {
		state := make(chan bool, 1)
		if !h.r.post(func() { state <- h.r.mayLeave() }) {
			return nil // over already
		}
		select {
		case ok := <-state:
			if ok {
				return h.r.detach(ctx)
			}
		case <-h.r.done:
			return nil
		case <-ctx.Done():
			return ctx.Err()
		}
		select {
		case <-time.After(awayPoll):
		case <-ctx.Done():
			return fmt.Errorf("detach: a lease has not started yet: %w", ctx.Err())
		}
	}
}

// mayLeave: every lease has started, or is over.
func (r *run) mayLeave() bool {
	if r.buying {
		return false
	}
	for _, t := range r.leases {
		if !t.closed && t.final.IsZero() && t.acked == nil {
			return false
		}
	}
	return true
}

func (r *run) detach(ctx context.Context) error {
	flushed := make(chan []chan struct{}, 1)
	failed := make(chan error, 1)
	ok := r.post(func() {
		if err := r.c.journal.SetDetached(ctx, r.id, true); err != nil {
			failed <- err
			return
		}
		r.dealAll()
		var marks []chan struct{}
		for _, t := range r.leases {
			if mark, err := t.signAway(); err != nil {
				failed <- err
				return
			} else if mark != nil {
				marks = append(marks, mark)
			}
		}
		flushed <- marks
	})
	if !ok {
		return nil
	}
	select {
	case err := <-failed:
		return err
	case <-r.done:
		return nil
	case marks := <-flushed:
		for _, m := range marks {
			select {
			case <-m:
			case <-r.done:
				return nil
			case <-ctx.Done():
				return ctx.Err()
			}
		}
	}
	r.post(func() { r.detached = true })
	<-r.done
	return nil
}

// dealAll gives every waiting index away, evenly, since nobody will be here.
func (r *run) dealAll() {
	if r.job.Array == nil {
		return
	}
	var open []*tenancy
	for _, t := range r.sorted() {
		if t.accepts() && t.stream != nil {
			open = append(open, t)
		}
	}
	if len(open) == 0 {
		return
	}
	for n := 0; len(r.queue) > 0; n++ {
		t, index := open[n%len(open)], r.queue[0]
		t.assign(index)
		t.say(&p2p.RunTask{Index: index})
	}
	for _, t := range open {
		t.noMore = true
		t.say(&p2p.NoMoreTasks{})
	}
}

// signAway acknowledges in advance all that the hold can pay. The mark closes
// when the provider has it on disk: what was merely sent dies with the
// connection.
func (t *tenancy) signAway() (mark chan struct{}, err error) {
	if t.closed || t.settling || !t.final.IsZero() || t.acked == nil {
		return nil, nil
	}
	until := t.o.signed.Value.Terms.TimeoutMS
	signed, err := wire.Seal(wire.Away{
		Version: wire.Version1, ChainID: t.r.c.chain.ChainID(), LeaseID: t.row.LeaseID, UntilMS: until,
	}, t.o.key)
	if err != nil {
		return nil, fmt.Errorf("sign away: %w", err)
	}
	if err := t.r.c.journal.SetAway(context.WithoutCancel(t.r.ctx), t.row.OrderHash, signed.Bytes()); err != nil {
		return nil, err
	}
	t.row.Away, t.awayMS = signed.Bytes(), until
	if t.out == nil {
		t.warn("it cannot be told that we leave; it will end when receipts lag")
		return nil, nil
	}
	t.awayHeard = make(chan struct{})
	t.say(&p2p.SignAway{Away: signed.Bytes()})
	return t.awayHeard, nil
}
