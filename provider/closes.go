package provider

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	marketv1 "github.com/moyai-network/moyai/api/moyai/market/v1"
	"github.com/moyai-network/moyai/client/chain"
	"github.com/moyai-network/moyai/provider/journal"
	"github.com/moyai-network/moyai/provider/leasing"
	"github.com/moyai-network/moyai/wire"
)

// closes is the counter at which moves are handed in. Whatever waits while
// transactions are under way shares the next one. A move is tried until the chain
// took it, refused it for good, or the lease closed some other way.
type closes struct {
	d        *desk
	hot      sender // pays gas for what anybody may send
	operator sender // one-sided closes need the party itself; nil if its key is not here
	ask      func(journal.ID)

	mu      sync.Mutex
	pending map[moveKey]*pendingMove
	order   []moveKey // first come, first served
	wake    chan struct{}
	flights chan struct{} // semaphore: transactions under way
}

type moveKey struct {
	id   journal.ID
	move leasing.Move
}

type pendingMove struct {
	a         *agreement
	inFlight  bool
	notBefore time.Time
	tries     int
}

const (
	maxCloseItems = 32 // below the market's max_items, and a transaction stays small
	maxFlights    = 4
)

func newCloses(d *desk, hot, operator sender, ask func(journal.ID)) *closes {
	return &closes{
		d: d, hot: hot, operator: operator, ask: ask,
		pending: map[moveKey]*pendingMove{}, wake: make(chan struct{}, 1), flights: make(chan struct{}, maxFlights),
	}
}

// Submit implements counter.
func (c *closes) Submit(a *agreement, move leasing.Move) {
	c.mu.Lock()
	defer c.mu.Unlock()
	k := moveKey{a.row.ID, move}
	if _, ok := c.pending[k]; ok {
		return
	}
	c.pending[k] = &pendingMove{a: a}
	c.order = append(c.order, k)
	c.nudge()
}

// Forget implements counter.
func (c *closes) Forget(id journal.ID) {
	c.mu.Lock()
	defer c.mu.Unlock()
	kept := c.order[:0]
	for _, k := range c.order {
		if k.id == id {
			delete(c.pending, k)
			continue
		}
		kept = append(kept, k)
	}
	c.order = kept
}

func (c *closes) nudge() {
	select {
	case c.wake <- struct{}{}:
	default:
	}
}

func (c *closes) run(ctx context.Context) error {
	var wg sync.WaitGroup
	defer wg.Wait()
	timer := time.NewTicker(time.Second) // for what waits for its time
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-c.wake:
		case <-timer.C:
		}
		for {
			batch, by := c.gather()
			if len(batch) == 0 {
				break
			}
			select {
			case c.flights <- struct{}{}:
			case <-ctx.Done():
				return nil
			}
			wg.Go(func() {
				defer func() { <-c.flights; c.nudge() }()
				c.send(ctx, by, batch)
			})
		}
	}
}

// gather takes what may go now in one transaction of one sender.
func (c *closes) gather() ([]moveKey, sender) {
	c.mu.Lock()
	defer c.mu.Unlock()
	var batch []moveKey
	var by sender
	now := time.Now()
	for _, k := range c.order {
		p := c.pending[k]
		if p.inFlight || now.Before(p.notBefore) || len(batch) >= maxCloseItems {
			continue
		}
		s := c.hot
		if k.move == leasing.MoveOneSided {
			if s = c.operator; s == nil {
				p.notBefore = now.Add(time.Minute)
				c.d.alert("operator-key", "warning",
					"a lease must be closed one-sidedly, which needs the operator's key in this keyring; without it the lease ends when its hold runs dry")
				continue
			}
		}
		if by != nil && by != s {
			continue
		}
		by, p.inFlight = s, true
		batch = append(batch, k)
	}
	return batch, by
}

func (c *closes) send(ctx context.Context, by sender, batch []moveKey) {
	msg := &marketv1.MsgCloseLeases{Sender: by.Address()}
	var sent []moveKey
	for _, k := range batch {
		c.mu.Lock()
		p := c.pending[k]
		c.mu.Unlock()
		if p == nil {
			continue // the lease closed meanwhile
		}
		item, err := p.a.closeItem(k.move)
		if err != nil {
			c.d.log.Error("cannot make a close", "lease", fmt.Sprintf("%x", k.id), "move", k.move.String(), "err", err)
			c.settle(k, err.Error())
			continue
		}
		msg.Items = append(msg.Items, item)
		sent = append(sent, k)
	}
	if len(sent) == 0 {
		return
	}
	res, err := by.CloseLeases(ctx, msg)
	if err != nil {
		c.failed(ctx, by, sent, err)
		return
	}
	resp, ok := chain.Response[*marketv1.MsgCloseLeasesResponse](res)
	if !ok || len(resp.Results) != len(sent) {
		c.failed(ctx, by, sent, errors.New("the chain's answer does not fit the question"))
		return
	}
	c.d.log.Info("closes committed", "tx", res.TxHash, "items", len(sent), "height", res.Height)
	for i, k := range sent {
		c.result(k, resp.Results[i].Refusal)
	}
}

// failed: the transaction as a whole came to nothing; all of it stays to be done.
func (c *closes) failed(ctx context.Context, by sender, sent []moveKey, err error) {
	if ctx.Err() != nil {
		return
	}
	c.d.log.Warn("closes not committed", "items", len(sent), "err", err)
	if errors.Is(err, chain.CodeInsufficientFunds) || errors.Is(err, chain.ErrNoAccount) {
		c.d.alert("gas", "error", fmt.Sprintf("account %s cannot pay for closing leases: send it some %s", by.Address(), chain.BaseDenom))
	}
	for _, k := range sent {
		c.later(k)
		c.ask(k.id)
	}
}

// later tries a move again, less often the longer it fails.
func (c *closes) later(k moveKey) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if p := c.pending[k]; p != nil {
		p.inFlight = false
		p.tries++
		p.notBefore = time.Now().Add(min(time.Second<<min(p.tries, 5), 30*time.Second))
	}
}

// settle drops a move: done, or with a text refused for good.
func (c *closes) settle(k moveKey, refused string) {
	c.mu.Lock()
	p := c.pending[k]
	delete(c.pending, k)
	kept := c.order[:0]
	for _, o := range c.order {
		if o != k {
			kept = append(kept, o)
		}
	}
	c.order = kept
	c.mu.Unlock()
	if p != nil && refused != "" {
		p.a.post(leasing.Refused{Move: k.move, Text: refused, Now: p.a.d.now()})
	}
}

// Codes of the market that say something about time or order of events rather
// than about the proof. They are registered once and never change.
const (
	marketSpace = "market"

	codeUnknownLease     = 70
	codeClosed           = 73
	codeNotOpen          = 74
	codeNotSettling      = 75
	codeWindowOver       = 76
	codeBeyondMeter      = 83
	codeReceiptBackwards = 84
	codeAlreadyClaimed   = 87
	codeNothingToClaim   = 88
)

func (c *closes) result(k moveKey, refusal *marketv1.Refusal) {
	if refusal == nil {
		c.settle(k, "")
		return
	}
	c.d.log.Info("close refused", "lease", fmt.Sprintf("%x", k.id), "move", k.move.String(), "code", refusal.Code, "text", refusal.Text)
	switch code := refusal.Code; {
	case refusal.Codespace == marketSpace && code == codeBeyondMeter:
		c.later(k) // the chain stood still for a while; its clock will get there
	case refusal.Codespace == marketSpace && overtaken(code):
		c.settle(k, "")
		c.ask(k.id)
	default:
		c.settle(k, refusal.Text)
		c.ask(k.id)
	}
}

// overtaken: somebody else's step came first, and the chain's state says what is
// left to do.
func overtaken(code uint32) bool {
	switch code {
	case codeUnknownLease, codeClosed, codeNotOpen, codeNotSettling, codeWindowOver,
		codeReceiptBackwards, codeAlreadyClaimed, codeNothingToClaim:
		return true
	}
	return false
}

// closeItem is the proof of a move, made from the journalled state at the moment
// it is sent.
func (a *agreement) closeItem(move leasing.Move) (marketv1.CloseItem, error) {
	s := a.snapshot()
	item := marketv1.CloseItem{LeaseId: a.row.ID[:]}
	var err error
	// An Away goes along only where the proof leans on it: the chain charges for
	// every signature it is shown.
	alone := func(r leasing.Receipt) {
		item.Away = s.Away
		item.Proof, err = a.sealed(r)
	}
	switch move {
	case leasing.MoveFinal:
		item.Action = marketv1.CloseAction_CLOSE_ACTION_FINAL
		switch {
		case s.Acked != nil && s.Acked.Final:
			item.Proof = s.Acked.Bytes
		case s.Final != nil:
			alone(*s.Final)
		default:
			err = errors.New("there is no final receipt")
		}
	case leasing.MoveOneSided:
		item.Action, item.Reason = marketv1.CloseAction_CLOSE_ACTION_ONE_SIDED, uint32(s.Reason)
		if e, ok := s.Evidence(); ok && len(e.Bytes) > 0 {
			item.Proof = e.Bytes
		} else if ok {
			alone(e.Receipt)
		} // else nothing ever started, and there is nothing to show
	case leasing.MoveReceipt:
		item.Action = marketv1.CloseAction_CLOSE_ACTION_RECEIPT
		if e, ok := s.Evidence(); ok && len(e.Bytes) > 0 {
			item.Proof = e.Bytes
		} else if ok {
			alone(e.Receipt)
		} else {
			err = errors.New("there is no receipt to show")
		}
	case leasing.MoveClaim:
		item.Action = marketv1.CloseAction_CLOSE_ACTION_CLAIM
		var claim wire.Signed[wire.Claim]
		claim, err = wire.Seal(wire.Claim{
			Version: wire.Version1, ChainID: a.d.chainID, LeaseID: a.row.ID[:], ElapsedMS: s.ElapsedMS,
		}, a.d.signer)
		item.Proof = claim.Bytes()
	default:
		err = fmt.Errorf("unknown move %s", move)
	}
	return item, err
}

func (a *agreement) sealed(r leasing.Receipt) ([]byte, error) {
	signed, err := wire.Seal(a.receipt(r), a.d.signer)
	if err != nil {
		return nil, err
	}
	return signed.Bytes(), nil
}
