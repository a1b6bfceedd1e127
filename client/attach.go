package client

import (
	"context"
	"errors"
	"fmt"

	"github.com/moyai-network/moyai/client/chain"
	"github.com/moyai-network/moyai/client/journal"
	"github.com/moyai-network/moyai/wire"
)

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
	if err := c.expired(ctx, id, &job); err != nil {
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
