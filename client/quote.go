package client

import (
	"context"
	"encoding/hex"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/moyai-network/moyai/client/chain"
	"github.com/moyai-network/moyai/mechanism/amount"
	"github.com/moyai-network/moyai/p2p"
)

// quoteTimeout bounds a round of quotes.
const quoteTimeout = 5 * time.Second

// Quote asks every reachable provider what the job would cost; it reserves
// nothing and costs nothing. Only the job's resources, constraints, Timeout and
// MaxPrice matter; without MaxPrice there is no ceiling and the denomination is
// the base one. Quotes come first, cheapest first, then refusals.
// ErrNoProviders if nobody could be asked.
func (c *Client) Quote(ctx context.Context, job Job) ([]Quote, error) {
	job.EnsureDefaults()
	var ceiling amount.Rate
	if job.MaxPrice.PerSeconds > 0 {
		var err error
		if ceiling, err = job.MaxPrice.Rate(); err != nil {
			return nil, fmt.Errorf("%w: price ceiling: %w", ErrBadJob, err)
		}
	}
	if err := c.Connect(); err != nil {
		return nil, err
	}
	_, listed := c.peers.ready(ctx)
	if listed == 0 && len(c.unlisted()) == 0 {
		return nil, noProviders(0)
	}
	ctx, cancel := context.WithTimeout(ctx, quoteTimeout)
	defer cancel()
	return c.quotes(ctx, &job, ceiling)
}

func (c *Client) quotes(ctx context.Context, job *Job, ceiling amount.Rate) ([]Quote, error) {
	machines := c.peers.all()
	if len(machines) > maxPeers {
		machines = machines[:maxPeers]
	}
	machines = append(machines, c.unlisted()...)
	denom := job.MaxPrice.Denom
	if denom == "" {
		denom = baseDenom
	}
	req := p2p.QuoteRequest{
		Kind: "compute", KindVersion: 1, Quantities: job.quantities(0), Constraints: job.constraints(""),
		Denom: denom, MaxRate: ceiling, TimeoutMS: uint64(job.Timeout.Milliseconds()),
	}
	out := make([]Quote, len(machines))
	var wg sync.WaitGroup
	for i, m := range machines {
		wg.Go(func() { out[i] = c.quote(ctx, m, req) })
	}
	wg.Wait()
	slices.SortStableFunc(out, compareQuotes)
	return out, nil
}

func (c *Client) quote(ctx context.Context, m machine, req p2p.QuoteRequest) Quote {
	q := Quote{Provider: m.Operator, Moniker: m.moniker, Node: hex.EncodeToString(m.Node.Node), Denom: req.Denom}
	reply, err := c.host.Quote(ctx, m.info, req)
	if err != nil {
		q.Refusals = []string{"no answer: " + err.Error()}
		return q
	}
	if reply.Denom != "" {
		q.Denom = reply.Denom
	}
	q.Rate, q.EstimatedStartMS = reply.Rate, reply.EstimatedStartMS
	if q.Provider == "" {
		c.introduce(&q, reply)
	}
	for i := range reply.Misses {
		q.Refusals = append(q.Refusals, reply.Misses[i].String())
	}
	if len(q.Refusals) == 0 {
		q.Price = priceText(q.Rate, q.Denom)
	}
	return q
}

// introduce fills in of a newcomer's quote what the registry would have told.
func (c *Client) introduce(q *Quote, reply p2p.QuoteReply) {
	q.New, q.Moniker = true, reply.Moniker
	record, err := openRecord(c.chain.ChainID(), reply.Record)
	if err != nil || hex.EncodeToString(record.Node) != q.Node {
		q.Refusals = append(q.Refusals, "is not registered, and has no record to be registered by")
		return
	}
	q.Provider = chain.Address(record.Provider)
}

func compareQuotes(a, b Quote) int {
	if (len(a.Refusals) == 0) != (len(b.Refusals) == 0) {
		if len(a.Refusals) == 0 {
			return -1
		}
		return 1
	}
	if d := a.Rate.Cmp(b.Rate); d != 0 {
		return d
	}
	return strings.Compare(a.Node, b.Node)
}
