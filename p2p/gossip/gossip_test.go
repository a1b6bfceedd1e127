package gossip_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	pubsub "github.com/libp2p/go-libp2p-pubsub"

	"github.com/moyai-network/moyai/mechanism/amount"
	"github.com/moyai-network/moyai/p2p"
	"github.com/moyai-network/moyai/p2p/gossip"
	"github.com/moyai-network/moyai/p2p/limit"
	"github.com/moyai-network/moyai/p2p/p2ptest"
	"github.com/moyai-network/moyai/wire"
)

const chain = "moyai-dev-1"

// tenant makes announcements.
type tenant struct {
	t       testing.TB
	host    *p2p.Host
	payer   wire.Signer
	receipt wire.Signer
	made    uint64
}

func newTenant(t testing.TB, host *p2p.Host) *tenant {
	return &tenant{t: t, host: host, payer: signer(t, "payer"), receipt: signer(t, "receipt")}
}

func signer(t testing.TB, name string) wire.Signer {
	t.Helper()
	seed := sha256.Sum256([]byte(name))
	s, err := wire.NewEd25519Signer(seed[:])
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func must[T any](v T, err error) func(testing.TB) T {
	return func(t testing.TB) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

func (n *tenant) address() []byte {
	return must(wire.AccountAddress(n.payer.Alg(), n.payer.PublicKey()))(n.t)
}

func (n *tenant) order(change func(*wire.Order)) wire.Order {
	n.made++
	nonce := make([]byte, wire.NonceSize)
	binary.BigEndian.PutUint64(nonce, n.made)
	o := wire.Order{
		Version: wire.Version1, ChainID: chain, Payer: n.address(), Kind: "compute", KindVersion: 1,
		Nonce: nonce, JobID: nonce, SpecHash: make([]byte, 32),
		Quantities: []wire.Quantity{{Dimension: "cpu.milli", Amount: 1000}},
		Terms: wire.Terms{
			Denom: "umoy", MaxRate: amount.NewRate(1), TimeoutMS: 1000, MaxUnackedMS: 1000,
			ReceiptKey: n.receipt.PublicKey(), Verify: wire.Verify{Policy: wire.VerifyNone},
			ExpiresAt: time.Now().Add(time.Minute).UnixMilli(),
		},
	}
	if change != nil {
		change(&o)
	}
	return o
}

// announce signs an order and the access that goes with it.
func (n *tenant) announce(changeOrder func(*wire.Order), changeAccess func(*wire.Access)) *p2p.Announce {
	order := must(wire.Seal(n.order(changeOrder), n.payer))(n.t)
	a := wire.Access{
		Version: wire.Version1, ChainID: order.Value.ChainID, OrderHash: order.Digest[:],
		Peer: []byte(n.host.ID()), ExpiresAt: time.Now().Add(time.Minute).UnixMilli(),
	}
	if changeAccess != nil {
		changeAccess(&a)
	}
	access := must(wire.Seal(a, n.receipt))(n.t)
	return &p2p.Announce{Order: order.Bytes(), Peer: []byte(n.host.ID()), Addrs: n.host.AddrStrings(), Access: access.Bytes()}
}

func funded(context.Context, []byte) gossip.Funds { return gossip.Funds{Funded: true, Known: true} }

func joined(t testing.TB, h *p2p.Host, change ...func(*gossip.Config)) *gossip.Orders {
	t.Helper()
	cfg := gossip.Config{ChainID: chain, Funds: funded}
	for _, f := range change {
		f(&cfg)
	}
	o, err := gossip.Join(h, cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(o.Close)
	return o
}

func subscribed(t testing.TB, o *gossip.Orders) *gossip.Subscription {
	t.Helper()
	s, err := o.Subscribe()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	return s
}

// A fresh tenant connects, announces at once, and every provider has the order in
// one hop; a provider behind another one gets it too.
func TestOrderReachesEveryone(t *testing.T) {
	ctx := p2ptest.Context(t)
	host := p2ptest.NewHost(t)
	var subs []*gossip.Subscription
	var providers []*p2p.Host
	var first *gossip.Orders
	for range 3 {
		h := p2ptest.NewHost(t)
		o := joined(t, h)
		if first == nil {
			first = o
		}
		providers, subs = append(providers, h), append(subs, subscribed(t, o))
	}
	far := p2ptest.NewHost(t)
	subs = append(subs, subscribed(t, joined(t, far)))
	p2ptest.Connect(t, far, providers[0])
	for len(first.Neighbours()) == 0 && ctx.Err() == nil {
		time.Sleep(time.Millisecond)
	}

	n, publisher := newTenant(t, host), joined(t, host, func(c *gossip.Config) { c.Funds = nil })
	for _, h := range providers {
		p2ptest.Connect(t, host, h)
	}
	reached, err := publisher.Publish(ctx, n.announce(nil, nil), len(providers))
	if err != nil || reached != len(providers) {
		t.Fatalf("reached %d, %v", reached, err)
	}
	for i, s := range subs {
		got, err := s.Next(ctx)
		if err != nil {
			t.Fatalf("provider %d: %v", i, err)
		}
		info, err := got.Announce.AddrInfo()
		if err != nil || info.ID != host.ID() || !bytes.Equal(got.Signed.Value.Payer, n.address()) {
			t.Errorf("provider %d: order of %x from %s, %v", i, got.Signed.Value.Payer, info.ID, err)
		}
	}
}

// Connected to a listener that is yet to listen, the tenant learns of it.
func TestPublishWaitsForListener(t *testing.T) {
	ctx := p2ptest.Context(t)
	host, provider := p2ptest.NewHost(t), p2ptest.NewHost(t)
	publisher := joined(t, host, func(c *gossip.Config) { c.Funds = nil })
	p2ptest.Connect(t, host, provider)
	published := make(chan error, 1)
	go func() {
		_, err := publisher.Publish(ctx, newTenant(t, host).announce(nil, nil), 1)
		published <- err
	}()
	sub := subscribed(t, joined(t, provider))
	if err := <-published; err != nil {
		t.Fatal(err)
	}
	if _, err := sub.Next(ctx); err != nil {
		t.Fatal(err)
	}
}

// One order that arrives by push and by relay, from several sides, is heard once.
func TestOrderIsHeardOnce(t *testing.T) {
	ctx := p2ptest.Context(t)
	host, a, b := p2ptest.NewHost(t), p2ptest.NewHost(t), p2ptest.NewHost(t)
	oa, ob := joined(t, a), joined(t, b)
	subA, _ := subscribed(t, oa), subscribed(t, ob)
	p2ptest.Connect(t, a, b)
	for (len(oa.Neighbours()) == 0 || len(ob.Neighbours()) == 0) && ctx.Err() == nil {
		time.Sleep(time.Millisecond)
	}
	publisher, n := joined(t, host, func(c *gossip.Config) { c.Funds = nil }), newTenant(t, host)
	p2ptest.Connect(t, host, a)
	p2ptest.Connect(t, host, b)
	heard := map[string]int{}
	for range 5 {
		one := n.announce(nil, nil)
		for range 3 { // the tenant says it again and again
			if _, err := publisher.Publish(ctx, one, 2); err != nil {
				t.Fatal(err)
			}
		}
		got, err := subA.Next(ctx)
		if err != nil {
			t.Fatal(err)
		}
		heard[string(got.Announce.Order)]++
	}
	if len(heard) != 5 {
		t.Errorf("5 orders were heard as %d", len(heard))
	}
}

func TestPublishToNobody(t *testing.T) {
	host := p2ptest.NewHost(t)
	o := joined(t, host)
	ctx, cancel := context.WithTimeout(context.Background(), 50*time.Millisecond)
	defer cancel()
	if _, err := o.Publish(ctx, newTenant(t, host).announce(nil, nil), 1); !errors.Is(err, gossip.ErrNobody) || !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("got %v", err)
	}
}

func TestSubscribeNeedsFundsChecker(t *testing.T) {
	o := joined(t, p2ptest.NewHost(t), func(c *gossip.Config) { c.Funds = nil })
	if _, err := o.Subscribe(); err == nil {
		t.Error("subscribed without a way to check funds")
	}
}

// stranger publishes whatever bytes it likes.
type stranger struct {
	host  *p2p.Host
	topic *pubsub.Topic
}

func newStranger(t testing.TB, victim *p2p.Host) stranger {
	t.Helper()
	h := p2ptest.NewHost(t)
	ps := must(pubsub.NewGossipSub(context.Background(), h.Host,
		pubsub.WithMessageSignaturePolicy(pubsub.StrictNoSign), pubsub.WithNoAuthor(), pubsub.WithFloodPublish(true),
		pubsub.WithMessageIdFn(pubsub.MsgIdFunction(messageID))))(t)
	s := stranger{h, must(ps.Join(p2p.OrderTopic))(t)}
	p2ptest.Connect(t, h, victim)
	for len(s.topic.ListPeers()) == 0 {
		time.Sleep(time.Millisecond)
	}
	return s
}

func (s stranger) publish(t testing.TB, data []byte) {
	t.Helper()
	if err := s.topic.Publish(context.Background(), data); err != nil {
		t.Fatal(err)
	}
}

func encode(t testing.TB, a *p2p.Announce) []byte { return must(a.Encode())(t) }

// What an honest peer cannot have sent is rejected and costs the sender strikes;
// what it might have is dropped and costs nothing. Either way a good order that
// follows gets through, or not, accordingly.
func TestValidatorRejectsAndIgnores(t *testing.T) {
	flip := func(b []byte) []byte {
		b = bytes.Clone(b)
		b[len(b)-1] ^= 1
		return b
	}
	cases := []struct {
		name   string
		bad    func(n *tenant) []byte
		strike bool
		funds  gossip.Funds
	}{
		{"garbage", func(*tenant) []byte { return []byte("not cbor at all") }, true, gossip.Funds{}},
		{"order signature changed by one bit", func(n *tenant) []byte {
			a := n.announce(nil, nil)
			a.Order = flip(a.Order)
			return encode(t, a)
		}, true, gossip.Funds{}},
		{"payer is another account", func(n *tenant) []byte {
			return encode(t, n.announce(func(o *wire.Order) { o.Payer = make([]byte, 20) }, nil))
		}, true, gossip.Funds{}},
		{"access names another peer", func(n *tenant) []byte {
			return encode(t, n.announce(nil, func(a *wire.Access) { a.Peer = []byte("12D3KooW") }))
		}, true, gossip.Funds{}},
		{"access is for another order", func(n *tenant) []byte {
			return encode(t, n.announce(nil, func(a *wire.Access) { a.OrderHash = make([]byte, 32) }))
		}, true, gossip.Funds{}},
		{"expired order", func(n *tenant) []byte {
			return encode(t, n.announce(func(o *wire.Order) { o.Terms.ExpiresAt = 1 }, nil))
		}, false, gossip.Funds{}},
		{"expired access", func(n *tenant) []byte {
			return encode(t, n.announce(nil, func(a *wire.Access) { a.ExpiresAt = 1 }))
		}, false, gossip.Funds{}},
		{"another chain", func(n *tenant) []byte {
			return encode(t, n.announce(func(o *wire.Order) { o.ChainID = "moyai-1" }, nil))
		}, false, gossip.Funds{}},
		{"no funds", func(n *tenant) []byte { return encode(t, n.announce(nil, nil)) }, false, gossip.Funds{Known: true}},
		{"funds unknown", func(n *tenant) []byte { return encode(t, n.announce(nil, nil)) }, false, gossip.Funds{}},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			ctx := p2ptest.Context(t)
			victim := p2ptest.NewHost(t)
			// The bad tenant's funds are the case's; the good one's are good.
			good := newTenant(t, p2ptest.NewHost(t))
			good.payer = signer(t, "good")
			sub := subscribed(t, joined(t, victim, func(cfg *gossip.Config) {
				cfg.Funds = func(_ context.Context, payer []byte) gossip.Funds {
					if bytes.Equal(payer, good.address()) {
						return gossip.Funds{Funded: true, Known: true}
					}
					return c.funds
				}
			}))
			s, bad := newStranger(t, victim), newTenant(t, p2ptest.NewHost(t))
			for range 6 {
				data := c.bad(bad)
				if c.name == "garbage" {
					data = append(data, byte(bad.made))
					bad.made++
				}
				s.publish(t, data)
			}
			if c.strike {
				for !victim.Banned(s.host.ID()) {
					if ctx.Err() != nil {
						t.Fatal("the sender of rejected messages is never banned")
					}
					time.Sleep(time.Millisecond)
				}
				return
			}
			s.publish(t, encode(t, good.announce(nil, nil)))
			got, err := sub.Next(ctx)
			if err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(got.Signed.Value.Payer, good.address()) {
				t.Error("an order that should be ignored was delivered")
			}
			if victim.Banned(s.host.ID()) {
				t.Error("an honest peer was banned")
			}
		})
	}
}

// What is rejected in gossip is rejected when pushed.
func TestPushIsValidated(t *testing.T) {
	ctx := p2ptest.Context(t)
	victim, liar := p2ptest.NewHost(t), p2ptest.NewHost(t)
	subscribed(t, joined(t, victim))
	publisher, n := joined(t, liar, func(c *gossip.Config) { c.Funds = nil }), newTenant(t, liar)
	p2ptest.Connect(t, liar, victim)
	for !victim.Banned(liar.ID()) {
		a := n.announce(nil, nil)
		a.Order[len(a.Order)-1] ^= 1
		if _, err := publisher.Publish(ctx, a, 0); err != nil && !errors.Is(err, gossip.ErrNobody) || ctx.Err() != nil {
			t.Fatalf("never banned: %v", err)
		}
		time.Sleep(time.Millisecond)
	}
}

func TestAccountRateAndVariants(t *testing.T) {
	ctx := p2ptest.Context(t)
	victim := p2ptest.NewHost(t)
	const burst = 5
	sub := subscribed(t, joined(t, victim, func(c *gossip.Config) {
		c.AccountRate = limit.Rate{PerSecond: 1e-9, Burst: burst}
	}))
	s, n := newStranger(t, victim), newTenant(t, p2ptest.NewHost(t))

	// One order in many variants: three pass, and only the first is charged.
	a := n.announce(nil, nil)
	for i := range 10 {
		a.Addrs = []string{fmt.Sprintf("/ip4/127.0.0.1/tcp/%d", 1+i)}
		s.publish(t, encode(t, a))
	}
	for range 2 * burst {
		s.publish(t, encode(t, n.announce(nil, nil)))
	}
	// Messages are validated side by side, so the last sent need not be the last to
	// arrive: orders of other accounts tell when nothing more can come.
	others := 0
	next := func() (got gossip.Order, other bool) {
		o := newTenant(t, n.host)
		o.payer = signer(t, fmt.Sprint("other", others))
		others++
		s.publish(t, encode(t, o.announce(nil, nil)))
		got, err := sub.Next(ctx)
		if err != nil {
			t.Fatal(err)
		}
		return got, !bytes.Equal(got.Signed.Value.Payer, n.address())
	}
	passed := map[string]int{}
	for quiet := 0; len(passed) < burst || passed[string(a.Order)] < 3 || quiet < 5; {
		got, other := next()
		if other {
			quiet++
			continue
		}
		passed[string(got.Announce.Order)]++
	}
	if len(passed) != burst || passed[string(a.Order)] != 3 {
		t.Errorf("%d orders passed, want %d; %d variants, want 3", len(passed), burst, passed[string(a.Order)])
	}
}

// Many messages of one payer ask the chain once.
func TestFundsAreCached(t *testing.T) {
	ctx := p2ptest.Context(t)
	var asked atomic.Int32
	victim := p2ptest.NewHost(t)
	sub := subscribed(t, joined(t, victim, func(c *gossip.Config) {
		c.Funds = func(context.Context, []byte) gossip.Funds {
			asked.Add(1)
			time.Sleep(20 * time.Millisecond)
			return gossip.Funds{Funded: true, Known: true}
		}
	}))
	s, n := newStranger(t, victim), newTenant(t, p2ptest.NewHost(t))
	const orders = 20
	for range orders {
		s.publish(t, encode(t, n.announce(nil, nil)))
	}
	for range orders {
		if _, err := sub.Next(ctx); err != nil {
			t.Fatal(err)
		}
	}
	if got := asked.Load(); got != 1 {
		t.Errorf("asked %d times, want once", got)
	}
}
