package client

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/moyai-network/moyai/client/chain"
	"github.com/moyai-network/moyai/client/journal"
	"github.com/moyai-network/moyai/mechanism/amount"
	"github.com/moyai-network/moyai/mechanism/lease"
	"github.com/moyai-network/moyai/p2p/enter"
)

// Whose word a Happening is.
const (
	SourceTenant   = "tenant"   // this home's own journal
	SourceChain    = "chain"    // the chain; times are its money clock's, and a little off where it halted
	SourceProvider = "provider" // the provider's account, by its clock
)

// Happening is one thing that happened to a lease.
type Happening struct {
	Time   time.Time `json:"time"`
	Source string    `json:"source"`
	Kind   string    `json:"kind"`
	Text   string    `json:"text"`
}

// LeaseEvents tells what happened to a lease, as the tenant's journal, the chain and
// its provider have it, oldest first; with follow it goes on with what the provider
// tells until the lease is closed there or ctx ends (which is no error). A provider
// that cannot be asked is told of as a Happening.
func (c *Client) LeaseEvents(ctx context.Context, name string, follow bool, fn func(Happening)) error {
	r, err := c.residence(ctx, name)
	if err != nil {
		return err
	}
	known := c.ownHappenings(r.row)
	onChain, err := c.chainHappenings(ctx, r.row)
	if err != nil {
		return err
	}
	known = append(known, onChain...)
	if follow {
		return c.followHappenings(ctx, r, known, fn)
	}
	err = c.tellEvents(ctx, r, false, func(h Happening) { known = append(known, h) })
	slices.SortStableFunc(known, func(a, b Happening) int { return a.Time.Compare(b.Time) })
	for _, h := range known {
		fn(h)
	}
	if err != nil && ctx.Err() == nil {
		fn(Happening{Time: time.Now(), Source: SourceProvider, Kind: "silent", Text: err.Error()})
	}
	return nil
}

// followHappenings puts what is known already between what the provider tells, and
// then goes on with the latter.
func (c *Client) followHappenings(ctx context.Context, r *residence, known []Happening, fn func(Happening)) error {
	slices.SortStableFunc(known, func(a, b Happening) int { return a.Time.Compare(b.Time) })
	flush := func(until time.Time) {
		for len(known) > 0 && !known[0].Time.After(until) {
			fn(known[0])
			known = known[1:]
		}
	}
	err := c.tellEvents(ctx, r, true, func(h Happening) {
		flush(h.Time)
		fn(h)
	})
	flush(time.Now().Add(time.Hour)) // clocks differ
	if ctx.Err() != nil {
		return nil //nolint:nilerr // the end of ctx is how following ends
	}
	return err
}

// tellEvents is the provider's account.
func (c *Client) tellEvents(ctx context.Context, r *residence, follow bool, fn func(Happening)) error {
	e, err := c.enter(ctx, r, enter.Request{Events: &enter.Events{Follow: follow}})
	if err != nil {
		return err
	}
	defer e.Close()
	defer context.AfterFunc(ctx, func() { _ = e.Close() })()
	for {
		n, err := e.Entry()
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if err != nil {
			return fmt.Errorf("lease %s at %s: %w", r.name(), r.row.Moniker, err)
		}
		if n.End {
			return nil
		}
		fn(Happening{Time: time.UnixMilli(n.At), Source: SourceProvider, Kind: n.Kind, Text: n.Text})
	}
}

// ownHappenings are what this home wrote down.
func (c *Client) ownHappenings(row journal.Lease) (out []Happening) {
	tell := func(at time.Time, kind, format string, args ...any) {
		if !at.IsZero() {
			out = append(out, Happening{at, SourceTenant, kind, fmt.Sprintf(format, args...)})
		}
	}
	tell(row.Created, "ordered", "job %s", journal.JobName(row.Job))
	rate, err := amount.ParseRate(row.Rate)
	if err == nil {
		tell(row.Opened, "opened", "with %s at %s", row.Moniker, priceText(rate, baseDenom))
	}
	tell(row.Started, "started", "the start receipt was countersigned")
	if signed, err := c.openReceipt(row.Receipt); err == nil && len(row.Receipt) > 0 && row.State == journal.StateOpen {
		tell(time.Now(), "receipt", "countersigned up to %s", time.Duration(signed.Value.ElapsedMS)*time.Millisecond)
	}
	return out
}

// chainHappenings are what the chain still knows.
func (c *Client) chainHappenings(ctx context.Context, row journal.Lease) (out []Happening, err error) {
	clock, err := c.chain.MeterClock(ctx)
	if err != nil {
		return nil, err
	}
	l, err := c.chain.Lease(ctx, row.LeaseID)
	if errors.Is(err, chain.ErrNotFound) {
		return nil, nil // forgotten there
	}
	if err != nil {
		return nil, err
	}
	tell := func(meter uint64, kind, format string, args ...any) {
		if meter > 0 {
			at := time.UnixMilli(clock.LastBlockMs - int64(clock.NowMs-min(meter, clock.NowMs)))
			out = append(out, Happening{at, SourceChain, kind, fmt.Sprintf(format, args...)})
		}
	}
	tell(l.OpenedAt, "opened", "%s %s locked", l.Hold, l.Denom)
	tell(l.SettlingAt, "settling", "one side closed alone: the window runs")
	if p := l.Settlement; p != nil {
		tell(l.ClosedAt, "closed", "%s; %s billed, %s %s to the provider, %s back",
			lease.Reason(l.Reason), time.Duration(p.BilledMs)*time.Millisecond, p.Provider, l.Denom, p.Refunded)
	}
	return out, nil
}
