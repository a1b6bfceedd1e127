package e2e

import (
	"context"
	"encoding/hex"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/protocol"

	marketv1 "github.com/moyai-network/moyai/api/moyai/market/v1"
	"github.com/moyai-network/moyai/client/chain"
	"github.com/moyai-network/moyai/compute/manifest"
	"github.com/moyai-network/moyai/devnet"
	"github.com/moyai-network/moyai/mechanism/amount"
	"github.com/moyai-network/moyai/mechanism/lease"
	"github.com/moyai-network/moyai/p2p"
	"github.com/moyai-network/moyai/p2p/content"
	"github.com/moyai-network/moyai/p2p/gossip"
	"github.com/moyai-network/moyai/wire"
)

type protocolID = protocol.ID

// vandal is a tenant that speaks the protocols by hand and breaks them where
// the test wants.
type vandal struct {
	t      testing.TB
	n      *devnet.Network
	host   *p2p.Host
	orders *gossip.Orders
	files  *content.Server
	payer  *chain.Sender
	bids   chan *p2p.ReceivedBid

	manifest []byte
	module   *content.Source
}

// newVandal connects to every provider of the network.
func newVandal(t testing.TB, n *devnet.Network) *vandal {
	t.Helper()
	v := &vandal{t: t, n: n, payer: account(t, n, 10*moy), bids: make(chan *p2p.ReceivedBid, 16)}
	key, err := p2p.NewKey()
	if err != nil {
		t.Fatal(err)
	}
	if v.host, err = p2p.New(p2p.Config{Key: key, Listen: loopback()}); err != nil {
		t.Fatal(err)
	}
	if v.orders, err = gossip.Join(v.host, gossip.Config{ChainID: n.ChainID}); err != nil {
		t.Fatal(err)
	}
	v.files = content.Serve(v.host, func(context.Context, peer.ID, content.Get) error { return nil })
	v.host.HandleBids(func(_ context.Context, b *p2p.ReceivedBid) { v.bids <- b })
	t.Cleanup(func() { v.files.Close(); v.orders.Close(); _ = v.host.Close() })
	for _, p := range n.Providers {
		if err := v.host.Connect(deadline(t, patience), providerInfo(t, n, p)); err != nil {
			t.Fatal(err)
		}
	}
	if v.module, err = content.Build(context.Background(), guest(t)); err != nil {
		t.Fatal(err)
	}
	v.manifest = v.describe("tick", "600", "100ms")
	return v
}

// providerInfo is where the registry says that a provider's machine is.
func providerInfo(t testing.TB, n *devnet.Network, p *devnet.Provider) peer.AddrInfo {
	t.Helper()
	nodes, err := n.Chain().Nodes(context.Background(), p.Address, true)
	if err != nil || len(nodes) == 0 {
		t.Fatalf("machines of %s: %d, %v", p.Name, len(nodes), err)
	}
	id, err := p2p.PeerIDFromNode(nodes[0].Node)
	if err != nil {
		t.Fatal(err)
	}
	info, err := p2p.ParseAddrInfo(id, nodes[0].Addresses)
	if err != nil {
		t.Fatal(err)
	}
	return info
}

func (v *vandal) describe(args ...string) []byte {
	v.t.Helper()
	raw, err := manifest.Encode(manifest.Manifest{
		Version: manifest.Version1, Runtime: manifest.RuntimeWasm, Module: v.module.Root().Bytes(), ModuleBytes: v.module.Size(),
		Args: args, MemoryBytes: 64 << 20, OutputBytesMax: 1 << 20, LogBytesMax: 1 << 20, TaskTimeoutMS: 120_000,
	})
	if err != nil {
		v.t.Fatal(err)
	}
	return raw
}

// dealing is an order with the bid that was chosen for it.
type dealing struct {
	order wire.Signed[wire.Order]
	key   *wire.Ed25519Signer
	bid   *p2p.ReceivedBid
	peer  peer.ID
}

// ask announces an order for the vandal's manifest and takes the first bid.
func (v *vandal) ask(timeout, maxUnacked time.Duration) *dealing {
	v.t.Helper()
	ctx := deadline(v.t, patience)
	seed := make([]byte, 32)
	copy(seed, time.Now().Format(time.RFC3339Nano))
	key, err := wire.NewEd25519Signer(seed)
	if err != nil {
		v.t.Fatal(err)
	}
	max, err := amount.RateFromPrice(amount.New(moy), 3600)
	if err != nil {
		v.t.Fatal(err)
	}
	hash := manifest.SpecHash(v.manifest)
	order, err := wire.Seal(wire.Order{
		Version: wire.Version1, ChainID: v.n.ChainID, Payer: v.payer.Account(), Kind: "compute", KindVersion: 1,
		Nonce: seed[4:20], JobID: seed[8:24], SpecHash: hash[:],
		Quantities: []wire.Quantity{{Dimension: "cpu.milli", Amount: 1000}, {Dimension: "memory.bytes", Amount: 64 << 20}},
		Terms: wire.Terms{
			Denom: chain.BaseDenom, MaxRate: max, TimeoutMS: uint64(timeout.Milliseconds()), MaxGraceMS: 4000,
			MaxUnackedMS: uint64(maxUnacked.Milliseconds()), ReceiptKey: key.PublicKey(),
			Verify: wire.Verify{Policy: wire.VerifyNone}, ExpiresAt: time.Now().Add(time.Minute).UnixMilli(),
		},
	}, v.payer.Signer())
	if err != nil {
		v.t.Fatal(err)
	}
	v.files.Add(order.Digest[:], v.module)
	d := &dealing{order: order, key: key}
	if _, err := v.orders.Publish(ctx, &p2p.Announce{
		Order: order.Bytes(), Peer: []byte(v.host.ID()), Addrs: v.host.AddrStrings(), Access: v.access(d),
	}, len(v.n.Providers)); err != nil {
		v.t.Fatalf("announce: %v", err)
	}
	for {
		select {
		case b := <-v.bids:
			if len(b.Offer.Bid) == 0 || string(b.Offer.OrderHash) != string(order.Digest[:]) {
				b.Close()
				continue
			}
			d.bid, d.peer = b, b.Peer()
			return d
		case <-ctx.Done():
			v.t.Fatal("nobody bid")
		}
	}
}

func (v *vandal) access(d *dealing) []byte {
	v.t.Helper()
	a, err := wire.Seal(wire.Access{
		Version: wire.Version1, ChainID: v.n.ChainID, OrderHash: d.order.Digest[:], Peer: []byte(v.host.ID()),
		ExpiresAt: time.Now().Add(time.Hour).UnixMilli(),
	}, d.key)
	if err != nil {
		v.t.Fatal(err)
	}
	return a.Bytes()
}

// open takes the ready and opens the lease; the manifest must be good.
func (v *vandal) open(d *dealing) []byte {
	v.t.Helper()
	ctx := deadline(v.t, patience)
	ready, err := d.bid.Choose(ctx, p2p.Choice{Manifest: v.manifest})
	if err != nil {
		v.t.Fatalf("choose: %v", err)
	}
	res, err := v.payer.Send(ctx, &marketv1.MsgOpenLeases{Payer: v.payer.Address(), Items: []marketv1.OpenItem{{
		Order: d.order.Body, Candidates: []marketv1.Candidate{{Bid: d.bid.Offer.Bid, Ready: ready}},
	}}})
	if err != nil {
		v.t.Fatal(err)
	}
	reply, ok := chain.Response[*marketv1.MsgOpenLeasesResponse](res)
	if !ok || len(reply.Results) != 1 || len(reply.Results[0].LeaseId) == 0 {
		v.t.Fatalf("not opened: %+v", reply)
	}
	d.bid.Close()
	return reply.Results[0].LeaseId
}

// TestManifestWithAnotherHash shows a chosen provider a manifest that is not the
// one of the order. It refuses to sign, and nothing is opened.
func TestManifestWithAnotherHash(t *testing.T) {
	n := network(t)
	v := newVandal(t, n)
	before := balanceOf(t, n, v.payer.Address())
	other := v.describe("say", "something else")
	for name, shown := range map[string][]byte{"another program": other, "not a manifest": []byte("not a manifest"), "cut off": v.manifest[:len(v.manifest)-1]} {
		t.Run(name, func(t *testing.T) {
			d := v.ask(time.Minute, 10*time.Second)
			_, err := d.bid.Choose(deadline(t, patience), p2p.Choice{Manifest: shown})
			if err == nil {
				t.Fatal("the provider signed that it is ready to run a manifest that the order does not mean")
			}
			t.Log(err)
			if !strings.Contains(err.Error(), "manifest") {
				t.Errorf("the refusal does not say that the manifest is wrong: %v", err)
			}
		})
	}
	spent(t, n, v.payer.Address(), before)
	// The same provider, shown the right one, is none the worse for it.
	d := v.ask(time.Minute, 10*time.Second)
	if _, err := d.bid.Choose(deadline(t, patience), p2p.Choice{Manifest: v.manifest}); err != nil {
		t.Errorf("the right manifest: %v", err)
	}
	d.bid.Close()
}

// TestTenantNeverAnswers opens a lease and is never heard of again. The provider
// does not work for nothing: the lease ends as not started, and the slot is
// free again.
func TestTenantNeverAnswers(t *testing.T) {
	n := network(t)
	v := newVandal(t, n)
	d := v.ask(5*time.Second, 2*time.Second)
	id := v.open(d)
	free(t, n, v.payer.Address())
	l, err := n.Chain().Lease(context.Background(), id)
	if err != nil {
		t.Fatal(err)
	}
	if got := lease.Reason(l.Reason); got != lease.ReasonNotStarted {
		t.Errorf("it ended because of %s", got)
	}
	if l.Settlement.Refunded != l.Hold {
		t.Errorf("%s of the hold of %s came back", l.Settlement.Refunded, l.Hold)
	}
	v.served(l.Provider, id)
}

// TestTenantVanishes countersigns the start and is never heard of again. The
// provider works on for max_unacked and no longer, and is paid for that.
func TestTenantVanishes(t *testing.T) {
	n := network(t)
	v := newVandal(t, n)
	const maxUnacked = 2 * time.Second
	d := v.ask(2*time.Minute, maxUnacked)
	id := v.open(d)
	v.start(d, id)
	free(t, n, v.payer.Address())
	l, err := n.Chain().Lease(context.Background(), id)
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("ended because of %s: %+v", lease.Reason(l.Reason), *l.Settlement)
	if got := l.Settlement.BilledMs; got == 0 || got > uint64(maxUnacked.Milliseconds()) {
		t.Errorf("%d ms were billed, want some, and at most %s", got, maxUnacked)
	}
	v.served(l.Provider, id)
}

// start attaches, countersigns the start receipt and leaves.
func (v *vandal) start(d *dealing, id []byte) {
	v.t.Helper()
	ctx := deadline(v.t, patience)
	for {
		err := v.tryStart(ctx, d, id)
		if err == nil {
			return
		}
		if ctx.Err() != nil {
			v.t.Fatalf("start: %v", err)
		}
		time.Sleep(50 * time.Millisecond) // it may not have seen the block yet
	}
}

func (v *vandal) tryStart(ctx context.Context, d *dealing, id []byte) error {
	l, err := v.host.OpenLeaseStream(ctx, peer.AddrInfo{ID: d.peer}, p2p.Hello{LeaseID: id, Access: v.access(d)})
	if err != nil {
		return err
	}
	defer l.Reset()
	for {
		m, err := l.RecvContext(ctx)
		if err != nil {
			return err
		}
		propose, ok := m.(*p2p.Propose)
		if !ok {
			continue
		}
		receipt, err := wire.Open[wire.Receipt](v.n.ChainID, propose.Receipt)
		if err != nil {
			return err
		}
		if receipt.Value.Final {
			return errors.New("it proposed the end before the start")
		}
		both, err := receipt.Countersign(d.key)
		if err != nil {
			return err
		}
		if err := l.Send(&p2p.Ack{Receipt: both.Bytes()}); err != nil {
			return err
		}
		// Stay until the task says something: then the ack has arrived.
		for {
			m, err := l.RecvContext(ctx)
			if err != nil {
				return err
			}
			if _, ok := m.(*p2p.Log); ok {
				return nil
			}
		}
	}
}

// served waits until a provider, too, knows that its lease is over.
func (v *vandal) served(operator string, id []byte) {
	v.t.Helper()
	for _, p := range v.n.Providers {
		if p.Address == operator {
			eventually(v.t, patience, p.Name+" to be done with the lease", func() bool {
				s, err := p.Status(context.Background())
				return err == nil && settledAt(s, hex.EncodeToString(id))
			})
		}
	}
}

// TestOversizedFrames announces 4 GiB to a provider on every protocol it speaks.
// It hangs up without taking them, and serves others as if nothing had been.
func TestOversizedFrames(t *testing.T) {
	n := network(t)
	target := n.Providers[0]
	for _, proto := range []protocolID{p2p.QuoteProtocol, p2p.LeaseProtocol, p2p.ContentProtocol} {
		t.Run(strings.Trim(string(proto), "/"), func(t *testing.T) {
			key, err := p2p.NewKey()
			if err != nil {
				t.Fatal(err)
			}
			h, err := p2p.New(p2p.Config{Key: key, Listen: loopback()})
			if err != nil {
				t.Fatal(err)
			}
			defer h.Close()
			sent, err := flood(h, providerInfo(t, n, target), proto)
			if err != nil {
				t.Fatal(err)
			}
			t.Logf("it took %d bytes", sent)
			checkSwallowed(t, sent)
		})
	}
	x := newTenant(t, n, moy)
	quotes, err := x.Quote(deadline(t, patience), x.job(t, "say", "hello"))
	if err != nil {
		t.Fatal(err)
	}
	for _, q := range quotes {
		if q.Provider == target.Address && len(q.Refusals) > 0 {
			t.Errorf("it refuses others now: %v", q.Refusals)
		}
	}
}

// TestStrangerAtTheDoor asks a provider for a lease it does not have.
func TestStrangerAtTheDoor(t *testing.T) {
	n := network(t)
	v := newVandal(t, n)
	d := v.ask(time.Minute, 10*time.Second)
	defer d.bid.Close()
	id, err := hex.DecodeString(strings.Repeat("ab", 20))
	if err != nil {
		t.Fatal(err)
	}
	l, err := v.host.OpenLeaseStream(deadline(t, patience), peer.AddrInfo{ID: d.peer}, p2p.Hello{LeaseID: id, Access: v.access(d)})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Reset()
	m, err := l.RecvContext(deadline(t, patience))
	if err != nil {
		t.Fatalf("no answer: %v", err)
	}
	refused, ok := m.(*p2p.Refused)
	if !ok {
		t.Fatalf("it answered with %T", m)
	}
	t.Log(refused.Refusal.String())
}
