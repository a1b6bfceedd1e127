package provider

import (
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"sync"
	"time"

	abci "github.com/cometbft/cometbft/abci/types"
	sdk "github.com/cosmos/cosmos-sdk/types"
	"github.com/cosmos/gogoproto/proto"
	"github.com/libp2p/go-libp2p/core/peer"

	marketv1 "github.com/moyai-network/moyai/api/moyai/market/v1"
	"github.com/moyai-network/moyai/client/chain"
	"github.com/moyai-network/moyai/compute/manifest"
	"github.com/moyai-network/moyai/mechanism/amount"
	"github.com/moyai-network/moyai/mechanism/escrow"
	"github.com/moyai-network/moyai/mechanism/lease"
	"github.com/moyai-network/moyai/p2p"
	"github.com/moyai-network/moyai/provider/journal"
	"github.com/moyai-network/moyai/wire"
)

const testChain = "moyai-test-1"

// world is everything outside the provider: chain, tenant, content. It lives in a
// file, so that it stays when the provider's process dies. Settlement is by
// mechanism/lease itself, so a provider that shows too much is refused here as it
// would be there.
type world struct {
	path string
	mu   sync.Mutex
	worldState
	moved chan struct{}
}

// worldState is what the file holds.
type worldState struct {
	Height int64
	Orders uint64
	Bids   []bidSeen
	Leases map[string]*worldLease
	Blocks []worldBlock
	Starts map[string]int // runtime starts by task id
}

type bidSeen struct {
	Slot              uint32
	Generation, Round uint64
	LeasedBefore      bool // the pair had been leased when this bid was made
}

type worldLease struct {
	Lease             lease.Lease
	Slot              uint32
	Generation        uint64
	Order, Bid, Denom []byte
	Acked             uint64 // highest counter the tenant signed
	Payer, Node, RKey []byte
}

type worldBlock struct {
	Events []worldEvent
}

type worldEvent struct {
	Type string // opened, elsewhere, settling, closed
	ID   string
}

// Times are far below the chain's, so that a test takes milliseconds.
func testParams() lease.Params {
	return lease.Params{
		WindowMS: 300, MaxTimeoutMS: 1 << 40, MaxGraceMS: 1 << 40, MaxUnackedMS: 1 << 40, MaxBidLifeMS: 30_000,
		MaxOrderLifeMS: 1 << 40, SkewMS: 30_000, Bounty: amount.New(20), MaxCandidates: 4,
		Take: escrow.TakeParams{TakeBps: 200, BurnBps: 8000},
	}
}

func openWorld(path string) (*world, error) {
	w := &world{path: path, moved: make(chan struct{})}
	w.Leases, w.Starts = map[string]*worldLease{}, map[string]int{}
	b, err := os.ReadFile(path)
	if errors.Is(err, os.ErrNotExist) {
		return w, nil
	}
	if err != nil {
		return nil, err
	}
	return w, json.Unmarshal(b, &w.worldState)
}

// change applies fn and makes it last.
func (w *world) change(fn func()) {
	w.mu.Lock()
	defer w.mu.Unlock()
	fn()
	w.persist()
}

func (w *world) persist() {
	b, err := json.Marshal(w.worldState)
	if err == nil {
		if err = os.WriteFile(w.path+".new", b, 0o600); err == nil {
			err = os.Rename(w.path+".new", w.path)
		}
	}
	if err != nil {
		panic(err)
	}
	close(w.moved)
	w.moved = make(chan struct{})
}

func (w *world) block(events ...worldEvent) {
	w.Height++
	w.Blocks = append(w.Blocks, worldBlock{Events: events})
}

func (w *world) leases() map[string]worldLease {
	w.mu.Lock()
	defer w.mu.Unlock()
	out := map[string]worldLease{}
	for id, l := range w.Leases {
		out[id] = *l
	}
	return out
}

// meterNow is the chain's meter clock: here, the wall's.
func meterNow() uint64 { return uint64(time.Now().UnixMilli()) }

// open is what MsgOpenLeases would do.
func (w *world) open(order wire.Signed[wire.Order], bid wire.Signed[wire.Bid]) error {
	var err error
	w.change(func() {
		if bid.Value.ExpiresAt <= time.Now().UnixMilli() {
			err = lease.ErrBidExpired
			return
		}
		for _, l := range w.Leases {
			if l.Slot == bid.Value.Slot && (l.Generation >= bid.Value.Generation || l.Lease.State == lease.StateOpen) {
				err = fmt.Errorf("slot %d generation %d refused", bid.Value.Slot, bid.Value.Generation)
				return
			}
		}
		var l lease.Lease
		if l, err = lease.Open(testParams(), lease.TermsOf(wire.OrderView(order), wire.BidView(bid)), meterNow()); err != nil {
			return
		}
		id := wire.LeaseID(order.Digest, bid.Digest)
		w.Leases[hex.EncodeToString(id[:])] = &worldLease{
			Lease: l, Slot: bid.Value.Slot, Generation: bid.Value.Generation, Order: order.Body, Bid: bid.Bytes(),
			Payer: order.Value.Payer, Node: bid.Value.Node, RKey: order.Value.Terms.ReceiptKey,
		}
		w.block(worldEvent{"opened", hex.EncodeToString(id[:])})
	})
	return err
}

// tick lets the chain's queues work.
func (w *world) tick() {
	w.change(func() {
		var events []worldEvent
		for _, id := range slices.Sorted(maps.Keys(w.Leases)) {
			l := w.Leases[id]
			next, err := l.Lease.Apply(testParams(), lease.Expire{}, meterNow())
			if err != nil {
				continue
			}
			l.Lease = next
			events = append(events, worldEvent{map[lease.State]string{lease.StateSettling: "settling", lease.StateClosed: "closed"}[next.State], id})
		}
		w.block(events...)
	})
}

// Height implements ledger.
func (w *world) height(context.Context) (int64, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.Height, nil
}

type worldLedger struct{ *world }

func (w worldLedger) Height(ctx context.Context) (int64, error) { return w.height(ctx) }
func (w worldLedger) MeterNow(context.Context) (uint64, error)  { return meterNow(), nil }
func (w worldLedger) Generation(_ context.Context, _ []byte, slot uint32) (uint64, error) {
	var last uint64
	for _, l := range w.leases() {
		if l.Slot == slot {
			last = max(last, l.Generation)
		}
	}
	return last, nil
}

func (w worldLedger) Lease(_ context.Context, id []byte) (*marketv1.Lease, error) {
	l, ok := w.leases()[hex.EncodeToString(id)]
	if !ok {
		return nil, chain.ErrNotFound
	}
	v := l.Lease
	out := &marketv1.Lease{
		Id: id, State: marketv1.LeaseState(v.State), Started: v.Started, AckedMs: v.AckedMS, Claimed: v.Claimed,
		SettlingAt: v.SettlingAt, WindowEndsAt: v.WindowEndsAt, ClosedBy: uint32(v.ClosedBy), Denom: "umoy", Reason: uint32(v.Reason),
	}
	if v.State == lease.StateClosed {
		out.Settlement = settlementOf(v)
	}
	return out, nil
}

func settlementOf(l lease.Lease) *marketv1.Settlement {
	return &marketv1.Settlement{
		BilledMs: l.Settlement.BilledMS, Gross: l.Settlement.Gross.String(), Provider: l.Settlement.Provider.String(),
	}
}

func (w worldLedger) Follow(from int64) follower { return &worldFollower{w.world, max(from, 1)} }

type worldFollower struct {
	w    *world
	next int64
}

// Next returns the blocks as the chain client would: typed events in ABCI form.
func (f *worldFollower) Next(ctx context.Context) (*chain.Block, error) {
	for {
		f.w.mu.Lock()
		var b *worldBlock
		if f.next <= f.w.Height {
			b = &f.w.Blocks[f.next-1]
		}
		moved := f.w.moved
		f.w.mu.Unlock()
		if b == nil {
			select {
			case <-ctx.Done():
				return nil, ctx.Err()
			case <-moved:
				continue
			}
		}
		out := &chain.Block{Height: f.next, Time: time.Now()}
		for _, e := range b.Events {
			out.Events = append(out.Events, f.w.abci(e))
		}
		f.next++
		return out, nil
	}
}

func (w *world) abci(e worldEvent) abci.Event {
	id, _ := hex.DecodeString(e.ID)
	l := w.leases()[e.ID]
	var m proto.Message
	switch e.Type {
	case "opened":
		m = &marketv1.EventLeaseOpened{LeaseId: id, Node: l.Node}
	case "elsewhere": // ID is the order's digest
		m = &marketv1.EventLeaseOpened{LeaseId: make([]byte, 20), Node: make([]byte, wire.KeySize), OrderHash: id}
	case "settling":
		m = &marketv1.EventLeaseSettling{LeaseId: id, Node: l.Node}
	default:
		m = &marketv1.EventLeaseClosed{LeaseId: id, Node: l.Node, Denom: "umoy", Reason: uint32(l.Lease.Reason), Settlement: *settlementOf(l.Lease)}
	}
	ev, err := sdk.TypedEventToEvent(m)
	if err != nil {
		panic(err)
	}
	return abci.Event(ev)
}

// worldSender commits MsgCloseLeases.
type worldSender struct{ *world }

func (worldSender) Address() string { return "operator" }

func (w worldSender) CloseLeases(_ context.Context, msg *marketv1.MsgCloseLeases) (*chain.Result, error) {
	resp := &marketv1.MsgCloseLeasesResponse{}
	w.change(func() {
		var events []worldEvent
		for _, item := range msg.Items {
			r := marketv1.CloseResult{LeaseId: item.LeaseId}
			id := hex.EncodeToString(item.LeaseId)
			before := w.Leases[id].Lease.State
			if err := w.apply(w.Leases[id], &item); err != nil {
				r.Refusal = &marketv1.Refusal{Codespace: marketSpace, Code: refusalCode(err), Text: err.Error()}
			}
			switch after := w.Leases[id].Lease.State; {
			case after == before:
			case after == lease.StateSettling:
				events = append(events, worldEvent{"settling", id})
			case after == lease.StateClosed:
				events = append(events, worldEvent{"closed", id})
			}
			resp.Results = append(resp.Results, r)
		}
		w.block(events...)
	})
	return &chain.Result{Responses: []proto.Message{resp}}, nil
}

func refusalCode(err error) uint32 {
	for code, sentinel := range map[uint32]error{
		codeClosed: lease.ErrClosed, codeNotOpen: lease.ErrNotOpen, codeNotSettling: lease.ErrNotSettling, codeWindowOver: lease.ErrWindowOver,
		codeBeyondMeter: lease.ErrBeyondMeter, codeReceiptBackwards: lease.ErrReceiptBackwards, codeAlreadyClaimed: lease.ErrAlreadyClaimed,
		codeNothingToClaim: lease.ErrNothingToClaim,
	} {
		if errors.Is(err, sentinel) {
			return code
		}
	}
	return 1000
}

func (w *world) apply(l *worldLease, item *marketv1.CloseItem) error {
	var step lease.Step
	switch item.Action {
	case marketv1.CloseAction_CLOSE_ACTION_CLAIM:
		c, err := wire.Open[wire.Claim](testChain, item.Proof)
		if err != nil {
			return err
		}
		if err := c.VerifyBy(l.Node); err != nil {
			return err
		}
		step = lease.Claim{ElapsedMS: c.Value.ElapsedMS, Sender: "operator"}
	default:
		s := lease.OneSided{By: lease.PartyProvider, Reason: lease.Reason(item.Reason), Sender: "operator"}
		step = s
		if len(item.Proof) > 0 {
			r, err := wire.Open[wire.Receipt](testChain, item.Proof)
			if err != nil {
				return err
			}
			byNode, byKey, err := wire.VerifyReceipt(r, l.Node, l.RKey)
			if err != nil {
				return err
			}
			s.Receipt = &lease.Shown{Sequence: r.Value.Sequence, ElapsedMS: r.Value.ElapsedMS, NodeSigned: byNode, KeySigned: byKey}
			switch item.Action {
			case marketv1.CloseAction_CLOSE_ACTION_FINAL:
				step = lease.FinalReceipt{Sequence: r.Value.Sequence, ElapsedMS: r.Value.ElapsedMS, Reason: lease.Reason(r.Value.Reason), NodeSigned: byNode, KeySigned: byKey, Sender: "operator"}
			case marketv1.CloseAction_CLOSE_ACTION_RECEIPT:
				step = lease.Receipt{Sequence: r.Value.Sequence, ElapsedMS: r.Value.ElapsedMS, NodeSigned: byNode, KeySigned: byKey, Sender: "operator"}
			default:
				step = s
			}
		}
	}
	next, err := l.Lease.Apply(testParams(), step, meterNow())
	if err != nil {
		return err
	}
	l.Lease = next
	return nil
}

// order is a tenant's signed order number n and the manifest it is for.
func (w *world) order(n uint64, array bool) (wire.Signed[wire.Order], []byte, *wire.Ed25519Signer, error) {
	seed := make([]byte, 32)
	seed[0], seed[1] = byte(n), 1
	key, err := wire.NewEd25519Signer(seed)
	if err != nil {
		return wire.Signed[wire.Order]{}, nil, nil, err
	}
	cid := make([]byte, manifest.CIDSize)
	copy(cid, []byte{1, 0x55, 0x12, 0x20})
	body, err := manifest.Encode(manifest.Manifest{
		Version: manifest.Version1, Runtime: "fake", Module: cid, ModuleBytes: 1, MemoryBytes: 1 << 20,
		OutputBytesMax: 1 << 20, LogBytesMax: 1 << 20, TaskTimeoutMS: 60_000, Array: array,
	})
	if err != nil {
		return wire.Signed[wire.Order]{}, nil, nil, err
	}
	payer, err := wire.AccountAddress(wire.AlgEd25519, key.PublicKey())
	if err != nil {
		return wire.Signed[wire.Order]{}, nil, nil, err
	}
	spec := manifest.SpecHash(body)
	nonce := make([]byte, 16)
	nonce[0] = byte(n)
	order, err := wire.Seal(wire.Order{
		Version: wire.Version1, ChainID: testChain, Payer: payer, Kind: KindCompute, KindVersion: KindComputeVersion,
		Nonce: nonce, JobID: make([]byte, 16), SpecHash: spec[:],
		Quantities: []wire.Quantity{{Dimension: DimCPU, Amount: 1000}, {Dimension: DimMemory, Amount: 1 << 20}},
		Terms: wire.Terms{
			Denom: "umoy", MaxRate: amount.NewRate(1 << 60), TimeoutMS: 600_000, MaxGraceMS: 5_000, MaxUnackedMS: 10_000,
			ReceiptKey: key.PublicKey(), Verify: wire.Verify{Policy: "none"}, ExpiresAt: time.Now().Add(time.Hour).UnixMilli(),
		},
	}, key)
	return order, body, key, err
}

// tenantStream is a tenant that countersigns whatever it is shown and deals the
// indices it was given.
type tenantStream struct {
	w       *world
	key     wire.Signer
	id      string
	silent  bool // it reads and never answers
	inbox   chan p2p.LeaseMessage
	done    chan struct{}
	once    sync.Once
	mu      sync.Mutex
	ends    []p2p.TaskDone
	logs    map[uint64]string
	ended   *p2p.End
	refused *p2p.Refused
	status  []p2p.Status
}

func newTenant(w *world, key wire.Signer, id string) *tenantStream {
	return &tenantStream{w: w, key: key, id: id, inbox: make(chan p2p.LeaseMessage, 64), done: make(chan struct{}), logs: map[uint64]string{}}
}

func (t *tenantStream) Recv() (p2p.LeaseMessage, error) {
	select {
	case m := <-t.inbox:
		return m, nil
	case <-t.done:
		return nil, io.EOF
	}
}

// CloseWrite: the tenant reads the end and closes its side too.
func (t *tenantStream) CloseWrite() error { t.Close(); return nil }

func (t *tenantStream) Close() { t.once.Do(func() { close(t.done) }) }
func (t *tenantStream) Reset() { t.Close() }

func (t *tenantStream) Send(m p2p.LeaseMessage) error {
	if err := m.Validate(); err != nil {
		return err
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	switch m := m.(type) {
	case *p2p.Propose:
		if !t.silent {
			return t.countersign(m.Receipt)
		}
	case *p2p.TaskDone:
		t.ends = append(t.ends, *m)
	case *p2p.Log:
		if uint64(len(t.logs[m.Task])) != m.Offset {
			return fmt.Errorf("log of task %d has a gap: %d after %d", m.Task, m.Offset, len(t.logs[m.Task]))
		}
		t.logs[m.Task] += string(m.Data)
	case *p2p.Status:
		t.status = append(t.status, *m)
	case *p2p.End:
		t.ended = m
	case *p2p.Refused:
		t.refused = m
	}
	return nil
}

func (t *tenantStream) countersign(b []byte) error {
	r, err := wire.Open[wire.Receipt](testChain, b)
	if err != nil {
		return err
	}
	both, err := r.Countersign(t.key)
	if err != nil {
		return err
	}
	t.w.change(func() {
		l := t.w.Leases[t.id]
		l.Acked = max(l.Acked, r.Value.ElapsedMS)
	})
	select {
	case t.inbox <- &p2p.Ack{Receipt: both.Bytes()}:
	case <-t.done:
	}
	return nil
}

// hello is what a tenant of the order says first.
func hello(order [32]byte, id []byte, key wire.Signer, from peer.ID) (p2p.Hello, error) {
	access, err := wire.Seal(wire.Access{
		Version: wire.Version1, ChainID: testChain, OrderHash: order[:], Peer: []byte(from), ExpiresAt: time.Now().Add(time.Hour).UnixMilli(),
	}, key)
	return p2p.Hello{LeaseID: id, Access: access.Bytes()}, err
}

// worldWares makes every fetch succeed at once.
type worldWares struct{}

func (worldWares) Fetch(_ context.Context, _ journal.Tenant, _ [32]byte, _ []byte, _ uint64, dest string, _ func(uint64)) error {
	return os.WriteFile(dest, []byte("module"), 0o600)
}
func (worldWares) Offer(context.Context, [32]byte, string) ([]byte, uint64, error) {
	return []byte("root"), 4, nil
}
func (worldWares) Withdraw([32]byte) {}
