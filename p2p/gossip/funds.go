package gossip

import (
	"context"
	"sync"
	"time"

	"github.com/moyai-network/moyai/p2p/limit"
)

// fundsCache remembers answers of a FundsChecker and asks once for many messages
// of one payer that arrive together.
type fundsCache struct {
	ask FundsChecker
	ttl time.Duration
	now func() time.Time

	mu      sync.Mutex
	known   *limit.Table[string, answer]
	pending map[string]*question
}

type answer struct {
	funded bool
	until  time.Time
}

type question struct {
	done  chan struct{}
	funds Funds // valid once done is closed
}

func newFundsCache(ask FundsChecker, ttl time.Duration, now func() time.Time) *fundsCache {
	return &fundsCache{ask: ask, ttl: ttl, now: now, known: limit.NewTable[string, answer](maxTracked), pending: make(map[string]*question)}
}

// check returns nil if payer holds funds, errFunds or errUnknownFunds if not.
func (c *fundsCache) check(ctx context.Context, payer []byte) error {
	if c.ask == nil {
		return errUnknownFunds
	}
	f := c.lookup(ctx, string(payer))
	switch {
	case !f.Known:
		return errUnknownFunds
	case !f.Funded:
		return errFunds
	}
	return nil
}

func (c *fundsCache) lookup(ctx context.Context, payer string) Funds {
	c.mu.Lock()
	if a, ok := c.known.Get(payer); ok && c.now().Before(a.until) {
		c.mu.Unlock()
		return Funds{Funded: a.funded, Known: true}
	}
	q, asked := c.pending[payer]
	if !asked {
		q = &question{done: make(chan struct{})}
		c.pending[payer] = q
		// Not under ctx of the message that happened to come first: others wait for
		// the same answer.
		go c.answer(payer, q) //nolint:gosec // as the comment says
	}
	c.mu.Unlock()
	select {
	case <-q.done:
		return q.funds
	case <-ctx.Done():
		return Funds{}
	}
}

func (c *fundsCache) answer(payer string, q *question) {
	ctx, cancel := context.WithTimeout(context.Background(), fundsTimeout)
	defer cancel()
	q.funds = c.ask(ctx, []byte(payer))
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.pending, payer)
	if q.funds.Known {
		ttl := c.ttl
		if !q.funds.Funded {
			ttl = min(ttl, refusedTTL)
		}
		c.known.Put(payer, answer{q.funds.Funded, c.now().Add(ttl)})
	}
	close(q.done)
}
