package provider

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	marketv1 "github.com/moyai-network/moyai/api/moyai/market/v1"
	registryv1 "github.com/moyai-network/moyai/api/moyai/registry/v1"
	"github.com/moyai-network/moyai/client/chain"
	"github.com/moyai-network/moyai/mechanism/lease"
	"github.com/moyai-network/moyai/provider/journal"
	"github.com/moyai-network/moyai/provider/leasing"
	"github.com/moyai-network/moyai/wire"
)

// ledger is what the daemon reads from the chain. Errors that wrap
// chain.ErrNotFound are the chain's own word; every other error means that
// nothing is known.
type ledger interface {
	Height(ctx context.Context) (int64, error)
	// Follow reads block by block, without a gap, from a height (0: the next).
	Follow(from int64) follower
	Lease(ctx context.Context, id []byte) (*marketv1.Lease, error)
	MeterNow(ctx context.Context) (uint64, error)
	// Generation is the last one the chain has seen on a node's slot, 0 if none.
	Generation(ctx context.Context, node []byte, slot uint32) (uint64, error)
}

// follower is *chain.Follower.
type follower interface {
	Next(ctx context.Context) (*chain.Block, error)
}

// sender is an account that pays for closes.
type sender interface {
	Address() string
	CloseLeases(ctx context.Context, msg *marketv1.MsgCloseLeases) (*chain.Result, error)
}

// clientSender is sender and enroller over the chain client.
type clientSender struct{ *chain.Sender }

// CloseLeases implements sender.
func (s clientSender) CloseLeases(ctx context.Context, msg *marketv1.MsgCloseLeases) (*chain.Result, error) {
	return s.Send(ctx, msg)
}

// Register implements enroller.
func (s clientSender) Register(ctx context.Context, provider *registryv1.MsgRegisterProvider, node *registryv1.MsgSetNode) error {
	_, err := s.Send(ctx, provider, node)
	return err
}

// SetNode implements enroller.
func (s clientSender) SetNode(ctx context.Context, node *registryv1.MsgSetNode) error {
	_, err := s.Send(ctx, node)
	return err
}

// clientLedger is ledger over the chain client.
type clientLedger struct{ *chain.Client }

// Follow implements ledger.
func (c clientLedger) Follow(from int64) follower { return c.Client.Follow(from) }

// MeterNow implements ledger.
func (c clientLedger) MeterNow(ctx context.Context) (uint64, error) {
	clock, err := c.MeterClock(ctx)
	return clock.NowMs, err
}

// Generation implements ledger.
func (c clientLedger) Generation(ctx context.Context, node []byte, slot uint32) (uint64, error) {
	generation, _, err := c.Slot(ctx, node, slot)
	if errors.Is(err, chain.ErrNotFound) {
		return 0, nil
	}
	return generation, err
}

// watcher turns the chain's blocks into events of agreements. It reads without a
// gap, so a bid whose expiry has passed in block time and for which no lease was
// announced can never be opened any more; where there is a gap it asks.
type watcher struct {
	d      *desk
	ledger ledger

	mu   sync.Mutex
	tip  tip
	asks map[journal.ID]struct{} // leases to be asked about
	wake chan struct{}
}

// tip is the chain's head as last handled.
type tip struct {
	height int64
	time   time.Time // block time
	seen   time.Time // when this machine saw it
}

func newWatcher(d *desk, l ledger) *watcher {
	return &watcher{d: d, ledger: l, asks: map[journal.ID]struct{}{}, wake: make(chan struct{}, 1)}
}

func (w *watcher) now() tip {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.tip
}

const (
	// maxReplay is how many missed blocks are read one by one; beyond, asking
	// about each lease is cheaper.
	maxReplay = 500
	// rememberEvery is how often the height is journalled when nothing happens.
	rememberEvery = 50
)

func (w *watcher) run(ctx context.Context) error {
	for ctx.Err() == nil {
		err := w.follow(ctx)
		if ctx.Err() != nil {
			break
		}
		w.d.log.Warn("following the chain was interrupted", "err", err)
		select {
		case <-ctx.Done():
		case <-time.After(time.Second):
		}
	}
	return nil //nolint:nilerr // asked to end
}

// follow reads blocks until it cannot. It starts behind the last block handled,
// or at the head, asking about every lease, if that is too far back.
func (w *watcher) follow(ctx context.Context) error {
	from, err := w.d.journal.Height(ctx)
	if err != nil {
		return err
	}
	head, err := w.ledger.Height(ctx)
	if err != nil {
		return err
	}
	if from == 0 || head-from > maxReplay {
		from = head
	}
	// Questions asked before a crash are not journalled: ask again.
	for _, a := range w.d.all() {
		w.ask(a.row.ID)
	}
	blocks := w.ledger.Follow(from + 1)
	for {
		b, err := blocks.Next(ctx)
		if errors.Is(err, chain.ErrPruned) {
			// Start over at the head.
			if err := w.d.journal.SetHeight(ctx, 0); err != nil {
				return err
			}
			return err
		}
		if err != nil {
			return err
		}
		if err := w.block(ctx, b); err != nil {
			return err
		}
	}
}

func (w *watcher) block(ctx context.Context, b *chain.Block) error {
	var told []func(context.Context) error
	for _, e := range b.Typed() {
		if settled := w.event(e); settled != nil {
			told = append(told, settled)
		}
	}
	w.mu.Lock()
	w.tip = tip{height: b.Height, time: b.Time, seen: time.Now()}
	w.mu.Unlock()
	w.lapse(unixMS(b.Time))
	if len(told) == 0 && b.Height%rememberEvery != 0 {
		return nil
	}
	// Events may be handled twice, never not at all: the height is remembered after
	// every agreement has journalled what the block told it.
	for _, settled := range told {
		if err := settled(ctx); err != nil {
			return err
		}
	}
	return w.d.journal.SetHeight(ctx, b.Height)
}

// event hands one typed event to its agreement, if there is one, and returns how to
// wait until it cannot be lost.
func (w *watcher) event(e chain.Event) func(context.Context) error {
	switch m := e.Msg.(type) {
	case *marketv1.EventLeaseOpened:
		if string(m.Node) != string(w.d.node) {
			w.lost(m)
			return nil
		}
		a := w.lookup(m.LeaseId)
		if a == nil {
			w.d.alert(fmt.Sprintf("unknown-%x", m.LeaseId), "error", fmt.Sprintf(
				"lease %x was opened on this node and the journal does not know it: was the home restored from a backup, or is the node key used twice?", m.LeaseId))
			return nil
		}
		return a.tell(leasing.Opened{})
	case *marketv1.EventLeaseSettling:
		w.askIfOurs(m.LeaseId)
	case *marketv1.EventLeaseUpdated:
		w.askIfOurs(m.LeaseId)
	case *marketv1.EventLeaseClosed:
		a := w.lookup(m.LeaseId)
		if a == nil {
			return nil
		}
		return a.tell(closedSeen(a, m.Denom, &m.Settlement, m.Reason))
	}
	return nil
}

func (w *watcher) lookup(id []byte) *agreement {
	if len(id) != len(journal.ID{}) {
		return nil
	}
	return w.d.find(journal.ID(id))
}

func (w *watcher) askIfOurs(id []byte) {
	if a := w.lookup(id); a != nil {
		w.ask(a.row.ID)
	}
}

func closedSeen(a *agreement, denom string, s *marketv1.Settlement, reason uint32) leasing.ClosedSeen {
	paid := leasing.Settlement{Denom: denom, Provider: "0", Gross: "0", Reason: lease.Reason(reason)}
	if s != nil {
		paid.BilledMS, paid.Provider, paid.Gross, paid.Bounty = s.BilledMs, s.Provider, s.Gross, s.Bounty
	}
	return leasing.ClosedSeen{Settlement: paid, Elapsed: a.meter.elapsed(), Now: a.d.now()}
}

// lapse ends promises that the chain's clock has overtaken.
func (w *watcher) lapse(blockMS int64) {
	for _, a := range w.d.all() {
		if a.bid.ExpiresAt <= blockMS && a.unopened() && !w.asked(a.row.ID) {
			a.post(leasing.Lapsed{})
		}
	}
}

// lost ends the promise for an order that went to another: an order opens one
// lease, so its slot and what was prepared for it are free at once, not when the
// bid expires.
func (w *watcher) lost(m *marketv1.EventLeaseOpened) {
	if len(m.OrderHash) != wire.DigestSize {
		return
	}
	a := w.d.findOrder([wire.DigestSize]byte(m.OrderHash))
	if a != nil && a.unopened() && !w.asked(a.row.ID) {
		a.post(leasing.Lapsed{})
	}
}

// ask has the chain asked about a lease, until it answers.
func (w *watcher) ask(id journal.ID) {
	w.mu.Lock()
	w.asks[id] = struct{}{}
	w.mu.Unlock()
	select {
	case w.wake <- struct{}{}:
	default:
	}
}

func (w *watcher) asked(id journal.ID) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	_, ok := w.asks[id]
	return ok
}

// answer asks about one lease after another. An unreachable chain is asked again;
// it never counts as an answer.
func (w *watcher) answer(ctx context.Context) error {
	const patience = time.Second
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	audit := time.NewTicker(auditEvery)
	defer audit.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-w.wake:
		case <-timer.C:
		case <-audit.C:
			w.audit()
		}
		w.mu.Lock()
		ids := make([]journal.ID, 0, len(w.asks))
		for id := range w.asks {
			ids = append(ids, id)
		}
		w.mu.Unlock()
		timer.Reset(time.Hour)
		for _, id := range ids {
			if err := w.learn(ctx, id); err != nil {
				w.d.log.Debug("chain does not answer", "lease", fmt.Sprintf("%x", id), "err", err)
				timer.Reset(patience)
				continue
			}
			w.mu.Lock()
			delete(w.asks, id)
			w.mu.Unlock()
		}
	}
}

// auditEvery is how often leases whose work is over are asked about although no
// event came: money waits there, and an event that this version cannot read must
// not keep it waiting.
const auditEvery = 30 * time.Second

func (w *watcher) audit() {
	for _, a := range w.d.all() {
		if s := a.snapshot(); s.Work >= leasing.WorkStopping && (s.Chain == leasing.ChainOpen || s.Chain == leasing.ChainSettling) {
			w.ask(a.row.ID)
		}
	}
}

func (w *watcher) learn(ctx context.Context, id journal.ID) error {
	a := w.d.find(id)
	if a == nil {
		return nil
	}
	l, err := w.ledger.Lease(ctx, id[:])
	if errors.Is(err, chain.ErrNotFound) {
		w.absent(a)
		return nil
	}
	if err != nil {
		return err
	}
	a.post(leasing.Opened{})
	switch l.State {
	case marketv1.LeaseState_LEASE_STATE_SETTLING:
		meter, err := w.ledger.MeterNow(ctx)
		if err != nil {
			return err
		}
		a.post(leasing.SettlingSeen{
			Shown: leasing.Shown{
				Started: l.Started, AckedMS: l.AckedMs, Claimed: l.Claimed,
				// Claims are due in the first half of the window.
				ClaimEnd: l.SettlingAt + (l.WindowEndsAt-l.SettlingAt)/2,
				Window:   l.WindowEndsAt, ByPayer: lease.Party(l.ClosedBy) == lease.PartyPayer,
			},
			Elapsed: a.meter.elapsed(), Now: a.d.now(), MeterNow: meter,
		})
	case marketv1.LeaseState_LEASE_STATE_CLOSED:
		a.post(closedSeen(a, l.Denom, l.Settlement, l.Reason))
	}
	return nil
}

// absent: the chain itself says that there is no such lease. One that was open is
// closed and pruned by now; a promise lapses once its time is over (see lapse).
func (w *watcher) absent(a *agreement) {
	switch a.snapshot().Chain {
	case leasing.ChainOpen, leasing.ChainSettling:
		w.d.alert(fmt.Sprintf("pruned-%x", a.row.ID), "warning", fmt.Sprintf(
			"lease %x was settled and pruned while this provider was away: what it earned is known to an indexer only", a.row.ID))
		a.post(closedSeen(a, a.order.Terms.Denom, nil, 0))
	}
}
