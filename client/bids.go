package client

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/moyai-network/moyai/client/chain"
	"github.com/moyai-network/moyai/mechanism/lease"
	"github.com/moyai-network/moyai/p2p"
	"github.com/moyai-network/moyai/wire"
)

const (
	maxBidsPerOrder = 128
	listenWait      = 300 * time.Millisecond
	// minBidLeft is how long a bid must still be good for to be worth opening.
	minBidLeft = 2 * time.Second
	// gossipWait is how long an order that nobody we know bids on may travel.
	gossipWait = 600 * time.Millisecond
	// arrayWindow is how much longer an array job waits for orders without a bid.
	arrayWindow = 150 * time.Millisecond
)

// bid is a verified offer with the stream it came on.
type bid struct {
	signed   wire.Signed[wire.Bid]
	received *p2p.ReceivedBid
	provider string // operator address
	moniker  string
	peer     peer.ID
	leaseID  [20]byte
	loadMS   uint64 // the provider's estimate
	record   []byte // of a newcomer, by which its first lease registers it
}

func (b *bid) name() string {
	if b.moniker != "" {
		return b.moniker
	}
	return b.provider
}

type slotKey struct {
	node       [32]byte
	slot       uint32
	generation uint64
}

func (b *bid) slot() slotKey {
	v := b.signed.Value
	return slotKey{[32]byte(v.Node), v.Slot, v.Generation}
}

// receiveBid is the host's handler: it passes an answer to whoever waits for the
// order's bids, and drops it if nobody does.
func (c *Client) receiveBid(_ context.Context, b *p2p.ReceivedBid) {
	c.mu.Lock()
	to := c.bids[[32]byte(b.Offer.OrderHash)]
	c.mu.Unlock()
	select {
	case to <- b: // a nil channel is never ready
	default:
		b.Close()
	}
}

// verifyBid checks everything about a bid that needs no ready.
func (c *Client) verifyBid(o *order, b *p2p.ReceivedBid, params lease.Params) (*bid, error) {
	signed, err := wire.Open[wire.Bid](c.chain.ChainID(), b.Offer.Bid)
	if err != nil {
		return nil, err
	}
	v := signed.Value
	node, err := p2p.NodeFromPeerID(b.Peer())
	if err != nil {
		return nil, err
	}
	if !bytes.Equal(node, v.Node) {
		return nil, fmt.Errorf("bid by another node than the one that speaks: %w", wire.ErrWrongKey)
	}
	if err := wire.VerifyBid(signed); err != nil {
		return nil, err
	}
	if err := checkBid(params, o, signed, c.chain.Now().Add(minBidLeft).UnixMilli()); err != nil {
		return nil, err
	}
	record, err := c.newcomer(o, b, v)
	if err != nil {
		return nil, err
	}
	return &bid{
		signed: signed, received: b, provider: chain.Address(v.Provider), moniker: b.Offer.Moniker,
		peer: b.Peer(), leaseID: wire.LeaseID(o.signed.Digest, signed.Digest), loadMS: b.Offer.LoadMS, record: record,
	}, nil
}

// checkBid runs the chain's own rule with the ready that an honest node would
// give, so a bid the chain must refuse is never paid for.
func checkBid(params lease.Params, o *order, signed wire.Signed[wire.Bid], nowMS int64) error {
	view := wire.BidView(signed)
	ready := lease.ReadyView{
		Version: lease.Version1, ChainID: o.signed.Value.ChainID,
		BidHash: view.Hash[:], Manifest: o.signed.Value.SpecHash,
	}
	last := uint64(0)
	if view.Generation > 0 {
		last = view.Generation - 1 // only the chain knows the slot's last one
	}
	return lease.CheckPair(params, wire.OrderView(o.signed), view, ready, nowMS, last)
}

// collection is what came back for a set of orders.
type collection struct {
	bids     [][]*bid // per order
	refusals []ProviderRefusal
}

// close tells every bidder that is not in keep that it was not chosen.
func (col *collection) close(keep map[*bid]bool) {
	for _, list := range col.bids {
		for _, b := range list {
			if !keep[b] {
				b.received.Close()
			}
		}
	}
}

// arrival is an answer with the order it belongs to.
type arrival struct {
	order int
	bid   *p2p.ReceivedBid
}

// collect announces the orders and gathers answers until every provider reached
// has answered every order, or a short while after the first bid, or until
// nobody can be expected to answer any more.
func (c *Client) collect(ctx context.Context, orders []*order, params lease.Params, reached int, began time.Time, emit func(Event)) (*collection, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	arrivals := make(chan arrival)
	for i, o := range orders {
		in := make(chan *p2p.ReceivedBid, maxBidsPerOrder)
		c.mu.Lock()
		c.bids[o.signed.Digest] = in
		c.mu.Unlock()
		go forward(ctx, i, in, arrivals)
		defer c.stopBids(o.signed.Digest)
	}
	reached, err := c.announce(ctx, orders, reached)
	if err != nil {
		return nil, err
	}
	emit(Event{Kind: EventAnnounced, Count: len(orders), Time: began})

	col := &collection{bids: make([][]*bid, len(orders))}
	w := newWindow(c.cfg.BidTimeout, c.cfg.BidWindow, reached, len(orders))
	defer w.stop()
	for !w.over(col) {
		select {
		case <-ctx.Done():
			col.close(nil)
			return nil, ctx.Err()
		case <-w.timer.C:
			if w.expired(col) {
				return col, nil
			}
		case a := <-arrivals:
			w.answered(a)
			if c.admit(col, orders[a.order], a, params, emit) {
				w.bid()
			}
		}
	}
	return col, nil
}

// announce publishes the orders and returns how many listeners they reached. A
// provider is known to listen one round trip after it was connected, so the first
// order waits a moment for all who are.
func (c *Client) announce(ctx context.Context, orders []*order, connected int) (listeners int, err error) {
	for i, o := range orders {
		wait, cancel := context.WithTimeout(ctx, listenWait)
		if i > 0 {
			connected = 1
		}
		n, err := c.orders.Publish(wait, c.announcement(o), connected)
		cancel()
		if err != nil {
			return 0, fmt.Errorf("%w: none of those connected listens for orders: %w", ErrNoProviders, err)
		}
		listeners = max(listeners, n)
	}
	return listeners, nil
}

func forward(ctx context.Context, i int, in <-chan *p2p.ReceivedBid, out chan<- arrival) {
	for {
		select {
		case b := <-in:
			select {
			case out <- arrival{i, b}:
			case <-ctx.Done():
				b.Close()
			}
		case <-ctx.Done():
			return
		}
	}
}

func (c *Client) stopBids(digest [32]byte) {
	c.mu.Lock()
	delete(c.bids, digest)
	c.mu.Unlock()
}

// admit verifies one answer and files it; it reports whether it is a usable bid.
func (c *Client) admit(col *collection, o *order, a arrival, params lease.Params, emit func(Event)) bool {
	from := a.bid.Peer()
	refuse := func(reasons ...string) {
		a.bid.Close()
		r := ProviderRefusal{Provider: c.peers.find(from).Operator, Moniker: a.bid.Offer.Moniker, Reasons: reasons}
		col.addRefusal(r)
		emit(Event{Kind: EventRefused, Provider: r.Provider, Moniker: r.Moniker, Text: r.String()})
	}
	if len(a.bid.Offer.Bid) == 0 {
		reasons := make([]string, len(a.bid.Offer.Refusals))
		for i := range a.bid.Offer.Refusals {
			reasons[i] = a.bid.Offer.Refusals[i].String()
		}
		refuse(reasons...)
		return false
	}
	b, err := c.verifyBid(o, a.bid, params)
	if err != nil {
		if errors.Is(err, wire.ErrBadSignature) || errors.Is(err, wire.ErrWrongKey) || errors.Is(err, wire.ErrNotCanonical) {
			c.host.Strike(from, err)
		}
		refuse("sent a bid that cannot be used: " + err.Error())
		return false
	}
	if len(col.bids[a.order]) >= maxBidsPerOrder {
		a.bid.Close()
		return false
	}
	for _, other := range col.bids[a.order] {
		if other.slot() == b.slot() {
			a.bid.Close() // the same place twice
			return false
		}
	}
	col.bids[a.order] = append(col.bids[a.order], b)
	emit(Event{Kind: EventBid, Provider: b.provider, Moniker: b.moniker, Price: priceText(b.signed.Value.Rate, b.signed.Value.Denom),
		Bytes: a.bid.Offer.CachedBytes, MS: a.bid.Offer.LoadMS, New: b.record != nil})
	return true
}

// addRefusal keeps one entry per provider: an array job asks each many times.
func (col *collection) addRefusal(r ProviderRefusal) {
	for _, have := range col.refusals {
		if have.Provider == r.Provider && have.Moniker == r.Moniker {
			return
		}
	}
	col.refusals = append(col.refusals, r)
}

// window decides when to stop waiting for bids.
type window struct {
	timer   *time.Timer
	short   time.Duration
	answers map[[2]any]bool // (order, peer) that answered
	want    int             // answers expected in all
	first   bool            // a bid has come
	longer  bool            // the extension for orders without a bid is spent
	beyond  bool            // waiting for those we are not connected to
}

func newWindow(timeout, short time.Duration, reached, orders int) *window {
	return &window{timer: time.NewTimer(timeout), short: short, answers: map[[2]any]bool{}, want: max(reached, 1) * orders}
}

func (w *window) stop() { w.timer.Stop() }

func (w *window) answered(a arrival) { w.answers[[2]any{a.order, a.bid.Peer()}] = true }

// over: everybody who was reached has answered everything. If nobody bids, those
// whom only the gossip reaches, newcomers, get a moment as well.
func (w *window) over(*collection) bool {
	if len(w.answers) < w.want {
		return false
	}
	if !w.first && !w.beyond {
		w.beyond = true
		w.timer.Reset(gossipWait)
	}
	return w.first
}

func (w *window) bid() {
	if !w.first {
		w.first = true
		w.timer.Reset(w.short)
	}
}

// expired tells whether the timer's end is the end, or an order of several still
// deserves a moment.
func (w *window) expired(col *collection) bool {
	if !w.first || w.longer {
		return true
	}
	for _, list := range col.bids {
		if len(list) == 0 {
			w.longer = true
			w.timer.Reset(arrayWindow)
			return false
		}
	}
	return true
}
