package client

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/moyai-network/moyai/client/chain"
	"github.com/moyai-network/moyai/client/journal"
	"github.com/moyai-network/moyai/mechanism/amount"
	"github.com/moyai-network/moyai/mechanism/lease"
	"github.com/moyai-network/moyai/mechanism/match"
	"github.com/moyai-network/moyai/mechanism/receipt"
	"github.com/moyai-network/moyai/p2p"
	"github.com/moyai-network/moyai/wire"
)

const (
	// skewMS is how far a provider's counter may be ahead of our own clock.
	skewMS = 3000
	// silence is how long a running lease may say nothing: receipts come every
	// second.
	silence = 4 * time.Second
	// orphanAfter is how long a provider may be out of reach before its index is
	// given to another; the lease itself is kept for Config.LostAfter.
	orphanAfter = 6 * time.Second
	// startSlack is added to the grace before a lease counts as never started.
	startSlack     = 5 * time.Second
	reconcileEvery = 5 * time.Second
)

// tenancy is one lease in our care. Its fields belong to the run's loop; stay and
// the writer are goroutines that only post and send.
type tenancy struct {
	r    *run
	o    *order
	row  journal.Lease
	name string
	info peer.AddrInfo
	rate amount.Rate
	log  *logPositions

	ctx    context.Context
	cancel context.CancelFunc
	watch  func() // ends the chain watch

	stream *p2p.LeaseStream
	out    chan<- p2p.LeaseMessage

	assigned map[uint64]bool
	noMore   bool
	stopAt   time.Time // when an end was asked for

	acked   *wire.Signed[wire.Receipt] // last countersigned
	started time.Time
	awayMS  uint64
	// awayHeard is closed and forgotten once the provider answers our SignAway.
	awayHeard chan struct{}
	heard     time.Time // last sign of life
	since     time.Time // when our care began
	talked    bool      // the provider has said something on this stream
	told      bool      // its work was given to others
	noticed   bool      // the provider has said that it will end the work early

	final     time.Time // when the final receipt was countersigned
	settling  bool
	closed    bool
	closing   bool // a close of ours is under way
	oneSided  bool // we have shown our last receipt to the chain
	triedAt   time.Time
	checkedAt time.Time
	collectBy time.Time // closed, but the provider still owes word of an index
	ended     bool      // the provider has said End on this stream
	endText   string
	closeText string
}

func newTenancy(r *run, row journal.Lease, o *order) (*tenancy, error) {
	id, err := p2p.PeerIDFromNode(row.Node)
	if err != nil {
		return nil, err
	}
	info, err := p2p.ParseAddrInfo(id, row.Addrs)
	if err != nil {
		info = peer.AddrInfo{ID: id} // the registry may know better addresses
	}
	rate, err := amount.ParseRate(row.Rate)
	if err != nil {
		return nil, fmt.Errorf("journal: rate of lease %x: %w", row.LeaseID, err)
	}
	now := time.Now()
	t := &tenancy{
		r: r, o: o, row: row, name: leaseName(row.LeaseID), info: info, rate: rate, log: newLogPositions(),
		assigned: map[uint64]bool{}, started: row.Started, since: now, checkedAt: now,
	}
	if len(row.Receipt) > 0 {
		signed, err := r.c.openReceipt(row.Receipt)
		if err != nil {
			return nil, err
		}
		t.acked = &signed
		if signed.Value.Final {
			t.final = now
		}
	}
	if len(row.Away) > 0 {
		away, err := wire.Open[wire.Away](r.c.chain.ChainID(), row.Away)
		if err != nil {
			return nil, fmt.Errorf("journal: away of lease %s: %w", t.name, err)
		}
		t.awayMS = away.Value.UntilMS
	}
	t.ctx, t.cancel = context.WithCancel(r.ctx)
	return t, nil
}

func (c *Client) openReceipt(raw []byte) (wire.Signed[wire.Receipt], error) {
	signed, err := wire.Open[wire.Receipt](c.chain.ChainID(), raw)
	if err != nil {
		return signed, fmt.Errorf("journal: receipt: %w", err)
	}
	return signed, nil
}

func (t *tenancy) denom() string { return t.o.signed.Value.Terms.Denom }

// begin starts to talk to the provider and to watch the chain.
func (t *tenancy) begin() {
	t.watch = t.r.c.watchLease(t.row.LeaseID, func(e chain.Event) { t.r.post(func() { t.chainEvent(e) }) })
	t.r.background(t.stay)
}

// leave lets the lease go on without us.
func (t *tenancy) leave() {
	t.cancel()
	if t.watch != nil {
		t.watch()
	}
}

// accepts: more indices can be given to this lease.
func (t *tenancy) accepts() bool {
	return !t.closed && !t.settling && !t.closing && !t.noMore && t.final.IsZero() && t.stopAt.IsZero() && !t.told && !t.noticed
}

// busy: an index that nobody took back is running here.
func (t *tenancy) busy() bool {
	for i := range t.assigned {
		if k := t.r.tasks[i]; !k.Done && k.Lease == t.name {
			return true
		}
	}
	return false
}

func (t *tenancy) assign(index uint64) {
	k := t.r.tasks[index]
	k.Lease, k.Attempts = t.name, k.Attempts+1
	t.assigned[index] = true
	t.r.dropFromQueue(index)
	t.r.saveTask(k)
}

// deal gives the next waiting index, or says that there will be none.
func (t *tenancy) deal() {
	if t.r.job.Array == nil || t.started.IsZero() || !t.accepts() || t.busy() || t.stream == nil {
		return
	}
	if len(t.r.queue) > 0 {
		index := t.r.queue[0]
		t.assign(index)
		t.r.emit(Event{Kind: EventDealt, Lease: t.name, Provider: t.row.Provider, Moniker: t.row.Moniker, Task: index})
		t.say(&p2p.RunTask{Index: index})
		return
	}
	t.noMore = true
	t.say(&p2p.NoMoreTasks{})
}

func (t *tenancy) requestStop() {
	if t.closed || !t.stopAt.IsZero() {
		return
	}
	t.stopAt = time.Now()
	t.say(&p2p.Stop{})
}

// say sends on the stream if there is one; connected repeats what matters.
func (t *tenancy) say(m p2p.LeaseMessage) {
	if t.out == nil {
		return
	}
	select {
	case t.out <- m:
	default: // a peer that reads nothing for so long is as good as gone
		t.stream.Reset()
	}
}

// connected repeats to the provider what it may not have heard.
func (t *tenancy) connected(s *p2p.LeaseStream, out chan<- p2p.LeaseMessage) {
	t.stream, t.out, t.talked, t.ended = s, out, false, false
	t.sendSecrets()
	if t.awayMS > 0 {
		t.say(&p2p.SignAway{Away: t.row.Away})
	}
	if t.acked != nil {
		t.say(&p2p.Ack{Receipt: t.acked.Bytes()})
	}
	if t.r.job.Array != nil && !t.started.IsZero() {
		for i := range t.assigned {
			if k := t.r.tasks[i]; !k.Done && k.Lease == t.name {
				t.say(&p2p.RunTask{Index: i})
			}
		}
		if t.noMore {
			t.say(&p2p.NoMoreTasks{})
		}
	}
	if !t.stopAt.IsZero() {
		t.say(&p2p.Stop{})
	}
}

func (t *tenancy) disconnected(s *p2p.LeaseStream, err error) {
	if t.stream != s {
		return
	}
	t.stream, t.out = nil, nil
	if t.talked && !t.ended && !t.closed && t.final.IsZero() {
		t.r.emit(Event{Kind: EventLost, Lease: t.name, Moniker: t.row.Moniker, Text: err.Error()})
	}
}

// message takes one message of the provider.
func (t *tenancy) message(m p2p.LeaseMessage) {
	t.heard, t.talked, t.told = time.Now(), true, false
	switch m := m.(type) {
	case *p2p.Propose:
		t.propose(m)
	case *p2p.Log:
		if data := t.log.take(m); len(data) > 0 {
			t.r.emit(Event{Kind: EventLog, Lease: t.name, Task: m.Task, Stream: int(m.Stream), Data: data})
		}
	case *p2p.TaskDone:
		t.r.taskDone(t, m)
		if t.collecting() && !t.owes() {
			t.finish()
		}
	case *p2p.Status:
		if m.State == p2p.StateAway {
			t.heardAway()
			return
		}
		t.pulled(m.Image)
		t.isolated(m.Isolation)
		if m.State == stateRunning {
			t.r.feedStdin(t)
		}
		t.notice(m)
		if m.Total > 0 {
			t.r.emit(Event{Kind: EventLoading, Lease: t.name, Moniker: t.row.Moniker, Bytes: min(m.Loaded, m.Total), Total: m.Total})
			return
		}
		t.r.emit(Event{Kind: EventStatus, Lease: t.name, Moniker: t.row.Moniker, Text: statusText(m)})
	case *p2p.End:
		t.endText, t.ended = m.Text, true
		if t.collecting() {
			t.finish()
			return
		}
		t.r.orphan(t, fmt.Sprintf("%s ended the lease: %s %s", t.row.Moniker, lease.Reason(m.Reason), m.Text))
	}
}

// notice takes the provider's word that it will end the work early, or will not
// after all. Nothing more is dealt to it meanwhile.
func (t *tenancy) notice(m *p2p.Status) {
	given := m.EndInMS > 0
	if given == t.noticed || m.State == stateStopping || m.State == stateEnded {
		return
	}
	t.noticed = given
	e := Event{Kind: EventNotice, Lease: t.name, Provider: t.row.Provider, Moniker: t.row.Moniker, MS: m.EndInMS, Text: m.Text}
	t.r.emit(e)
}

// isolated takes the provider's word how far the work is kept from its machine.
func (t *tenancy) isolated(tier string) {
	if tier == "" || tier == t.row.Isolation {
		return
	}
	t.row.Isolation = tier
	if err := t.r.c.journal.SetIsolation(context.WithoutCancel(t.r.ctx), t.row.OrderHash, tier); err != nil {
		t.warn("the isolation tier could not be written down: " + err.Error())
	}
	need := match.Need{AnyRate: true}
	for _, c := range wire.NeedView(t.o.signed.Value).Constraints {
		if c.Attribute == attrIsolation {
			need.Constraints = append(need.Constraints, c)
		}
	}
	if r := match.Match(need, match.Offer{Attributes: []match.Attribute{{Key: attrIsolation, Value: tier}}}); !r.OK {
		t.r.c.host.Strike(t.info.ID, errors.New("runs the work at another isolation tier than was ordered"))
		t.warn("it runs the work at isolation " + tier + ", which is not what was ordered")
	}
}

// attrIsolation is what nodes declare their tiers as.
const attrIsolation = "isolation"

// heardAway: the provider knows that we leave, and all we said before.
func (t *tenancy) heardAway() {
	if t.awayHeard != nil {
		close(t.awayHeard)
		t.awayHeard = nil
	}
}

func statusText(m *p2p.Status) string {
	if m.Text == "" {
		return m.State
	}
	return m.State + ": " + m.Text
}

// propose countersigns a receipt if the rules and our own clock allow it.
func (t *tenancy) propose(m *p2p.Propose) {
	signed, err := wire.Open[wire.Receipt](t.r.c.chain.ChainID(), m.Receipt)
	if err == nil {
		err = signed.VerifyBy(t.row.Node)
	}
	if err == nil && !bytes.Equal(signed.Value.LeaseID, t.row.LeaseID) {
		err = errors.New("it is for another lease")
	}
	if err != nil {
		t.r.c.host.Strike(t.info.ID, err)
		t.warn("a receipt cannot be used: " + err.Error())
		return
	}
	if t.acked != nil && signed.Digest == t.acked.Digest {
		t.say(&p2p.Ack{Receipt: t.acked.Bytes()}) // our answer was lost
		return
	}
	if t.oneSided {
		return // a higher receipt than the one we showed would cost us the difference twice
	}
	if err := t.mayAck(wire.ReceiptView(signed.Value)); err != nil {
		t.warn("not signed: " + err.Error())
		return
	}
	both, err := wire.Seal(signed.Value, t.o.key)
	if err == nil {
		both, err = withSignatures(both, signed.Sigs)
	}
	if err == nil {
		err = t.remember(both)
	}
	if err != nil {
		t.warn("receipt not signed: " + err.Error())
		return
	}
	t.say(&p2p.Ack{Receipt: both.Bytes()})
	t.acknowledged(both.Value)
}

func withSignatures(s wire.Signed[wire.Receipt], sigs []wire.Signature) (wire.Signed[wire.Receipt], error) {
	var err error
	for _, sig := range sigs {
		if s, err = s.WithSignature(sig); err != nil {
			return s, err
		}
	}
	return s, nil
}

// mayAck is the countersigner's rule: mechanism's, and what our clock has seen.
func (t *tenancy) mayAck(next receipt.Receipt) error {
	if t.acked == nil {
		if next.Final && next.ElapsedMS == 0 {
			return nil // it never started: nothing is owed
		}
		return receipt.Start(next)
	}
	prev := wire.ReceiptView(t.acked.Value)
	if err := receipt.NextAllowed(prev, next, t.awayMS, t.o.signed.Value.Terms.MaxUnackedMS); err != nil {
		return err
	}
	return receipt.Plausible(next, uint64(max(0, time.Since(t.started).Milliseconds())), skewMS)
}

// remember journals a receipt before its countersignature leaves: to show the
// chain an older one later would cost us the difference twice.
func (t *tenancy) remember(both wire.Signed[wire.Receipt]) error {
	ctx := context.WithoutCancel(t.r.ctx)
	if t.acked == nil {
		now := time.Now()
		if err := t.r.c.journal.SetStarted(ctx, t.row.OrderHash, both.Bytes(), now); err != nil {
			return err
		}
		t.started = now
	} else if err := t.r.c.journal.SetReceipt(ctx, t.row.OrderHash, both.Bytes()); err != nil {
		return err
	}
	t.acked = &both
	return nil
}

func (t *tenancy) acknowledged(v wire.Receipt) {
	if v.Sequence == 0 && !v.Final {
		t.r.emit(Event{Kind: EventStarted, Lease: t.name, Provider: t.row.Provider, Moniker: t.row.Moniker})
		return
	}
	cost, err := t.rate.AccrueFloor(v.ElapsedMS)
	if err != nil {
		cost = amount.Amount{}
	}
	t.r.emit(Event{Kind: EventReceipt, Lease: t.name, Moniker: t.row.Moniker, MS: v.ElapsedMS, Amount: cost.String()})
	if v.Final {
		t.final = time.Now()
		t.r.emit(Event{Kind: EventClosing, Lease: t.name, MS: v.ElapsedMS, Text: lease.Reason(v.Reason).String()})
	}
}

func (t *tenancy) warn(text string) {
	t.r.emit(Event{Kind: EventWarning, Lease: t.name, Provider: t.row.Provider, Moniker: t.row.Moniker, Text: text})
}
