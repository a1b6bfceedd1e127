package e2e

import (
	"context"
	"crypto/rand"
	"strings"
	"sync"
	"testing"
	"time"

	sdkmath "cosmossdk.io/math"
	sdk "github.com/cosmos/cosmos-sdk/types"
	"github.com/libp2p/go-libp2p/core/peer"

	marketv1 "github.com/moyai-network/moyai/api/moyai/market/v1"
	registryv1 "github.com/moyai-network/moyai/api/moyai/registry/v1"
	"github.com/moyai-network/moyai/client/chain"
	"github.com/moyai-network/moyai/devnet"
	"github.com/moyai-network/moyai/mechanism/amount"
	"github.com/moyai-network/moyai/mechanism/lease"
	"github.com/moyai-network/moyai/p2p"
	"github.com/moyai-network/moyai/p2p/gossip"
	"github.com/moyai-network/moyai/wire"
)

// rogueGraceMS is the loading time a rogue's bid asks for: tenants wait it out.
const rogueGraceMS = 500

// rogue is a provider that underbids everybody and then does what the test
// wants. It answers one payer only, so that it cheats nobody else's test.
type rogue struct {
	t        testing.TB
	n        *devnet.Network
	host     *p2p.Host
	node     *wire.Ed25519Signer
	operator *chain.Sender
	payer    []byte
	slot     uint32

	// onBid may do something else than bid.
	onBid func(gossip.Order) (handled bool)
	// onStream attends to a lease stream; nil: be silent on it.
	onStream func(ctx context.Context, l *p2p.LeaseStream, leaseID []byte)

	mu  sync.Mutex
	ids [][]byte // leases that may come of its readies
}

// newRogue registers the rogue and lets it listen for orders.
func newRogue(t testing.TB, n *devnet.Network, payer string) *rogue {
	t.Helper()
	account20, err := chain.ParseAddress(payer)
	if err != nil {
		t.Fatal(err)
	}
	seed := make([]byte, 32)
	_, _ = rand.Read(seed)
	r := &rogue{t: t, n: n, payer: account20, operator: account(t, n, 10*moy)}
	if r.node, err = wire.NewEd25519Signer(seed); err != nil {
		t.Fatal(err)
	}
	key, err := p2p.KeyFromSeed(seed)
	if err != nil {
		t.Fatal(err)
	}
	if r.host, err = p2p.New(p2p.Config{Key: key, Listen: loopback()}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = r.host.Close() })
	r.register()
	orders, err := gossip.Join(r.host, gossip.Config{
		ChainID: n.ChainID, Funds: func(context.Context, []byte) gossip.Funds { return gossip.Funds{Funded: true, Known: true} },
	})
	if err != nil {
		t.Fatal(err)
	}
	sub, err := orders.Subscribe()
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	wg.Go(func() { r.listen(ctx, sub) })
	r.host.HandleLeaseStreams(r.attach)
	t.Cleanup(func() { cancel(); sub.Close(); orders.Close(); wg.Wait() })
	return r
}

func (r *rogue) register() {
	r.t.Helper()
	record, err := wire.Seal(wire.NodeRecord{
		Version: wire.Version1, ChainID: r.n.ChainID, Provider: r.operator.Account(), Node: r.node.PublicKey(),
		Sequence: uint64(time.Now().UnixMilli()), Addresses: r.host.AddrStrings(),
	}, r.node)
	if err != nil {
		r.t.Fatal(err)
	}
	_, err = r.operator.Send(deadline(r.t, patience),
		&registryv1.MsgRegisterProvider{Operator: r.operator.Address(), Moniker: "rogue", Bond: sdk.NewCoin(chain.BaseDenom, sdkmath.ZeroInt())},
		&registryv1.MsgSetNode{Operator: r.operator.Address(), Record: record.Bytes()})
	if err != nil {
		r.t.Fatalf("register: %v", err)
	}
	r.t.Cleanup(func() { // others must not look for it
		if _, err := r.operator.Send(context.Background(), &registryv1.MsgLeave{Operator: r.operator.Address()}); err != nil {
			r.t.Errorf("leave: %v", err)
		}
	})
}

func (r *rogue) listen(ctx context.Context, sub *gossip.Subscription) {
	for {
		o, err := sub.Next(ctx)
		if err != nil {
			return
		}
		if string(o.Signed.Value.Payer) != string(r.payer) || r.onBid != nil && r.onBid(o) {
			continue
		}
		if err := r.bid(ctx, o); err != nil && ctx.Err() == nil {
			r.t.Logf("rogue: %v", err)
		}
	}
}

// bid underbids everybody, and signs Ready for whatever it is shown.
func (r *rogue) bid(ctx context.Context, o gossip.Order) error {
	r.mu.Lock()
	r.slot++
	slot := r.slot
	r.mu.Unlock()
	rate, err := amount.RateFromPrice(amount.New(moy/100), 3600) // 0.01 MOY/h
	if err != nil {
		return err
	}
	v := o.Signed.Value
	bid, err := wire.Seal(wire.Bid{
		Version: wire.Version1, ChainID: v.ChainID, OrderHash: o.Signed.Digest[:], Payer: v.Payer, Provider: r.operator.Account(),
		Node: r.node.PublicKey(), Slot: slot, Generation: 1, Rate: rate, Denom: v.Terms.Denom, GraceMS: rogueGraceMS,
		ExpiresAt: time.Now().Add(20 * time.Second).UnixMilli(),
	}, r.node)
	if err != nil {
		return err
	}
	to, err := o.Announce.AddrInfo()
	if err != nil {
		return err
	}
	offered, err := r.host.OfferBid(ctx, to, p2p.BidOffer{OrderHash: o.Signed.Digest[:], Bid: bid.Bytes(), Moniker: "rogue"})
	if err != nil {
		return err
	}
	if _, err := offered.AwaitChoice(ctx); err != nil {
		return err
	}
	ready, err := wire.Seal(wire.Ready{Version: wire.Version1, ChainID: v.ChainID, BidHash: bid.Digest[:], Manifest: v.SpecHash}, r.node)
	if err != nil {
		return err
	}
	id := wire.LeaseID(o.Signed.Digest, bid.Digest)
	r.mu.Lock()
	r.ids = append(r.ids, id[:])
	r.mu.Unlock()
	return offered.SendReady(ready.Bytes())
}

func (r *rogue) attach(ctx context.Context, l *p2p.LeaseStream, hello p2p.Hello) {
	defer l.Reset()
	if r.onStream != nil {
		r.onStream(ctx, l, hello.LeaseID)
		return
	}
	for { // silent, but there
		if _, err := l.RecvContext(ctx); err != nil {
			return
		}
	}
}

// receipt is what an honest machine would sign, with the rogue's numbers.
func (r *rogue) receipt(id []byte, sequence, elapsedMS uint64) *p2p.Propose {
	signed, err := wire.Seal(wire.Receipt{
		Version: wire.Version1, ChainID: r.n.ChainID, LeaseID: id, Sequence: sequence, ElapsedMS: elapsedMS,
	}, r.node)
	if err != nil {
		r.t.Errorf("rogue receipt: %v", err)
	}
	return &p2p.Propose{Receipt: signed.Bytes()}
}

// leases are those of the rogue's that the chain knows.
func (r *rogue) leases() []marketv1.Lease {
	r.t.Helper()
	all, err := r.n.Chain().Leases(context.Background(), chain.LeaseFilter{Provider: r.operator.Address()})
	if err != nil {
		r.t.Fatal(err)
	}
	return all
}

// TestReadyButNeverStarts rents from a provider that signs everything and does
// nothing. The tenant's job runs elsewhere; the lease ends as not started and
// the whole hold comes back.
func TestReadyButNeverStarts(t *testing.T) {
	n := network(t)
	home, address, err := n.NewTenant(deadline(t, patience), uniqueName(), 10*moy)
	if err != nil {
		t.Fatal(err)
	}
	r := newRogue(t, n, address)
	x := &tenant{Client: newClient(t, n, home), n: n, home: home, address: address}
	res := x.mustRun(t, x.job(t, "say", "hello"))
	if got := res.Tasks[0].Attempts; got != 2 {
		t.Errorf("%d attempts, want one lost with the rogue and one elsewhere", got)
	}
	free(t, n, address)
	leases := r.leases()
	if len(leases) != 1 {
		t.Fatalf("%d leases with the rogue, want 1", len(leases))
	}
	l := leases[0]
	if got := lease.Reason(l.Reason); got != lease.ReasonNotStarted {
		t.Errorf("it ended because of %s", got)
	}
	checkSettlement(t, *l.Settlement, marketv1.Settlement{
		Gross: "0", Provider: "0", Burned: "0", Pool: "0", Refunded: l.Hold, Contester: "0", Bounty: l.Bounty,
	})
	if l.Settlement.BountyTo != address {
		t.Errorf("the bounty went to %q, want the tenant, who closed", l.Settlement.BountyTo)
	}
}

// TestReceiptsThatLie rents from a provider whose counters go backwards and run
// ahead. The tenant signs only what is true, and a claim for more is contested.
func TestReceiptsThatLie(t *testing.T) {
	n := network(t)
	home, address, err := n.NewTenant(deadline(t, patience), uniqueName(), 10*moy)
	if err != nil {
		t.Fatal(err)
	}
	r := newRogue(t, n, address)
	var mu sync.Mutex
	var acked []uint64 // counters that the tenant signed
	lied := make(chan struct{})
	var once sync.Once
	r.onStream = func(ctx context.Context, l *p2p.LeaseStream, id []byte) {
		lie := func() {
			_ = l.Send(r.receipt(id, 0, 0))
			for _, m := range []*p2p.Propose{
				r.receipt(id, 1, 300),    // could be
				r.receipt(id, 2, 100),    // backwards
				r.receipt(id, 1, 400),    // the same sequence with another counter
				r.receipt(id, 3, 10_301), // a millisecond more than max_unacked allows
				r.receipt(id, 4, 9_000),  // allowed by max_unacked, not by the tenant's clock
				r.receipt(id, 5, 1<<40),
				{Receipt: []byte("not a receipt")},
			} {
				_ = l.Send(m)
			}
			close(lied)
		}
		go once.Do(lie) // later, some of it could be true
		for {
			m, err := l.RecvContext(ctx)
			if err != nil {
				return
			}
			if ack, ok := m.(*p2p.Ack); ok {
				receipt, err := wire.Open[wire.Receipt](n.ChainID, ack.Receipt)
				if err != nil {
					t.Errorf("the tenant sent an ack that cannot be read: %v", err)
					return
				}
				mu.Lock()
				acked = append(acked, receipt.Value.ElapsedMS)
				mu.Unlock()
			}
		}
	}
	x := &tenant{Client: newClient(t, n, home), n: n, home: home, address: address}
	job := x.job(t, "say", "hello")
	var warnings strings.Builder
	job.Events = collect(t, &warnings)
	x.mustRun(t, job)
	<-lied
	// It claims an hour. The tenant saw some seconds at most.
	free(t, n, address)
	mu.Lock()
	defer mu.Unlock()
	for _, ms := range acked {
		if ms > 300 {
			t.Errorf("the tenant signed %d ms", ms)
		}
	}
	if len(acked) < 2 {
		t.Errorf("the tenant signed %v, want the two true receipts", acked)
	}
	if text := warnings.String(); !strings.Contains(text, "not signed") {
		t.Errorf("the tenant was not told why receipts went unsigned: %s", text)
	}
	for _, l := range r.leases() {
		if l.Settlement.BilledMs > 300 {
			t.Errorf("billed %d ms, signed were 300", l.Settlement.BilledMs)
		}
	}
}

// TestOversizedBid sends the tenant a frame that announces 4 GiB where a bid is
// due. The stream ends at once and the job runs elsewhere.
func TestOversizedBid(t *testing.T) {
	n := network(t)
	home, address, err := n.NewTenant(deadline(t, patience), uniqueName(), 10*moy)
	if err != nil {
		t.Fatal(err)
	}
	r := newRogue(t, n, address)
	swallowed := make(chan int64, 8)
	r.onBid = func(o gossip.Order) bool {
		to, err := o.Announce.AddrInfo()
		if err == nil {
			var sent int64
			if sent, err = flood(r.host, to, p2p.BidProtocol); err == nil {
				swallowed <- sent
				return true
			}
		}
		t.Logf("rogue: %v", err)
		return true
	}
	x := &tenant{Client: newClient(t, n, home), n: n, home: home, address: address}
	x.mustRun(t, x.job(t, "say", "hello"))
	select {
	case sent := <-swallowed:
		checkSwallowed(t, sent)
	case <-time.After(patience):
		t.Error("the flood was not answered")
	}
	free(t, n, address)
}

// maxSwallowed is more than a connection's buffers and far less than was
// announced.
const maxSwallowed = 64 << 20

func checkSwallowed(t testing.TB, sent int64) {
	t.Helper()
	if sent >= maxSwallowed {
		t.Errorf("the other end took %d bytes before it hung up", sent)
	}
}

// flood announces a frame of 4 GiB and sends it until the other end hangs up,
// but no more than maxSwallowed. It returns how much went out.
func flood(h *p2p.Host, to peer.AddrInfo, proto protocolID) (int64, error) {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	s, err := h.OpenStream(ctx, to, proto)
	if err != nil {
		return 0, err
	}
	defer s.Reset()
	raw := s.Raw()
	if err := raw.SetDeadline(time.Now().Add(patience)); err != nil {
		return 0, err
	}
	// 4 GiB as an unsigned varint.
	if _, err := raw.Write([]byte{0x80, 0x80, 0x80, 0x80, 0x10}); err != nil {
		return 0, nil
	}
	block := make([]byte, 64<<10)
	var sent int64
	for sent < maxSwallowed {
		k, err := raw.Write(block)
		sent += int64(k)
		if err != nil {
			return sent, nil
		}
	}
	return sent, nil
}
