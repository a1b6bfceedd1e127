package provider

import (
	"context"
	"encoding/hex"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/moyai-network/moyai/compute"
	"github.com/moyai-network/moyai/internal/steady"
	"github.com/moyai-network/moyai/mechanism/amount"
	"github.com/moyai-network/moyai/p2p"
	"github.com/moyai-network/moyai/provider/journal"
	"github.com/moyai-network/moyai/provider/slots"
	"github.com/moyai-network/moyai/provider/sshd"
	"github.com/moyai-network/moyai/wire"
)

// harness is a provider without libp2p and CometBFT: the real desk, stall,
// watcher and closes over a world.
type harness struct {
	w      *world
	desk   *desk
	stall  *stall
	watch  *watcher
	cancel context.CancelFunc
	wg     sync.WaitGroup
	alerts sync.Map
}

type harnessOptions struct {
	commit   func(n uint64, done bool)
	taskLife time.Duration
	cpu      uint64
	wares    wares
	keep     time.Duration
	ackWait  time.Duration
	clock    func() time.Time
	starting func() // called by the runtime before a task starts
	entered  func(*worldTask) compute.Task
}

func newHarness(dir string, o harnessOptions) (*harness, error) {
	w, err := openWorld(filepath.Join(dir, "world.json"))
	if err != nil {
		return nil, err
	}
	return newHarnessOver(w, dir, o)
}

func newHarnessOver(w *world, dir string, o harnessOptions) (*harness, error) {
	signer, err := wire.NewEd25519Signer(make([]byte, 32))
	if err != nil {
		return nil, err
	}
	if o.wares == nil {
		o.wares = worldWares{}
	}
	if o.clock == nil {
		o.clock = steady.Now
	}
	setDefault(&o.cpu, 4000)
	setDefault(&o.keep, 30*time.Millisecond)
	setDefault(&o.ackWait, 30*time.Millisecond)
	setDefault(&o.taskLife, 40*time.Millisecond)
	ctx, cancel := context.WithCancel(context.Background())
	h := &harness{w: w, cancel: cancel}
	log := slog.New(slog.DiscardHandler)
	if os.Getenv("MOYAI_TEST_LOG") != "" {
		log = slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelDebug}))
	}
	hostKey, err := sshd.HostKey(make([]byte, 32))
	if err != nil {
		cancel()
		return nil, err
	}
	h.desk = &desk{
		door:    newDoor(hostKey),
		chainID: testChain, node: signer.PublicKey(), signer: signer, home: dir, clock: o.clock, wares: o.wares,
		gpus: newGPUs(nil), runtimes: runtimes{worldRuntime{w, o.taskLife, o.starting, o.entered}}, log: log,
		alert:        func(id, _, text string) { h.alerts.Store(id, text) },
		receiptEvery: 15 * time.Millisecond, prefetchBytes: 1 << 20, prefetches: make(chan struct{}, maxPrefetches),
		diskFull: func() bool { return false },
		ctx:      ctx, byID: map[journal.ID]*agreement{}, byOrder: map[[32]byte]*agreement{},
	}
	h.desk.journal, err = journal.Open(ctx, journal.Options{
		Path: filepath.Join(dir, "journal.db"), ChainID: testChain, Node: h.desk.node, Commit: o.commit,
	})
	if err != nil {
		cancel()
		return nil, err
	}
	cfg := &Config{
		Capacity:    Capacity{CPUMilli: o.cpu, MemoryBytes: 1 << 30, StorageBytes: 1 << 30},
		Prices:      Prices{Denom: "umoy", Units: []UnitPrice{{DimCPU, 1000, amount.NewRate(5_555_555_555_556)}}},
		KeepResults: o.keep, AckWait: o.ackWait, BidLife: 500 * time.Millisecond,
	}
	cfg.EnsureDefaults()
	cfg.Logger = log
	h.desk.slots = slots.New(newTariff(cfg).total, h.desk.generations(worldLedger{w}))
	h.watch = newWatcher(h.desk, worldLedger{w})
	c := newCloses(h.desk, worldSender{w}, worldSender{w}, h.watch.ask)
	h.desk.counter = c
	h.stall = newStall(h.desk, cfg, make([]byte, 20), h.watch.now)
	params := testParams()
	h.stall.market.Store(&params)
	if err := h.desk.resume(ctx); err != nil {
		h.close()
		return nil, err
	}
	for _, run := range []func(context.Context) error{h.watch.run, h.watch.answer, c.run} {
		h.wg.Go(func() { _ = run(ctx) })
	}
	h.wg.Go(func() { // the chain makes blocks
		for ctx.Err() == nil {
			w.tick()
			time.Sleep(5 * time.Millisecond)
		}
	})
	return h, nil
}

func (h *harness) close() {
	h.desk.end(h.cancel)
	h.wg.Wait()
	_ = h.desk.journal.Close()
}

// tenantBid is the tenant's end of a bid stream: it hands over the manifest and,
// once it has Ready, opens the lease in the world's chain.
type tenantBid struct {
	h        *harness
	order    wire.Signed[wire.Order]
	manifest []byte
	bid      []byte
	id       [20]byte
	opened   chan error
	refusal  *p2p.Refusal
}

func (b *tenantBid) AwaitChoice(context.Context) (p2p.Choice, error) {
	return p2p.Choice{Manifest: b.manifest}, nil
}
func (b *tenantBid) Refuse(r p2p.Refusal) error {
	b.refusal = &r
	b.opened <- fmt.Errorf("refused: %s", r.String())
	return nil
}
func (b *tenantBid) AwaitClose(context.Context) error { return nil }
func (b *tenantBid) Close()                           {}
func (b *tenantBid) SendReady([]byte) error {
	bid, err := wire.Open[wire.Bid](testChain, b.bid)
	if err == nil {
		err = b.h.w.open(b.order, bid)
	}
	b.opened <- err
	return nil
}

// rent announces order n and waits until its lease is open.
func (h *harness) rent(ctx context.Context, n uint64, array bool) (*tenantStream, wire.Signed[wire.Order], [20]byte, error) {
	var id [20]byte
	order, body, key, err := h.w.order(n, array)
	if err != nil {
		return nil, order, id, err
	}
	for h.watch.now().height == 0 { // not blind any more
		time.Sleep(time.Millisecond)
	}
	b := &tenantBid{h: h, order: order, manifest: body, opened: make(chan error, 1)}
	h.stall.offer = func(_ context.Context, _ peer.AddrInfo, offer p2p.BidOffer) (bidStream, error) {
		if len(offer.Refusals) > 0 {
			b.opened <- fmt.Errorf("no bid: %s", offer.Refusals[0].String())
			return b, nil
		}
		bid, err := wire.Open[wire.Bid](testChain, offer.Bid)
		if err != nil {
			return nil, err
		}
		if err := wire.VerifyBid(bid); err != nil {
			return nil, err
		}
		b.bid, b.id = offer.Bid, wire.LeaseID(order.Digest, bid.Digest)
		h.w.change(func() { h.w.saw(bid.Value.Slot, bid.Value.Generation) })
		return b, nil
	}
	if err := h.stall.negotiate(ctx, order, peer.AddrInfo{ID: "tenant"}, nil); err != nil {
		return nil, order, id, err
	}
	select {
	case err = <-b.opened:
	case <-ctx.Done():
		err = ctx.Err()
	}
	return newTenant(h.w, key, hex.EncodeToString(b.id[:])), order, b.id, err
}

// saw remembers that a bid left the provider; the lock is held.
func (w *world) saw(slot uint32, generation uint64) {
	b := bidSeen{Slot: slot, Generation: generation, Round: w.Orders}
	for _, l := range w.Leases {
		if l.Slot == slot && l.Generation >= generation {
			b.LeasedBefore = true
		}
	}
	w.Bids = append(w.Bids, b)
}

// attach connects a tenant to its lease until one of them is done.
func (h *harness) attach(ctx context.Context, t *tenantStream, order [32]byte, id [20]byte) error {
	const me = peer.ID("tenant")
	say, err := hello(order, id[:], t.key, me)
	if err != nil {
		return err
	}
	h.wg.Go(func() { h.desk.attach(ctx, t, []byte(me), say) })
	return nil
}

// eventually waits for a condition, which is about the world and not about time.
func eventually(ctx context.Context, what string, ok func() bool) error {
	for !ok() {
		select {
		case <-ctx.Done():
			return fmt.Errorf("%s: never happened", what)
		case <-time.After(2 * time.Millisecond):
		}
	}
	return nil
}
