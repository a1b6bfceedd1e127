package provider

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/moyai-network/moyai/compute"
	"github.com/moyai-network/moyai/compute/manifest"
	"github.com/moyai-network/moyai/mechanism/amount"
	"github.com/moyai-network/moyai/mechanism/lease"
	"github.com/moyai-network/moyai/p2p"
	"github.com/moyai-network/moyai/p2p/content"
	"github.com/moyai-network/moyai/provider/journal"
	"github.com/moyai-network/moyai/provider/leasing"
	"github.com/moyai-network/moyai/wire"
)

func start(t *testing.T, o harnessOptions) (*harness, context.Context) {
	t.Helper()
	h, err := newHarness(t.TempDir(), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(h.close)
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	t.Cleanup(cancel)
	return h, ctx
}

func (h *harness) mustRent(t *testing.T, ctx context.Context, n uint64, array bool) (*tenantStream, wire.Signed[wire.Order], [20]byte) {
	t.Helper()
	ten, order, id, err := h.rent(ctx, n, array)
	if err != nil {
		t.Fatal(err)
	}
	return ten, order, id
}

func (h *harness) mustAttach(t *testing.T, ctx context.Context, ten *tenantStream, order wire.Signed[wire.Order], id [20]byte) {
	t.Helper()
	if err := h.attach(ctx, ten, order.Digest, id); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(ten.Close)
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func (t *tenantStream) done0() []p2p.TaskDone {
	t.mu.Lock()
	defer t.mu.Unlock()
	return append([]p2p.TaskDone(nil), t.ends...)
}

func closedLease(h *harness, id string) func() bool {
	return func() bool { return h.w.leases()[id].Lease.State == lease.StateClosed }
}

func TestCooperativeLease(t *testing.T) {
	h, ctx := start(t, harnessOptions{keep: time.Hour, ackWait: time.Hour})
	ten, order, id := h.mustRent(t, ctx, 1, false)
	h.mustAttach(t, ctx, ten, order, id)
	must(t, eventually(ctx, "close", closedLease(h, ten.id)))
	must(t, eventually(ctx, "end", func() bool { ten.mu.Lock(); defer ten.mu.Unlock(); return ten.ended != nil }))
	l := h.w.leases()[ten.id].Lease
	if l.Reason != lease.ReasonCompleted || !l.Final || l.ClosedBy != lease.PartyAnyone {
		t.Fatalf("closed as %s by %s", l.Reason, l.ClosedBy)
	}
	done := ten.done0()
	if len(done) != 1 || done[0].Reason != "exited" || string(done[0].Output) != "root" {
		t.Fatalf("task ends: %+v", done)
	}
	ten.mu.Lock()
	log := ten.logs[0]
	ten.mu.Unlock()
	if !strings.HasPrefix(log, "hello ") {
		t.Fatalf("log %q: it must arrive before the task's end", log)
	}
	// Another terminal, from an offset, after the end.
	late := newTenant(h.w, ten.key, ten.id)
	say, err := hello(order.Digest, id[:], ten.key, "late")
	must(t, err)
	say.Observer, say.LogFrom = true, []p2p.LogOffset{{Task: 0, Stream: p2p.Stdout, Offset: 6}}
	late.logs[0] = log[:6]
	h.desk.attach(ctx, late, []byte("late"), say)
	if late.logs[0] != log || len(late.ends) != 1 || late.ended == nil {
		t.Fatalf("late observer saw %q, %+v, %+v", late.logs[0], late.ends, late.ended)
	}
}

func TestTenantThatNeverAnswers(t *testing.T) {
	h, ctx := start(t, harnessOptions{keep: time.Hour})
	h.stall.cfg.Grace = 100 * time.Millisecond
	ten, order, id := h.mustRent(t, ctx, 1, false)
	ten.silent = true
	h.mustAttach(t, ctx, ten, order, id)
	must(t, eventually(ctx, "close", closedLease(h, ten.id)))
	l := h.w.leases()[ten.id].Lease
	if l.Reason != lease.ReasonNotStarted || !l.Settlement.Gross.IsZero() || l.Settlement.Refunded != l.Hold {
		t.Fatalf("closed as %s, gross %s, refunded %s of %s", l.Reason, l.Settlement.Gross, l.Settlement.Refunded, l.Hold)
	}
	if n := len(h.w.Starts); n != 0 {
		t.Fatalf("%d tasks ran unpaid", n)
	}
}

func TestTenantThatVanishesInTheMiddle(t *testing.T) {
	h, ctx := start(t, harnessOptions{taskLife: time.Hour, keep: time.Hour})
	ten, order, id := h.mustRent(t, ctx, 1, false)
	h.mustAttach(t, ctx, ten, order, id)
	must(t, eventually(ctx, "some receipts", func() bool { return h.w.leases()[ten.id].Acked > 0 }))
	ten.mu.Lock()
	ten.silent = true
	ten.mu.Unlock()
	// The clock of a test cannot wait for max_unacked; the meter can be told.
	a := h.desk.find(id)
	a.post(leasing.Tick{Elapsed: 11_000, Now: unixMS(time.Now())})
	must(t, eventually(ctx, "close", closedLease(h, ten.id)))
	l := h.w.leases()[ten.id].Lease
	if l.ClosedBy != lease.PartyProvider || !l.Claimed || l.Reason != lease.ReasonTenantVanished {
		t.Fatalf("closed by %s for %s, claimed %v", l.ClosedBy, l.Reason, l.Claimed)
	}
	if bound := l.SignedMS + 10_000; l.Settlement.BilledMS > bound || l.Settlement.BilledMS <= l.SignedMS {
		t.Fatalf("billed %d ms, signed %d, at most %d", l.Settlement.BilledMS, l.SignedMS, bound)
	}
}

func TestArrayLeaseRunsWhatItIsDealt(t *testing.T) {
	h, ctx := start(t, harnessOptions{taskLife: 5 * time.Millisecond, keep: time.Hour})
	ten, order, id := h.mustRent(t, ctx, 1, true)
	for _, i := range []uint64{7, 3, 7} {
		ten.inbox <- &p2p.RunTask{Index: i}
	}
	h.mustAttach(t, ctx, ten, order, id)
	must(t, eventually(ctx, "two ends", func() bool { return len(ten.done0()) == 2 }))
	ten.inbox <- &p2p.RunTask{Index: 3} // dealt again after it ended
	ten.inbox <- &p2p.NoMoreTasks{}
	must(t, eventually(ctx, "close", closedLease(h, ten.id)))
	if len(h.w.Starts) != 2 {
		t.Fatalf("starts %v", h.w.Starts)
	}
	if done := ten.done0(); done[0].Index != 7 || done[1].Index != 3 {
		t.Fatalf("ends %+v", done)
	}
}

func TestStopEndsTheWorkAndBillsIt(t *testing.T) {
	h, ctx := start(t, harnessOptions{taskLife: time.Hour, keep: time.Hour, ackWait: time.Hour})
	ten, order, id := h.mustRent(t, ctx, 1, false)
	h.mustAttach(t, ctx, ten, order, id)
	must(t, eventually(ctx, "a receipt", func() bool { return h.w.leases()[ten.id].Acked > 0 }))
	ten.inbox <- &p2p.Stop{}
	must(t, eventually(ctx, "close", closedLease(h, ten.id)))
	l := h.w.leases()[ten.id].Lease
	if l.Reason != lease.ReasonTenantStopped || !l.Final {
		t.Fatalf("closed as %s", l.Reason)
	}
}

func TestStreamsOfStrangersAreRefused(t *testing.T) {
	h, ctx := start(t, harnessOptions{taskLife: time.Hour})
	ten, order, id := h.mustRent(t, ctx, 1, false)
	_, _, other, err := h.w.order(2, false)
	must(t, err)
	good, err := hello(order.Digest, id[:], ten.key, "me")
	must(t, err)
	forged, err := hello(order.Digest, id[:], other, "me")
	must(t, err)
	wrongOrder, err := hello([32]byte{1}, id[:], ten.key, "me")
	must(t, err)
	unknown := good
	unknown.LeaseID = make([]byte, 20)
	for name, c := range map[string]struct {
		say  p2p.Hello
		peer string
	}{
		"unknown lease": {unknown, "me"}, "another key": {forged, "me"}, "another order": {wrongOrder, "me"}, "another peer": {good, "you"},
	} {
		s := newTenant(h.w, ten.key, ten.id)
		h.desk.attach(ctx, s, []byte(c.peer), c.say)
		if s.refused == nil {
			t.Errorf("%s: admitted", name)
		}
		if c.say.LeaseID != nil && name != "unknown lease" {
			if err := h.desk.mayFetch(ctx, peer.ID(c.peer), content.Get{Scope: order.Digest[:], Access: c.say.Access}); err == nil {
				t.Errorf("%s: may fetch results", name)
			}
		}
	}
	if err := h.desk.mayFetch(ctx, "me", content.Get{Scope: order.Digest[:], Access: good.Access}); err != nil {
		t.Errorf("the tenant itself: %v", err)
	}
}

func TestForgedReceiptsEndTheStreamOnly(t *testing.T) {
	h, ctx := start(t, harnessOptions{taskLife: time.Hour})
	ten, order, id := h.mustRent(t, ctx, 1, false)
	h.mustAttach(t, ctx, ten, order, id)
	must(t, eventually(ctx, "a receipt", func() bool { return h.w.leases()[ten.id].Acked > 0 }))
	a := h.desk.find(id)
	high, err := wire.Seal(a.receipt(leasing.Receipt{Sequence: 900, ElapsedMS: 9_000_000}), ten.key) // the node never signed it
	must(t, err)
	if err := a.acknowledge(high.Bytes()); err == nil {
		t.Fatal("a receipt without the node's signature was taken")
	}
	away, err := wire.Seal(wire.Away{Version: 1, ChainID: testChain, LeaseID: id[:], UntilMS: 1000}, h.desk.signer)
	must(t, err)
	if err := a.leave(ctx, away.Bytes()); err == nil {
		t.Fatal("an away by another key was taken")
	}
	if s := a.snapshot(); s.ElapsedMS > 8_000_000 || s.AwayMS != 0 {
		t.Fatalf("state %+v", s)
	}
}

// failingWares cannot fetch.
type failingWares struct {
	worldWares
	err error
}

func (f failingWares) Fetch(context.Context, journal.Tenant, [32]byte, []byte, uint64, string, func(uint64)) error {
	return f.err
}

func TestWorkThatCannotBePreparedGivesTheMoneyBack(t *testing.T) {
	for _, c := range []struct {
		err  error
		want lease.Reason
	}{
		{fmt.Errorf("module: %w", content.ErrMismatch), lease.ReasonBadManifest},
		{fmt.Errorf("input: %w", content.ErrDiskFull), lease.ReasonProviderStopped},
	} {
		t.Run(c.want.String(), func(t *testing.T) {
			h, ctx := start(t, harnessOptions{wares: failingWares{err: c.err}, keep: time.Hour})
			ten, order, id := h.mustRent(t, ctx, 1, false)
			h.mustAttach(t, ctx, ten, order, id)
			must(t, eventually(ctx, "close", closedLease(h, ten.id)))
			l := h.w.leases()[ten.id].Lease
			if l.Reason != c.want || l.Settlement.Refunded != l.Hold {
				t.Fatalf("closed as %s, refunded %s of %s", l.Reason, l.Settlement.Refunded, l.Hold)
			}
			if done := ten.done0(); len(done) != 1 || done[0].Reason != "not-prepared" || done[0].Error == "" {
				t.Fatalf("the tenant reads %+v", done)
			}
		})
	}
}

func TestRefusals(t *testing.T) {
	h, ctx := start(t, harnessOptions{})
	must(t, eventually(ctx, "a block", func() bool { return h.watch.now().height > 0 }))
	order, _, key, err := h.w.order(1, false)
	must(t, err)
	with := func(change func(*wire.Order)) wire.Signed[wire.Order] {
		o := order.Value
		o.Quantities = append([]wire.Quantity(nil), o.Quantities...)
		change(&o)
		signed, err := wire.Seal(o, key)
		must(t, err)
		return signed
	}
	for _, c := range []struct {
		subject string
		order   wire.Signed[wire.Order]
	}{
		{"memory.bytes", with(func(o *wire.Order) { o.Quantities[1].Amount = 24 << 30 })},
		{"rate", with(func(o *wire.Order) { o.Terms.MaxRate = amount.NewRate(1) })},
		{"denom", with(func(o *wire.Order) { o.Terms.Denom = "uatom" })},
		{"kind", with(func(o *wire.Order) { o.Kind = "storage" })},
		{"max_unacked", with(func(o *wire.Order) { o.Terms.MaxUnackedMS = 1999 })},
		{"max_unacked", with(func(o *wire.Order) { o.Terms.MaxUnackedMS = 3_600_000 })},
		{"bond", with(func(o *wire.Order) { o.Terms.MinBond = amount.New(1) })},
		{"order", with(func(o *wire.Order) { o.Terms.Verify.Policy, o.Terms.Verify.Bps = "replay", 100 })},
		{"order", with(func(o *wire.Order) { o.Terms.ExpiresAt = 1 })},
	} {
		a, offer, err := h.stall.bid(c.order)
		if err != nil || a != nil || len(offer.Refusals) == 0 {
			t.Fatalf("%s: bid %v, %v", c.subject, a, err)
		}
		if got := offer.Refusals[0]; got.Subject != c.subject || got.Validate() != nil {
			t.Errorf("%s: refused for %q (%v)", c.subject, got.String(), got.Validate())
		}
	}
	h.stall.paused.Store(true)
	if _, offer, _ := h.stall.bid(order); len(offer.Refusals) != 1 || offer.Refusals[0].Subject != "busy" {
		t.Errorf("paused: %+v", offer)
	}
	h.stall.paused.Store(false)
	h.desk.diskFull = func() bool { return true }
	if _, offer, _ := h.stall.bid(order); len(offer.Refusals) != 1 || offer.Refusals[0].Subject != "disk" {
		t.Errorf("disk full: %+v", offer)
	}
	if free := h.desk.slots.Unbid()[DimCPU]; free != 4000 {
		t.Errorf("refusals left %d of 4000 free", free)
	}
}

func TestManifestThatDiffersIsRefused(t *testing.T) {
	h, ctx := start(t, harnessOptions{})
	must(t, eventually(ctx, "a block", func() bool { return h.watch.now().height > 0 }))
	order, body, _, err := h.w.order(1, false)
	must(t, err)
	m, err := manifest.Decode(body)
	must(t, err)
	m.MemoryBytes = 1 << 30
	other, err := manifest.Encode(m)
	must(t, err)
	a, _, err := h.stall.bid(order)
	must(t, err)
	b := &tenantBid{h: h, order: order, manifest: other, opened: make(chan error, 1)}
	if err := h.stall.promise(ctx, a, b); !errors.Is(err, errRefused) || b.refusal.Subject != "manifest" {
		t.Fatalf("another manifest: %v, %+v", err, b.refusal)
	}
	if h.desk.findOrder(order.Digest) != nil {
		t.Fatal("an agreement without a promise")
	}
	if r, bad := h.desk.suits(m, order.Value); !bad || r.Subject != DimMemory {
		t.Fatalf("more memory than ordered: %+v", r)
	}
	m.MemoryBytes, m.Runtime = 1, "container"
	if r, bad := h.desk.suits(m, order.Value); !bad || r.Subject != "runtime" {
		t.Fatalf("another runtime: %+v", r)
	}
}

func TestQuoteReservesNothing(t *testing.T) {
	h, ctx := start(t, harnessOptions{})
	q := p2p.QuoteRequest{Kind: KindCompute, KindVersion: KindComputeVersion, Denom: "umoy", Quantities: []wire.Quantity{{Dimension: DimCPU, Amount: 1500}}}
	for range 10 {
		r, err := h.stall.quote(ctx, "peer", q)
		must(t, err)
		if len(r.Misses) != 0 || r.Rate != amount.NewRate(8_333_333_333_334) {
			t.Fatalf("quote %+v", r)
		}
	}
	q.Quantities[0].Amount = 5000
	r, err := h.stall.quote(ctx, "peer", q)
	must(t, err)
	if len(r.Misses) != 1 || r.Misses[0].Subject != DimCPU {
		t.Fatalf("quote %+v", r)
	}
}

func TestResultsAreDeletedWhenTheirTimeIsOver(t *testing.T) {
	h, ctx := start(t, harnessOptions{keep: 50 * time.Millisecond})
	ten, order, id := h.mustRent(t, ctx, 1, false)
	h.mustAttach(t, ctx, ten, order, id)
	must(t, eventually(ctx, "close", closedLease(h, ten.id)))
	must(t, eventually(ctx, "deletion", func() bool {
		_, err := os.Stat(h.desk.leaseDir(id))
		return errors.Is(err, os.ErrNotExist) && h.desk.find(id) == nil
	}))
	if free := h.desk.slots.Unbid()[DimCPU]; free != 4000 {
		t.Fatalf("%d of 4000 free after the lease", free)
	}
}

// TestStopWhileStarting: a stop that comes between the decision to start a task
// and its start must end that task, not leave it running for nobody.
func TestStopWhileStarting(t *testing.T) {
	began, stopped := make(chan struct{}), make(chan struct{})
	h, ctx := start(t, harnessOptions{taskLife: time.Hour, keep: time.Hour, starting: func() {
		close(began)
		<-stopped
	}})
	ten, order, id := h.mustRent(t, ctx, 1, false)
	h.mustAttach(t, ctx, ten, order, id)
	<-began
	a := h.desk.find(id)
	a.post(leasing.StopAsked{Reason: lease.ReasonTenantStopped, Now: unixMS(time.Now())})
	must(t, eventually(ctx, "stopping", func() bool { return a.snapshot().Work == leasing.WorkStopping }))
	close(stopped)
	must(t, eventually(ctx, "close", closedLease(h, ten.id)))
	must(t, eventually(ctx, "the task's end", func() bool {
		a.job.mu.Lock()
		defer a.job.mu.Unlock()
		return len(a.job.tasks) == 0
	}))
	if got := a.snapshot().Reason; got != lease.ReasonTenantStopped {
		t.Errorf("ended as %s", got)
	}
}

func TestDiskGuard(t *testing.T) {
	h, ctx := start(t, harnessOptions{taskLife: time.Hour, keep: time.Hour})
	ten, order, id := h.mustRent(t, ctx, 1, false)
	h.mustAttach(t, ctx, ten, order, id)
	must(t, eventually(ctx, "running", func() bool { return h.desk.find(id).snapshot().Work == leasing.WorkRunning }))
	free := uint64(100)
	g := newDiskGuard(h.desk.home, 100)
	g.free = func(string) (uint64, error) { return free, nil }
	g.look(h.desk)
	if g.full.Load() {
		t.Fatal("full at the reserve")
	}
	free = 99
	g.look(h.desk)
	if !g.full.Load() || h.desk.find(id).snapshot().Work != leasing.WorkRunning {
		t.Fatal("below the reserve new work is refused and running work goes on")
	}
	free = 49
	g.look(h.desk)
	must(t, eventually(ctx, "close", closedLease(h, ten.id)))
	if r := h.w.leases()[ten.id].Lease.Reason; r != lease.ReasonProviderStopped {
		t.Fatalf("closed as %s", r)
	}
	free = 1000
	g.look(h.desk)
	if g.full.Load() {
		t.Fatal("still full after room was made")
	}
}

// TestReceiptsComeWhateverElseDoes: an agreement that hears something all the
// time still counts, or a provider of short tasks would work on credit.
func TestReceiptsComeWhateverElseDoes(t *testing.T) {
	h, ctx := start(t, harnessOptions{taskLife: time.Hour})
	h.desk.receiptEvery = time.Second // longer than this process may be held up
	ten, order, id := h.mustRent(t, ctx, 1, false)
	h.mustAttach(t, ctx, ten, order, id)
	a := h.desk.find(id)
	must(t, eventually(ctx, "running", func() bool { return a.snapshot().Work == leasing.WorkRunning }))
	quit := make(chan struct{})
	defer close(quit)
	go func() {
		for {
			select {
			case <-quit:
				return
			default:
				a.post(leasing.Opened{})
			}
		}
	}()
	before := h.w.leases()[ten.id].Acked
	must(t, eventually(ctx, "a receipt", func() bool { return h.w.leases()[ten.id].Acked > before }))
}

// TestBallast: the journal has room even if a program took all of it between
// two looks.
func TestBallast(t *testing.T) {
	h, _ := start(t, harnessOptions{})
	free := uint64(10_000)
	home := t.TempDir()
	aboard := func() int64 {
		st, err := os.Stat(filepath.Join(home, "ballast"))
		if errors.Is(err, os.ErrNotExist) {
			return 0
		}
		must(t, err)
		return st.Size()
	}
	guard := func() *diskGuard {
		g := newDiskGuard(home, 1000)
		g.free = func(string) (uint64, error) { return free, nil }
		return g
	}
	g := guard()
	for _, step := range []struct {
		free uint64
		want int64
	}{{1499, 0}, {1500, 500}, {999, 500}, {250, 500}, {249, 0}, {749, 0}, {1499, 0}, {1500, 500}} {
		free = step.free
		g.look(h.desk)
		if got := aboard(); got != step.want {
			t.Fatalf("%d bytes aboard with %d free, want %d", got, step.free, step.want)
		}
	}
	free = 0
	if guard().look(h.desk); aboard() != 0 {
		t.Fatal("the ballast of an earlier run stays aboard on a full disk")
	}
}

func TestLeaseReasons(t *testing.T) {
	for reason := compute.ReasonExited; reason <= compute.ReasonLost; reason++ {
		if r := leaseReason(compute.Result{Reason: reason}); !r.Valid() {
			t.Errorf("%s ends a lease with %s", reason, r)
		}
	}
	if r := leaseReason(compute.Result{Reason: compute.ReasonExited, ExitCode: 3}); r != lease.ReasonFailed {
		t.Errorf("exit code 3: %s", r)
	}
}

func TestCloseItemsShowNoMoreThanTheyMust(t *testing.T) {
	h, ctx := start(t, harnessOptions{taskLife: time.Hour})
	_, order, id := h.mustRent(t, ctx, 1, false)
	must(t, eventually(ctx, "promise", func() bool { return h.desk.find(id) != nil }))
	a := h.desk.find(id)
	both := leasing.Signed{Receipt: leasing.Receipt{Sequence: 1, ElapsedMS: 40}, Bytes: []byte("both")}
	final := both
	final.Final = true
	terms := leasing.Terms{TimeoutMS: 600_000}
	for name, c := range map[string]struct {
		state leasing.State
		move  leasing.Move
		proof string // empty: none; "node": signed by the node alone
		away  bool
	}{
		"final, countersigned":       {leasing.State{Acked: &final, AwayMS: 90, Away: []byte("a")}, leasing.MoveFinal, "both", false},
		"final, within an away":      {leasing.State{Final: &leasing.Receipt{Sequence: 2, ElapsedMS: 80, Final: true, Reason: 1}, AwayMS: 90, Away: []byte("a")}, leasing.MoveFinal, "node", true},
		"never started":              {leasing.State{}, leasing.MoveOneSided, "", false},
		"one-sided, countersigned":   {leasing.State{Started: true, ElapsedMS: 45, Acked: &both}, leasing.MoveOneSided, "both", false},
		"one-sided, away is better":  {leasing.State{Started: true, ElapsedMS: 95, Acked: &both, AwayMS: 90, Away: []byte("a")}, leasing.MoveOneSided, "node", true},
		"receipt, away is no better": {leasing.State{Started: true, ElapsedMS: 45, Acked: &both, AwayMS: 30, Away: []byte("a")}, leasing.MoveReceipt, "both", false},
		"claim":                      {leasing.State{Started: true, ElapsedMS: 45, Acked: &both, AwayMS: 90, Away: []byte("a")}, leasing.MoveClaim, "node", false},
	} {
		c.state.Terms = terms
		shown := &agreement{d: a.d, row: a.row, order: a.order, state: c.state}
		item, err := shown.closeItem(c.move)
		must(t, err)
		if got := string(item.Proof); c.proof == "both" && got != "both" || c.proof == "" && got != "" || c.proof == "node" && (got == "" || got == "both") {
			t.Errorf("%s: proof %q", name, got)
		}
		if (len(item.Away) > 0) != c.away {
			t.Errorf("%s: away %q", name, item.Away)
		}
	}
	if _, err := (&agreement{d: a.d, row: a.row, order: order.Value}).closeItem(leasing.MoveReceipt); err == nil {
		t.Error("a receipt out of nothing")
	}
}

func TestAuditFindsAnEndThatNoEventTold(t *testing.T) {
	h, ctx := start(t, harnessOptions{taskLife: time.Hour, keep: time.Hour, ackWait: time.Hour})
	ten, order, id := h.mustRent(t, ctx, 1, false)
	h.mustAttach(t, ctx, ten, order, id)
	must(t, eventually(ctx, "a receipt", func() bool { return h.w.leases()[ten.id].Acked > 0 }))
	ten.mu.Lock()
	ten.silent = true
	ten.mu.Unlock()
	ten.inbox <- &p2p.Stop{}
	a := h.desk.find(id)
	must(t, eventually(ctx, "the end of the work", func() bool { return a.snapshot().Work == leasing.WorkEnded }))
	h.w.change(func() { // the lease closes on chain, and its event is one nobody can read
		l := h.w.Leases[ten.id]
		next, err := l.Lease.Apply(testParams(), lease.OneSided{By: lease.PartyPayer, Sender: "payer"}, l.Lease.OpenedAt)
		must(t, err)
		l.Lease, err = next.Apply(testParams(), lease.Expire{}, next.WindowEndsAt)
		must(t, err)
	})
	if a.snapshot().Chain != leasing.ChainOpen {
		t.Fatalf("the provider knows already: %s", a.snapshot().Chain)
	}
	h.watch.audit()
	must(t, eventually(ctx, "the news", func() bool { return a.snapshot().Chain == leasing.ChainClosed }))
}
