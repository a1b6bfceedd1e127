package client

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	marketv1 "github.com/moyai-network/moyai/api/moyai/market/v1"
	"github.com/moyai-network/moyai/client/chain"
	"github.com/moyai-network/moyai/client/journal"
)

// JobState is what this home and the chain know of a job.
type JobState struct {
	ID    string
	Array *Array        // nil: one task
	Done  int           // tasks whose end was heard of here
	Kept  time.Duration // how long results stay at the provider after the end
	Ended time.Time     // when the last of the job's leases was closed; zero while one is not
}

// KeptUntil is when a job's results are deleted at its providers, zero while it
// has not ended.
func (s *JobState) KeptUntil() time.Time {
	if s.Ended.IsZero() {
		return time.Time{}
	}
	return s.Ended.Add(s.Kept)
}

// Job tells how a job of this home stands, without attending to it. Names are
// those of Attach.
func (c *Client) Job(ctx context.Context, name string) (*JobState, error) {
	id, err := c.find(ctx, name)
	if err != nil {
		return nil, err
	}
	job, err := c.loadJob(ctx, id)
	if err != nil {
		return nil, err
	}
	return c.jobState(ctx, id, &job)
}

func (c *Client) jobState(ctx context.Context, id []byte, job *Job) (*JobState, error) {
	s := &JobState{ID: journal.JobName(id), Array: job.Array, Kept: job.KeepResults}
	setDefault(&s.Kept, time.Hour) // of a job that an earlier version began
	err := c.journal.Tasks(ctx, id, func(_ uint64, raw json.RawMessage) error {
		var k task
		err := json.Unmarshal(raw, &k)
		if k.Done {
			s.Done++
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	s.Ended, err = c.ended(ctx, id)
	return s, err
}

// ended is when the last of a job's leases was closed, as far as the chain
// remembers: by its meter clock, which falls behind only while the chain stands
// still, so nothing is taken for deleted too early.
func (c *Client) ended(ctx context.Context, id []byte) (last time.Time, err error) {
	rows, err := c.journal.Leases(ctx, id)
	if err != nil {
		return last, err
	}
	clock, err := c.chain.MeterClock(ctx)
	if err != nil {
		return last, err
	}
	for _, row := range rows {
		if row.LeaseID == nil {
			continue
		}
		l, err := c.chain.Lease(ctx, row.LeaseID)
		switch {
		case errors.Is(err, chain.ErrNotFound):
			continue // pruned, a week after its end
		case err != nil:
			return time.Time{}, err
		case l.State != marketv1.LeaseState_LEASE_STATE_CLOSED:
			return time.Time{}, nil
		}
		ago := time.Duration(clock.NowMs-min(clock.NowMs, l.ClosedAt)) * time.Millisecond
		if at := c.chain.Now().Add(-ago); at.After(last) {
			last = at
		}
	}
	return last, nil
}

// expired is why a job cannot be returned to any more: it ended while nobody
// attended to it, and what it left has been deleted since. To buy it anew would
// not be to return to it.
func (c *Client) expired(ctx context.Context, id []byte, job *Job) error {
	saved, err := c.journal.JobByID(ctx, id)
	if err != nil || saved.Done {
		return err
	}
	s, err := c.jobState(ctx, id, job)
	if err != nil {
		return err
	}
	if until := s.KeptUntil(); until.IsZero() || c.chain.Now().Before(until) {
		return nil
	}
	return fmt.Errorf("%w: job %s ended at %s, and they were kept for %s", ErrResultGone, s.ID,
		s.Ended.Local().Format(time.DateTime), s.Kept)
}
