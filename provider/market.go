package provider

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/moyai-network/moyai/compute/manifest"
	"github.com/moyai-network/moyai/mechanism/amount"
	"github.com/moyai-network/moyai/mechanism/lease"
	"github.com/moyai-network/moyai/mechanism/match"
	"github.com/moyai-network/moyai/p2p"
	"github.com/moyai-network/moyai/p2p/gossip"
	"github.com/moyai-network/moyai/provider/journal"
	"github.com/moyai-network/moyai/provider/leasing"
	"github.com/moyai-network/moyai/provider/slots"
	"github.com/moyai-network/moyai/wire"
)

// bidStream is the provider's end of a bid stream, as *p2p.OfferedBid.
type bidStream interface {
	AwaitChoice(ctx context.Context) (p2p.Choice, error)
	SendReady(ready []byte) error
	Refuse(r p2p.Refusal) error
	AwaitClose(ctx context.Context) error
	Close()
}

// stall answers orders: it matches, books a slot, signs a bid, and, if chosen,
// checks the manifest and promises.
type stall struct {
	d        *desk
	cfg      *Config
	tariff   tariff
	operator []byte // account
	offer    func(ctx context.Context, tenant peer.AddrInfo, offer p2p.BidOffer) (bidStream, error)
	tip      func() tip
	log      *slog.Logger

	market atomic.Pointer[lease.Params] // nil until the chain told them
	bond   atomic.Pointer[amount.Amount]
	// record is what bids carry while the chain does not know this machine.
	record atomic.Pointer[[]byte]
	closed atomic.Pointer[p2p.Refusal] // why nothing is bid now; nil: bidding
	owned  atomic.Pointer[string]      // why the owner has the machine; nil: it is lent
	paused atomic.Bool

	mu      sync.Mutex
	talking map[[32]byte]struct{} // orders being negotiated
	slots   chan struct{}         // semaphore: negotiations at once
}

const (
	maxNegotiations = 256
	// ownedHint tells tenants no more than they need: what the owner does is
	// nobody's business.
	ownedHint = "its owner does not lend this machine just now"
	// blind is how long the chain may be out of sight before bidding stops: a bid's
	// life is counted in block time.
	blind = 15 * time.Second
)

func newStall(d *desk, cfg *Config, operator []byte, tip func() tip) *stall {
	return &stall{
		d: d, cfg: cfg, tariff: newTariff(cfg), operator: operator, tip: tip, log: cfg.Logger,
		talking: map[[32]byte]struct{}{}, slots: make(chan struct{}, maxNegotiations),
	}
}

// run answers orders until ctx ends.
func (m *stall) run(ctx context.Context, sub *gossip.Subscription) error {
	var wg sync.WaitGroup
	defer wg.Wait()
	for {
		o, err := sub.Next(ctx)
		if err != nil {
			if ctx.Err() != nil {
				return nil
			}
			return fmt.Errorf("listen for orders: %w", err)
		}
		select {
		case m.slots <- struct{}{}:
		default:
			continue // somebody else's order then; the tenant hears from others
		}
		wg.Go(func() {
			defer func() { <-m.slots }()
			m.answer(ctx, o)
		})
	}
}

func (m *stall) answer(ctx context.Context, o gossip.Order) {
	if !m.begin(o.Signed.Digest) {
		return
	}
	defer m.end(o.Signed.Digest)
	tenant, err := o.Announce.AddrInfo()
	if err != nil {
		m.log.Debug("order from nowhere", "err", err)
		return
	}
	ctx, cancel := context.WithTimeout(ctx, m.cfg.BidLife+time.Minute)
	defer cancel()
	if err := m.negotiate(ctx, o.Signed, tenant, o.Announce.Addrs, o.Announce.Hints...); err != nil && ctx.Err() == nil {
		m.log.Debug("no lease from this order", "order", fmt.Sprintf("%x", o.Signed.Digest[:8]), "err", err)
	}
}

func (m *stall) begin(order [32]byte) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	if _, ok := m.talking[order]; ok || m.d.findOrder(order) != nil {
		return false
	}
	m.talking[order] = struct{}{}
	return true
}

func (m *stall) end(order [32]byte) {
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.talking, order)
}

// errRefused: the tenant was told why not.
var errRefused = errors.New("order refused")

func (m *stall) negotiate(ctx context.Context, order wire.Signed[wire.Order], tenant peer.AddrInfo, addrs []string, hints ...p2p.Hint) error {
	a, offer, err := m.bid(order)
	if err != nil {
		return err
	}
	offer.CachedBytes, offer.LoadMS = m.d.pantry.estimate(hints)
	if a == nil {
		stream, err := m.offer(ctx, tenant, offer)
		if err == nil {
			stream.Close()
			err = fmt.Errorf("%w: %s", errRefused, offer.Refusals[0].String())
		}
		return err
	}
	a.row.Tenant = journal.Tenant{Peer: tenant.ID.String(), Addrs: addrs}
	stream, err := m.offer(ctx, tenant, offer)
	if err != nil {
		m.d.slots.Free(a.row.ID)
		return err
	}
	defer stream.Close()
	if err := m.promise(ctx, a, stream); err != nil {
		// No Ready has left, so nothing can be opened on this bid.
		m.d.slots.Free(a.row.ID)
		return err
	}
	return stream.AwaitClose(ctx)
}

// promise waits to be chosen, judges the manifest, and hands the agreement over;
// its first event journals it and only then sends Ready.
func (m *stall) promise(ctx context.Context, a *agreement, stream bidStream) error {
	choice, err := stream.AwaitChoice(ctx)
	if err != nil {
		return err
	}
	body := choice.Manifest
	refuse := func(r p2p.Refusal) error {
		_ = stream.Refuse(r)
		return fmt.Errorf("%w: %s", errRefused, r.String())
	}
	if hash := manifest.SpecHash(body); !bytes.Equal(hash[:], a.order.SpecHash) {
		return refuse(p2p.Refusal{Subject: "manifest", Hint: "its hash is not the one in the order"})
	}
	if err := a.setManifest(body); err != nil {
		return refuse(p2p.Refusal{Subject: "manifest", Hint: p2p.Printable(err.Error(), p2p.MaxText, false)})
	}
	if r, bad := m.d.suits(a.man, a.order); bad {
		return refuse(r)
	}
	bid, err := wire.Open[wire.Bid](m.d.chainID, a.row.Bid)
	if err != nil {
		return err
	}
	ready, err := wire.Seal(wire.Ready{
		Version: wire.Version1, ChainID: m.d.chainID, BidHash: bid.Digest[:], Manifest: a.order.SpecHash,
	}, m.d.signer)
	if err != nil {
		return err
	}
	a.row.Ready = ready.Bytes()
	a.state.Terms.Array = a.man.Array
	if a.man.KeepResultsMS > 0 {
		a.state.Terms.KeepMS = a.man.KeepResultsMS
	}
	a.sendReady = func() error { return stream.SendReady(a.row.Ready) }
	if !m.d.add(a) {
		return refuse(p2p.Refusal{Subject: "busy", Hint: "the provider is stopping"})
	}
	a.post(leasing.Promised{Likely: choice.Place == 0})
	return nil
}

// bid makes a firm bid and its agreement, or the refusals to send instead.
func (m *stall) bid(order wire.Signed[wire.Order]) (*agreement, p2p.BidOffer, error) {
	o := order.Value
	offer := p2p.BidOffer{OrderHash: order.Digest[:], Moniker: p2p.Printable(m.cfg.Moniker, p2p.MaxID, false)}
	tip := m.tip()
	if r, no := m.refusal(order, tip); no {
		offer.Refusals = []p2p.Refusal{r}
		return nil, offer, nil
	}
	need := wire.NeedView(o)
	result := m.tariff.match(need, m.d.slots.Largest())
	if !result.OK {
		offer.Refusals = refusals(result.Misses)
		return nil, offer, nil
	}
	bid := wire.Bid{
		Version: wire.Version1, ChainID: m.d.chainID, OrderHash: order.Digest[:], Payer: o.Payer,
		Provider: m.operator, Node: m.d.node, Rate: result.Rate, Denom: o.Terms.Denom,
		GraceMS:   min(o.Terms.MaxGraceMS, uint64(m.cfg.Grace.Milliseconds())),
		NoticeMS:  uint64(m.cfg.Owner.Notice.Milliseconds()),
		ExpiresAt: unixMS(tip.time.Add(m.cfg.BidLife)),
	}
	if p := m.market.Load(); p != nil {
		bid.GraceMS = min(bid.GraceMS, p.MaxGraceMS)
		bid.ExpiresAt = min(bid.ExpiresAt, unixMS(tip.time)+int64(p.MaxBidLifeMS))
	}
	a, err := m.book(order, bid)
	if errors.Is(err, slots.ErrFull) {
		// What is free fits each dimension, but not in one slot or not for this payer again.
		offer.Refusals = []p2p.Refusal{{Subject: "busy", Hint: "everything that is free is bid: try again in half a minute, or ask for less"}}
		return nil, offer, nil
	}
	if err != nil {
		return nil, offer, err
	}
	offer.Bid, offer.Record = a.row.Bid, m.joining()
	return a, offer, nil
}

// book reserves the slot and signs, in that order: the generation is on disk
// before there is a bid that names it.
func (m *stall) book(order wire.Signed[wire.Order], bid wire.Bid) (*agreement, error) {
	var signed wire.Signed[wire.Bid]
	pair, id, err := m.d.slots.Book(string(order.Value.Payer), quantities(order.Value.Quantities),
		func(pair slots.Pair) (slots.Holder, error) {
			bid.Slot, bid.Generation = pair.Slot, pair.Generation
			var err error
			signed, err = wire.Seal(bid, m.d.signer)
			return wire.LeaseID(order.Digest, signed.Digest), err
		})
	if err != nil {
		return nil, err
	}
	terms := lease.TermsOf(wire.OrderView(order), wire.BidView(signed))
	state, _ := leasing.New(leasing.Terms{
		TimeoutMS: terms.TimeoutMS, GraceMS: terms.GraceMS, MaxUnackedMS: terms.MaxUnackedMS, OfflineMS: terms.OfflineMS,
		KeepMS: uint64(m.cfg.KeepResults.Milliseconds()), AckWaitMS: uint64(m.cfg.AckWait.Milliseconds()),
		NoticeMS: bid.NoticeMS,
	})
	a, err := newAgreement(m.d, journal.Lease{
		ID: id, OrderHash: order.Digest, Slot: pair.Slot, Generation: pair.Generation,
		Order: order.Body, Bid: signed.Bytes(), State: state,
	})
	if err != nil {
		m.d.slots.Free(id)
	}
	return a, err
}

// joining is the record by which this machine joins with its first lease; nil
// once the chain knows it.
func (m *stall) joining() []byte {
	if r := m.record.Load(); r != nil {
		return *r
	}
	return nil
}

// silence is why no order gets a bid now, and what tenants are told; "": bids
// are made.
func (m *stall) silence(t tip) (Cause, p2p.Refusal) {
	switch {
	case m.paused.Load():
		return CausePaused, p2p.Refusal{Subject: "busy", Hint: "this provider takes no new work"}
	case m.closed.Load() != nil:
		return CauseMembership, *m.closed.Load()
	case m.owned.Load() != nil:
		return CauseOwner, p2p.Refusal{Subject: "busy", Hint: ownedHint}
	case m.d.diskFull():
		return CauseDisk, p2p.Refusal{Subject: "disk", Hint: errDisk.Error()}
	case m.market.Load() == nil || t.height == 0 || time.Since(t.seen) > blind:
		return CauseChain, p2p.Refusal{Subject: "chain", Hint: "this provider has lost sight of the chain"}
	}
	return "", p2p.Refusal{}
}

// refusal is why this order gets no bid whatever is free.
func (m *stall) refusal(order wire.Signed[wire.Order], t tip) (p2p.Refusal, bool) {
	if cause, r := m.silence(t); cause != "" {
		return r, true
	}
	params := m.market.Load()
	if err := lease.CheckOrder(*params, wire.OrderView(order), unixMS(t.time)); err != nil {
		return p2p.Refusal{Subject: "order", Hint: p2p.Printable(err.Error(), p2p.MaxText, false)}, true
	}
	if r, no := m.d.gpus.refusal(order.Value); no {
		return r, true
	}
	var bond amount.Amount
	if b := m.bond.Load(); b != nil {
		bond = *b
	}
	return m.cfg.house(order.Value, bond)
}

// quote answers what something would cost. It reserves nothing.
func (m *stall) quote(_ context.Context, _ peer.ID, q p2p.QuoteRequest) (p2p.QuoteReply, error) {
	need := match.Need{
		Kind: q.Kind, KindVersion: q.KindVersion, Denom: q.Denom, MaxRate: q.MaxRate, AnyRate: q.MaxRate.IsZero(),
	}
	for _, n := range q.Quantities {
		need.Quantities = append(need.Quantities, match.Quantity{Dimension: n.Dimension, Amount: n.Amount})
	}
	for _, c := range q.Constraints {
		need.Constraints = append(need.Constraints, match.Constraint{Attribute: c.Attribute, Op: c.Op, Value: c.Value})
	}
	result := m.tariff.match(need, m.d.slots.Largest())
	reply := p2p.QuoteReply{
		Rate: result.Rate, Denom: m.tariff.denom, Moniker: p2p.Printable(m.cfg.Moniker, p2p.MaxID, false),
		Misses: refusals(result.Misses), Record: m.joining(),
	}
	// A price can be told without sight of the chain; a bid cannot be made.
	if cause, r := m.silence(m.tip()); cause != "" && cause != CauseChain {
		reply.Misses = append(reply.Misses, r)
	}
	if len(reply.Misses) > 16 {
		reply.Misses = reply.Misses[:16]
	}
	return reply, nil
}
