package client

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	marketv1 "github.com/moyai-network/moyai/api/moyai/market/v1"
	"github.com/moyai-network/moyai/client/chain"
	"github.com/moyai-network/moyai/client/journal"
	"github.com/moyai-network/moyai/mechanism/amount"
	"github.com/moyai-network/moyai/mechanism/lease"
)

const (
	readyTimeout = 3 * time.Second
	// readyGrace is how long the first choice waits for the others' word: they
	// answer within the same round trip or not in time.
	readyGrace = 2 * time.Millisecond
	// buyAttempts: a bid may be gone by the time the chain sees it.
	buyAttempts = 3
)

// bought is a lease that exists.
type bought struct {
	order     *order
	candidate journal.Candidate
	tx        string
	at        time.Time
}

// shopping is what one purchase needs to know of its job.
type shopping struct {
	c       *Client
	jobID   []byte
	job     *Job
	program *program
	held    map[string]uint64 // leases of the job by operator
	avoid   map[string]bool   // operators that failed it: last resort
	emit    func(Event)
	// backedOut is why a provider that had bid would not serve after all.
	backedOut atomic.Pointer[error]
}

// choice is an order with its candidates, best first.
type choice struct {
	order *order
	bids  []*bid
	ready [][]byte // signed wire.Ready of each bid; nil while unknown
}

// buy opens up to k leases, at least one, or says why none.
func (s *shopping) buy(ctx context.Context, k int) ([]bought, error) {
	var last error
	for range buyAttempts {
		got, err := s.once(ctx, k)
		if err == nil || !errors.Is(err, ErrNotOpened) {
			return got, err
		}
		last = err
		s.emit(Event{Kind: EventWarning, Text: err.Error() + "; asking again"})
	}
	return nil, last
}

func (s *shopping) once(ctx context.Context, k int) ([]bought, error) {
	c := s.c
	params, err := c.marketParams(ctx)
	if err != nil {
		return nil, err
	}
	rules := leaseParams(params)
	connected, listed := c.peers.ready(ctx)
	s.emit(Event{Kind: EventReached, Count: connected})
	if connected == 0 {
		return nil, noProviders(listed)
	}
	began := time.Now()
	orders := make([]*order, k)
	for i := range orders {
		if orders[i], err = c.newOrder(s.jobID, s.job, s.program, params.MaxOrderLifeMs); err != nil {
			return nil, err
		}
	}
	money := make(chan balanceReply, 1)
	go func() { money <- c.balances(ctx) }() // beside the bids, not after them
	col, err := c.collect(ctx, orders, rules, connected, began, s.emit)
	if err != nil {
		return nil, err
	}
	choices := s.choose(orders, col)
	if len(choices) == 0 {
		col.close(nil)
		return nil, s.explain(ctx, col, <-money, params)
	}
	keep := map[*bid]bool{}
	for _, ch := range choices {
		for _, b := range ch.bids {
			keep[b] = true
		}
	}
	col.close(keep)
	defer col.close(nil)
	fees, err := s.firstFees(ctx, choices)
	if err != nil {
		return nil, err
	}
	if err := s.afford(<-money, choices, params, c.sender.Address(), fees); err != nil {
		return nil, err
	}
	if choices = s.gatherReady(ctx, choices); len(choices) == 0 {
		why := ErrNoBid
		if err := s.backedOut.Load(); err != nil {
			why = *err
		}
		return nil, fmt.Errorf("%w: every provider chosen backed out before it had started: %w", ErrNotOpened, why)
	}
	return s.open(ctx, choices)
}

func noProviders(listed int) error {
	if listed == 0 {
		return fmt.Errorf("%w: none is registered on this chain", ErrNoProviders)
	}
	return fmt.Errorf("%w: %d are registered, none answers at its address; check your network", ErrNoProviders, listed)
}

// explain turns a collection without bids into the error people need.
func (s *shopping) explain(ctx context.Context, col *collection, money balanceReply, params marketv1.Params) error {
	if err := s.penniless(money, params); err != nil {
		return err
	}
	if p := s.job.Place; p != nil {
		err := fmt.Errorf("%w: %s is at %s, which makes none now", ErrNoBid, strings.Join(p.Volumes, ", "), p.Name)
		for _, r := range col.refusals {
			if r.Moniker == p.Name || r.Provider == p.Name {
				err = fmt.Errorf("%w\n  %s", err, r.String())
			}
		}
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, quoteTimeout)
	defer cancel()
	unlimited := *s.job
	unlimited.MaxPrice.Amount = amount.Amount{}
	quotes, err := s.c.quotes(ctx, &unlimited, amount.Rate{})
	if err == nil {
		for _, q := range quotes { // cheapest first
			if len(q.Refusals) == 0 && q.Rate.Cmp(s.program.ceiling) > 0 {
				return &TooDearError{Ceiling: s.program.ceiling, Lowest: q.Rate, Denom: q.Denom, Refusals: col.refusals}
			}
			if len(q.Refusals) > 0 {
				col.addRefusal(ProviderRefusal{Provider: q.Provider, Moniker: q.Moniker, Reasons: q.Refusals})
			}
		}
	}
	if len(col.refusals) == 0 {
		return fmt.Errorf("%w: nobody answered within %s", ErrNoBid, s.c.cfg.BidTimeout)
	}
	return &RefusedError{Refusals: col.refusals}
}

func refusalText(refusals []marketv1.Refusal) string {
	if len(refusals) == 0 {
		return "the chain gave no reason"
	}
	texts := make([]string, len(refusals))
	for i, r := range refusals {
		texts[i] = (&chain.Error{Code: chain.Code{Codespace: r.Codespace, Code: r.Code}, Text: r.Text}).Error()
	}
	return strings.Join(slices.Compact(texts), "; ")
}

// leaseParams are the governed limits as the rules want them.
func leaseParams(p marketv1.Params) lease.Params {
	return lease.Params{
		WindowMS: p.WindowMs, MaxTimeoutMS: p.MaxTimeoutMs, MaxGraceMS: p.MaxGraceMs, MaxUnackedMS: p.MaxUnackedMs,
		MaxBidLifeMS: p.MaxBidLifeMs, MaxOrderLifeMS: p.MaxOrderLifeMs, SkewMS: p.SkewMs, MaxCandidates: int(p.MaxCandidates),
	}
}

func priceText(r amount.Rate, denom string) string { return amount.FormatRate(r, denom) }
