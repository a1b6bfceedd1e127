package client

import (
	"context"
	"fmt"
	"time"

	"github.com/moyai-network/moyai/p2p"
	"github.com/moyai-network/moyai/wire"
)

// awayPoll is how often Detach looks whether leases have started.
const awayPoll = 50 * time.Millisecond

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
