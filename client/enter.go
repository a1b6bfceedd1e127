package client

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/moyai-network/moyai/client/journal"
	"github.com/moyai-network/moyai/p2p"
	"github.com/moyai-network/moyai/p2p/enter"
)

// residence is where something of ours runs: a lease, and the task of it that is
// meant, nil for the one that runs.
type residence struct {
	row  journal.Lease
	task *uint64
}

func (r *residence) name() string { return leaseName(r.row.LeaseID) }

// residence finds what is meant by a lease id, a job id or an unambiguous beginning
// of either, with "/INDEX" after it for one task of an array job. A job means its one
// live lease; if it has none, the last it had.
func (c *Client) residence(ctx context.Context, name string) (*residence, error) {
	name, index, indexed := strings.Cut(name, "/")
	r := &residence{}
	if indexed {
		n, err := strconv.ParseUint(index, 10, 64)
		if err != nil {
			return nil, fmt.Errorf("%w: task %q of %s is no number", ErrUnknownLease, index, name)
		}
		r.task = &n
	}
	job, leaseID, err := c.journal.Find(ctx, name)
	if err != nil {
		if _, err = c.find(ctx, name); err == nil {
			err = fmt.Errorf("%w: %q", ErrUnknownLease, name)
		}
		return nil, err
	}
	if leaseID != nil {
		r.row, err = c.journal.LeaseByID(ctx, leaseID)
		return r, err
	}
	rows, err := c.journal.Leases(ctx, job)
	if err != nil {
		return nil, err
	}
	if r.task != nil {
		r.row, err = c.leaseOfTask(ctx, job, rows, *r.task)
	} else {
		r.row, err = onlyLease(name, rows)
	}
	return r, err
}

// onlyLease is the lease that is meant by a job.
func onlyLease(name string, rows []journal.Lease) (journal.Lease, error) {
	var live, past []journal.Lease
	for _, row := range rows {
		switch {
		case row.LeaseID == nil:
		case row.State == journal.StateOpen:
			live = append(live, row)
		default:
			past = append(past, row)
		}
	}
	switch {
	case len(live) == 1:
		return live[0], nil
	case len(live) > 1:
		names := make([]string, len(live))
		for i, row := range live {
			names[i] = leaseName(row.LeaseID)[:10]
		}
		return journal.Lease{}, fmt.Errorf("%w: job %s runs on %d leases: name one (%s), or a task as in %s/%d", ErrAmbiguous, name, len(live), strings.Join(names, ", "), name, 0)
	case len(past) > 0:
		return past[len(past)-1], nil
	}
	return journal.Lease{}, fmt.Errorf("%w: %q has no lease yet", ErrUnknownLease, name)
}

// leaseOfTask is the lease that an index of a job was given to last.
func (c *Client) leaseOfTask(ctx context.Context, job []byte, rows []journal.Lease, index uint64) (found journal.Lease, err error) {
	lease := ""
	err = c.journal.Tasks(ctx, job, func(i uint64, raw json.RawMessage) error {
		if i != index {
			return nil
		}
		var k task
		err := json.Unmarshal(raw, &k)
		lease = k.Lease
		return err
	})
	if err != nil {
		return found, err
	}
	for _, row := range rows {
		if row.LeaseID != nil && (leaseName(row.LeaseID) == lease || lease == "" && len(rows) == 1) {
			return row, nil
		}
	}
	return found, fmt.Errorf("%w: task %d of job %s runs nowhere", ErrNotStarted, index, journal.JobName(job)[:10])
}

// How often and how patiently a provider is asked again that is busy.
const (
	busyTries = 8
	busyPause = 200 * time.Millisecond
)

// enter opens one stream into what runs at r. Errors: ErrEnded, ErrNotStarted,
// ErrCannotEnter, ErrNoProgram, ErrNoListener, ErrUnknownLease (the provider has
// forgotten it), or what keeps us from the provider.
func (c *Client) enter(ctx context.Context, r *residence, ask enter.Request) (*enter.Entered, error) {
	if r.row.State == journal.StateClosed && ask.Events == nil {
		return nil, fmt.Errorf("%w: lease %s is closed", ErrEnded, r.name())
	}
	if err := c.Connect(); err != nil {
		return nil, err
	}
	o, err := c.reopenOrder(r.row)
	if err != nil {
		return nil, err
	}
	id, err := p2p.PeerIDFromNode(r.row.Node)
	if err != nil {
		return nil, err
	}
	info, err := p2p.ParseAddrInfo(id, r.row.Addrs)
	if err != nil {
		info = peer.AddrInfo{ID: id} // the registry may know better addresses
	}
	ask.LeaseID, ask.Access, ask.Task = r.row.LeaseID, o.access, r.task
	if err := ask.Validate(); err != nil {
		return nil, err
	}
	for try := 1; ; try++ {
		e, err := enter.Open(ctx, c.host, c.located(info), ask)
		refused := new(p2p.RefusedError)
		if !errors.As(err, &refused) {
			if err != nil && try == 1 && ctx.Err() == nil {
				c.peers.ready(ctx) // it may have moved: the registry knows
				continue
			}
			if err != nil && ctx.Err() == nil {
				err = fmt.Errorf("lease %s at %s: %w", r.name(), r.row.Moniker, err)
			}
			return e, err
		}
		if refused.Refusal.Subject != enter.SubjectBusy || try == busyTries {
			return nil, notEntered(r.name(), &refused.Refusal)
		}
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-time.After(busyPause):
		}
	}
}

// notEntered is a refusal as an error that callers can branch on.
func notEntered(lease string, r *p2p.Refusal) error {
	kind := map[string]error{
		enter.SubjectEnded: ErrEnded, enter.SubjectTask: ErrEnded, enter.SubjectNotStarted: ErrNotStarted, enter.SubjectRuntime: ErrCannotEnter,
		enter.SubjectProgram: ErrNoProgram, enter.SubjectPort: ErrNoListener, enter.SubjectLease: ErrUnknownLease, enter.SubjectAccess: ErrNotOurs,
	}[r.Subject]
	if kind == nil {
		return fmt.Errorf("lease %s: the provider refused: %s", lease, r.Hint)
	}
	return &enterError{kind, fmt.Sprintf("lease %s: %s", lease, r.Hint)}
}

// enterError says in the provider's words what kind of error it is.
type enterError struct {
	kind error
	text string
}

func (e *enterError) Error() string { return e.text }
func (e *enterError) Unwrap() error { return e.kind }
