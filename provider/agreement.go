package provider

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/moyai-network/moyai/compute/manifest"
	"github.com/moyai-network/moyai/mechanism/lease"
	"github.com/moyai-network/moyai/provider/journal"
	"github.com/moyai-network/moyai/provider/leasing"
	"github.com/moyai-network/moyai/wire"
)

// agreement drives one lease: it feeds events to leasing.Step one at a time,
// journals, and then acts. Everything outside tells it what happened with post.
type agreement struct {
	d     *desk
	log   *slog.Logger
	row   journal.Lease // the immutable part; state below is the truth
	order wire.Order
	bid   wire.Bid
	man   manifest.Manifest
	job   *job
	meter meter
	mail  chan letter
	over  chan struct{} // closed once nothing is left to do
	// sendReady tells the tenant, if the bid stream is still there.
	sendReady func() error

	mu    sync.Mutex
	state leasing.State
	tasks []taskView    // in the order in which they were started
	ended bool          // End may be sent
	news  chan struct{} // closed and replaced when anything a session shows changed
	sess  map[*session]struct{}

	ports forwards
}

// taskView is what sessions show of a task.
type taskView struct {
	index   uint64
	outcome *leasing.Outcome // nil while it runs
	billed  uint64
}

func newAgreement(d *desk, row journal.Lease) (*agreement, error) {
	order, err := wire.OpenBody[wire.Order](d.chainID, row.Order)
	if err != nil {
		return nil, err
	}
	bid, err := wire.Open[wire.Bid](d.chainID, row.Bid)
	if err != nil {
		return nil, err
	}
	a := &agreement{
		d: d, row: row, order: order.Value, bid: bid.Value, state: row.State,
		log:  d.log.With("lease", fmt.Sprintf("%x", row.ID)),
		mail: make(chan letter, 256), over: make(chan struct{}), news: make(chan struct{}), sess: map[*session]struct{}{},
		sendReady: func() error { return nil },
	}
	if len(row.Manifest) > 0 {
		if err := a.setManifest(row.Manifest); err != nil {
			return nil, err
		}
	}
	return a, nil
}

func (a *agreement) setManifest(b []byte) error {
	man, err := manifest.Decode(b)
	if err != nil {
		return err
	}
	a.man, a.row.Manifest = man, b
	a.job = newJob(a)
	return nil
}

// loadTasks fills in how tasks ended before a restart.
func (a *agreement) loadTasks() error {
	done, err := a.d.journal.Tasks(a.d.ctx, a.row.ID)
	if err != nil {
		return err
	}
	for _, f := range done {
		a.tasks = append(a.tasks, taskView{index: f.Index, outcome: &f.Outcome, billed: a.state.ElapsedMS})
	}
	if t := a.state.Task; t != nil {
		a.tasks = append(a.tasks, taskView{index: *t})
	}
	return nil
}

// letter is an event on its way; taken, if not nil, is closed once the event was
// journalled (or needed no journal).
type letter struct {
	event leasing.Event
	taken chan struct{}
}

// post hands an event over; it waits while the agreement is busy and gives up
// when the daemon ends (the journal then says where to go on).
func (a *agreement) post(e leasing.Event) { a.send(letter{event: e}) }

// tell is post; the function it returns waits until the event can no longer be
// lost: it was journalled, or the agreement is over and needs it no more.
func (a *agreement) tell(e leasing.Event) (settled func(ctx context.Context) error) {
	l := letter{e, make(chan struct{})}
	a.send(l)
	return func(ctx context.Context) error {
		select {
		case <-l.taken:
			return nil
		case <-a.over:
			return nil
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

func (a *agreement) send(l letter) {
	select {
	case a.mail <- l:
	case <-a.over:
	case <-a.d.ctx.Done():
	}
}

// snapshot is the last journalled state.
func (a *agreement) snapshot() leasing.State {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.state
}

// unopened reports that no lease is known on this promise yet.
func (a *agreement) unopened() bool { return a.snapshot().Chain == leasing.ChainNone }

func (a *agreement) run(ctx context.Context) {
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	due := time.Now().Add(a.pulse())
	for !a.snapshot().Done() {
		// Letters must not put the look off: short tasks in quick succession would
		// never come to a receipt.
		if at := time.Now().Add(a.pulse()); at.Before(due) {
			due = at
		}
		timer.Reset(time.Until(due))
		select {
		case <-ctx.Done():
			return
		case l := <-a.mail:
			if a.take(ctx, l.event) && l.taken != nil {
				close(l.taken)
			}
		case <-timer.C:
			now := a.d.now()
			a.take(ctx, leasing.Tick{Elapsed: a.meter.elapsed(), Now: now})
			a.take(ctx, leasing.KeepOver{Now: now})
			due = time.Now().Add(a.pulse())
		}
	}
	a.d.remove(a)
	close(a.over)
	a.changed() // sessions end when they find nothing more to come
}

// receiptEvery is the rhythm of receipts.
const receiptEvery = time.Second

// pulse is how long nothing needs to be looked at.
func (a *agreement) pulse() time.Duration {
	s := a.snapshot()
	switch {
	case s.Work == leasing.WorkPreparing && s.NoticeBy != 0,
		s.Work == leasing.WorkStarting, s.Work == leasing.WorkRunning,
		s.Work == leasing.WorkEnded && s.Chain == leasing.ChainOpen:
		return a.d.receiptEvery
	case s.Work == leasing.WorkEnded && s.Chain == leasing.ChainClosed:
		left := time.Duration(s.KeepUntil-a.d.now()) * time.Millisecond
		return min(max(left, time.Millisecond), time.Hour)
	}
	return time.Hour
}

// take is the discipline: step, journal, act. False if the daemon ended before the
// event was journalled.
func (a *agreement) take(ctx context.Context, e leasing.Event) bool {
	before := a.snapshot()
	next, fx, err := leasing.Step(before, e)
	if err != nil {
		a.log.Debug("event refused", "event", fmt.Sprintf("%T", e), "err", err)
		return true
	}
	story := leasing.Story(before, next, e)
	if fx.Save && !a.save(ctx, before, next, fx.Finished, story) {
		return false // a restart resumes from the old state
	}
	a.install(next, fx.Finished)
	if !fx.Save {
		a.note(story...)
	}
	for _, action := range fx.Actions {
		a.act(ctx, action)
	}
	if !next.NeedsSlot() && next.Chain >= leasing.ChainSettling {
		a.d.slots.Retire(a.row.ID)
	}
	return true
}

// save writes the new state, trying again while the disk refuses: acting without
// the journal is not an option, and neither is forgetting what happened.
func (a *agreement) save(ctx context.Context, before, next leasing.State, done *leasing.Finished, story []leasing.Note) bool {
	for wait := 50 * time.Millisecond; ; wait = min(2*wait, 5*time.Second) {
		var err error
		if now := a.d.now(); before.Work == leasing.WorkOffered {
			row := a.row
			row.State, row.CreatedMS = next, now
			err = a.d.journal.Insert(ctx, row)
		} else {
			err = a.d.journal.Save(ctx, a.row.ID, next, done, now, story...)
		}
		if err == nil {
			return true
		}
		if ctx.Err() != nil || errors.Is(err, journal.ErrClosed) {
			return false
		}
		a.log.Error("journal refuses", "err", err)
		a.d.alert("journal", "error", "the journal cannot be written, nothing goes on: "+err.Error())
		select {
		case <-ctx.Done():
			return false
		case <-time.After(wait):
		}
	}
}

func (a *agreement) install(next leasing.State, done *leasing.Finished) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if t := next.Task; t != nil && !a.hasTask(*t) {
		a.tasks = append(a.tasks, taskView{index: *t})
	}
	a.state = next
	if done != nil {
		if !a.hasTask(done.Index) {
			a.tasks = append(a.tasks, taskView{index: done.Index})
		}
		for i := range a.tasks {
			if a.tasks[i].index == done.Index && a.tasks[i].outcome == nil {
				outcome := done.Outcome
				a.tasks[i].outcome, a.tasks[i].billed = &outcome, next.ElapsedMS
			}
		}
	}
	a.bump()
}

func (a *agreement) hasTask(index uint64) bool {
	for _, t := range a.tasks {
		if t.index == index {
			return true
		}
	}
	return false
}

// bump wakes the sessions; the lock is held.
func (a *agreement) bump() {
	close(a.news)
	a.news = make(chan struct{})
}

func (a *agreement) changed() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.bump()
}

// act begins one action. Whatever takes time happens on a goroutine of its own
// and comes back as an event.
func (a *agreement) act(ctx context.Context, action leasing.Action) {
	a.log.Debug("act", "action", action.String())
	switch action := action.(type) {
	case leasing.SendReady:
		a.d.wg.Go(func() { // a tenant that does not read must not hold up its agreement
			if err := a.sendReady(); err != nil {
				a.log.Info("ready not delivered", "err", err)
			}
		})
	case leasing.Prefetch:
		a.job.prefetch(ctx)
	case leasing.Prepare:
		a.d.slots.Lease(a.row.ID)
		a.job.prepare(ctx)
	case leasing.Propose:
		a.propose(action.Receipt)
	case leasing.StartClock:
		a.meter.start(action.ElapsedMS)
	case leasing.StopClock:
		a.meter.stop()
	case leasing.StartTask:
		a.job.start(ctx, action.Index)
	case leasing.StopTask:
		a.job.stop(ctx, action.Index)
	case leasing.RecoverTask:
		a.d.slots.Lease(a.row.ID)
		a.job.recover(ctx, action.Index)
	case leasing.SendStatus, leasing.SendTaskDone:
		a.changed() // sessions read the state themselves
	case leasing.SendEnd:
		a.mu.Lock()
		a.ended = true
		a.bump()
		a.mu.Unlock()
	case leasing.Submit:
		a.d.counter.Submit(a, action.Move)
	case leasing.Unsubmit:
		a.d.counter.Forget(a.row.ID)
	case leasing.FreeSlot:
		a.d.slots.Free(a.row.ID)
		a.d.gpus.free(a.row.ID)
		a.letGo(ctx)
		a.d.wg.Go(a.job.release) // waits for a preparation under way
	case leasing.Keep:
		a.job.keep(ctx)
	case leasing.Delete:
		a.d.wares.Withdraw(a.row.OrderHash)
		if a.job != nil {
			a.d.wg.Go(a.job.remove)
		}
	case leasing.Alert:
		a.d.alert(fmt.Sprintf("lease-%x", a.row.ID), "warning", fmt.Sprintf("lease %x: %s", a.row.ID, action.Text))
	}
}

// receipt is the wire form of the numbers.
func (a *agreement) receipt(r leasing.Receipt) wire.Receipt {
	out := wire.Receipt{
		Version: wire.Version1, ChainID: a.d.chainID, LeaseID: a.row.ID[:],
		Sequence: r.Sequence, ElapsedMS: r.ElapsedMS, Final: r.Final,
	}
	if r.Tasks > 0 {
		out.Counters = []wire.Quantity{{Dimension: "tasks", Amount: r.Tasks}}
	}
	if r.Final {
		out.Reason, out.Outputs = uint64(r.Reason), r.Outputs
	}
	return out
}

// numbers is the inverse of receipt.
func numbers(r wire.Receipt) leasing.Receipt {
	out := leasing.Receipt{
		Sequence: r.Sequence, ElapsedMS: r.ElapsedMS, Final: r.Final, Reason: lease.Reason(r.Reason), Outputs: r.Outputs,
	}
	for _, c := range r.Counters {
		if c.Dimension == "tasks" {
			out.Tasks = c.Amount
		}
	}
	return out
}

func (a *agreement) propose(r leasing.Receipt) {
	signed, err := wire.Seal(a.receipt(r), a.d.signer)
	if err != nil {
		a.log.Error("cannot sign a receipt", "err", err)
		return
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	for s := range a.sess {
		s.offer(signed.Bytes())
	}
}

// acknowledge verifies a countersigned receipt and takes it in.
func (a *agreement) acknowledge(b []byte) error {
	r, err := wire.Open[wire.Receipt](a.d.chainID, b)
	if err != nil {
		return err
	}
	if string(r.Value.LeaseID) != string(a.row.ID[:]) {
		return fmt.Errorf("receipt is for lease %x", r.Value.LeaseID)
	}
	byNode, byKey, err := wire.VerifyReceipt(r, a.d.node, a.order.Terms.ReceiptKey)
	if err != nil {
		return err
	}
	if !byNode || !byKey {
		return errors.New("receipt needs both signatures")
	}
	a.post(leasing.Acked{Now: a.d.now(), Receipt: leasing.Signed{
		Receipt: numbers(r.Value), Bytes: b,
	}})
	return nil
}

// leave verifies an advance countersignature and takes it in.
func (a *agreement) leave(ctx context.Context, b []byte) error {
	away, err := wire.Open[wire.Away](a.d.chainID, b)
	if err != nil {
		return err
	}
	if string(away.Value.LeaseID) != string(a.row.ID[:]) {
		return fmt.Errorf("away is for lease %x", away.Value.LeaseID)
	}
	if err := away.VerifyBy(a.order.Terms.ReceiptKey); err != nil {
		return err
	}
	a.job.stdin.finish() // whoever leaves types nothing more
	return a.tell(leasing.AwaySigned{UntilMS: away.Value.UntilMS, Bytes: b, Now: a.d.now()})(ctx)
}

// meter is the lease's monotonic clock.
type meter struct {
	mu    sync.Mutex
	on    bool
	base  uint64
	since time.Time // with its monotonic reading
}

func (m *meter) start(at uint64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.on, m.base, m.since = true, at, time.Now()
}

func (m *meter) stop() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.base, m.on = m.read(), false
}

func (m *meter) elapsed() uint64 {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.read()
}

func (m *meter) read() uint64 {
	if !m.on {
		return m.base
	}
	return m.base + uint64(time.Since(m.since).Milliseconds())
}
