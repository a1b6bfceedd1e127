package p2p_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/protocol"

	"github.com/moyai-network/moyai/mechanism/amount"
	"github.com/moyai-network/moyai/p2p"
	"github.com/moyai-network/moyai/p2p/limit"
	"github.com/moyai-network/moyai/p2p/p2ptest"
	"github.com/moyai-network/moyai/wire"
)

func TestKeyFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "keys", "node.key")
	if _, err := p2p.LoadKey(path); !errors.Is(err, fs.ErrNotExist) {
		t.Fatalf("no file: %v", err)
	}
	made, err := p2p.LoadOrCreateKey(path)
	if err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	if info.Mode().Perm() != 0o600 {
		t.Errorf("key file has mode %#o", info.Mode().Perm())
	}
	again, err := p2p.LoadOrCreateKey(path)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(made.Public(), again.Public()) {
		t.Error("the second start has another identity")
	}
	if err := os.Chmod(path, 0o640); err != nil {
		t.Fatal(err)
	}
	if _, err := p2p.LoadOrCreateKey(path); err == nil {
		t.Error("a key that others may read was accepted")
	}
	if err := os.WriteFile(path, []byte("not a key\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(path, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := p2p.LoadOrCreateKey(path); err == nil {
		t.Error("a damaged key was replaced or accepted")
	}
}

func TestPeerIDAndNodeKeyAreOne(t *testing.T) {
	key, err := p2p.KeyFromSeed(bytes.Repeat([]byte{9}, 32))
	if err != nil {
		t.Fatal(err)
	}
	id, err := p2p.PeerIDFromNode(key.Public())
	if err != nil {
		t.Fatal(err)
	}
	node, err := p2p.NodeFromPeerID(id)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(node, key.Public()) {
		t.Error("node key does not come back from the peer id")
	}
}

func offer() p2p.BidOffer {
	return p2p.BidOffer{OrderHash: bytes.Repeat([]byte{1}, 32), Bid: []byte("signed bid"), Moniker: "rack 7"}
}

func TestBidChosen(t *testing.T) {
	ctx := p2ptest.Context(t)
	tenant, provider := p2ptest.NewHost(t), p2ptest.NewHost(t)
	bids := make(chan *p2p.ReceivedBid, 1)
	tenant.HandleBids(func(_ context.Context, b *p2p.ReceivedBid) { bids <- b })

	offered, err := provider.OfferBid(ctx, tenant.AddrInfo(), offer())
	if err != nil {
		t.Fatal(err)
	}
	defer offered.Close()
	got := make(chan error, 1)
	go func() {
		choice, err := offered.AwaitChoice(ctx)
		if err == nil && (string(choice.Manifest) != "the manifest" || choice.Place != 2) {
			err = fmt.Errorf("wrong choice: %+v", choice)
		}
		got <- errors.Join(err, offered.SendReady([]byte("signed ready")), offered.AwaitClose(ctx))
	}()
	b := <-bids
	if b.Peer() != provider.ID() || string(b.Offer.Bid) != "signed bid" || b.Offer.Moniker != "rack 7" {
		t.Errorf("offer from %s: %+v", b.Peer(), b.Offer)
	}
	ready, err := b.Choose(ctx, p2p.Choice{Manifest: []byte("the manifest"), Place: 2})
	if err != nil || string(ready) != "signed ready" {
		t.Fatalf("ready %q, %v", ready, err)
	}
	b.Close()
	if err := <-got; err != nil {
		t.Fatal(err)
	}
}

func TestBidNotChosen(t *testing.T) {
	ctx := p2ptest.Context(t)
	tenant, provider := p2ptest.NewHost(t), p2ptest.NewHost(t)
	tenant.HandleBids(func(_ context.Context, b *p2p.ReceivedBid) { b.Close() })
	offered, err := provider.OfferBid(ctx, tenant.AddrInfo(), offer())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := offered.AwaitChoice(ctx); !errors.Is(err, p2p.ErrNotChosen) {
		t.Fatalf("got %v, want ErrNotChosen", err)
	}
}

// An array job's orders are all answered at once, each on its own stream.
func TestManyBidsAtOnce(t *testing.T) {
	ctx := p2ptest.Context(t)
	tenant, provider := p2ptest.NewHost(t), p2ptest.NewHost(t)
	const many = 180
	bids := make(chan *p2p.ReceivedBid, many)
	tenant.HandleBids(func(_ context.Context, b *p2p.ReceivedBid) { bids <- b })
	var wg sync.WaitGroup
	for range many {
		wg.Go(func() {
			if _, err := provider.OfferBid(ctx, tenant.AddrInfo(), offer()); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	for range many { // none is closed before all are there
		select {
		case <-bids:
		case <-ctx.Done():
			t.Fatalf("%d of %d offers arrived", len(bids), many)
		}
	}
}

func TestManifestRefused(t *testing.T) {
	ctx := p2ptest.Context(t)
	tenant, provider := p2ptest.NewHost(t), p2ptest.NewHost(t)
	bids := make(chan *p2p.ReceivedBid, 1)
	tenant.HandleBids(func(_ context.Context, b *p2p.ReceivedBid) { bids <- b })
	offered, err := provider.OfferBid(ctx, tenant.AddrInfo(), offer())
	if err != nil {
		t.Fatal(err)
	}
	go func() {
		_, _ = offered.AwaitChoice(ctx)
		_ = offered.Refuse(p2p.Refusal{Subject: "module", Hint: "imports what WASI does not have"})
	}()
	_, err = (<-bids).Choose(ctx, p2p.Choice{Manifest: []byte("m")})
	var refused *p2p.RefusedError
	if !errors.As(err, &refused) || refused.Refusal.Subject != "module" {
		t.Fatalf("got %v, want the refusal", err)
	}
}

func TestChooseEndsWithContext(t *testing.T) {
	tenant, provider := p2ptest.NewHost(t), p2ptest.NewHost(t)
	bids := make(chan *p2p.ReceivedBid, 1)
	tenant.HandleBids(func(_ context.Context, b *p2p.ReceivedBid) { bids <- b })
	if _, err := provider.OfferBid(p2ptest.Context(t), tenant.AddrInfo(), offer()); err != nil {
		t.Fatal(err)
	}
	b := <-bids
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Millisecond)
	defer cancel()
	if _, err := b.Choose(ctx, p2p.Choice{Manifest: []byte("m")}); !errors.Is(err, context.DeadlineExceeded) {
		t.Fatalf("got %v, want the context's reason", err)
	}
}

func TestQuote(t *testing.T) {
	ctx := p2ptest.Context(t)
	tenant, provider := p2ptest.NewHost(t), p2ptest.NewHost(t)
	provider.HandleQuotes(func(_ context.Context, from peer.ID, req p2p.QuoteRequest) (p2p.QuoteReply, error) {
		if from != tenant.ID() || req.Quantities[0].Dimension != "cpu.milli" {
			return p2p.QuoteReply{}, errors.New("unexpected request")
		}
		return p2p.QuoteReply{Rate: amount.NewRate(42), Denom: req.Denom, EstimatedStartMS: 20}, nil
	})
	req := p2p.QuoteRequest{Kind: "compute", KindVersion: 1, Denom: "umoy", Quantities: []wire.Quantity{{Dimension: "cpu.milli", Amount: 1000}}}
	reply, err := tenant.Quote(ctx, provider.AddrInfo(), req)
	if err != nil {
		t.Fatal(err)
	}
	if reply.Rate != amount.NewRate(42) || reply.Denom != "umoy" || len(reply.Misses) != 0 {
		t.Errorf("reply %+v", reply)
	}
	// Beyond the rate the answer is a miss that says so, and costs the role nothing.
	limited := false
	for range 2 * p2p.QuoteRate.Burst {
		reply, err := tenant.Quote(ctx, provider.AddrInfo(), req)
		if err != nil {
			t.Fatal(err)
		}
		limited = limited || len(reply.Misses) == 1 && reply.Misses[0].Subject == "requests"
	}
	if !limited {
		t.Error("quotes are not limited")
	}
}

func TestLeaseStream(t *testing.T) {
	ctx := p2ptest.Context(t)
	tenant, provider := p2ptest.NewHost(t), p2ptest.NewHost(t)
	hello := p2p.Hello{LeaseID: bytes.Repeat([]byte{3}, 20), Access: []byte("signed access"), LogFrom: []p2p.LogOffset{{Task: 4, Stream: p2p.Stderr, Offset: 99}}}
	const logs = 200
	failed := make(chan error, 1)
	provider.HandleLeaseStreams(func(_ context.Context, l *p2p.LeaseStream, got p2p.Hello) {
		defer l.Close()
		if got.LogFrom[0] != hello.LogFrom[0] || l.Peer() != tenant.ID() {
			failed <- errors.New("hello differs")
			return
		}
		// Several goroutines share the stream, as a provider's tasks do.
		var wg sync.WaitGroup
		for task := range uint64(4) {
			wg.Go(func() {
				for i := range uint64(logs) {
					_ = l.Send(&p2p.Log{Task: task, Stream: p2p.Stdout, Offset: i, Data: []byte("line\n")})
				}
			})
		}
		wg.Wait()
		if m, err := l.Recv(); err != nil || m.(*p2p.RunTask).Index != 7 {
			failed <- errors.New("no task")
			return
		}
		failed <- l.Send(&p2p.End{Reason: 1, Text: "done"})
	})
	l, err := tenant.OpenLeaseStream(ctx, provider.AddrInfo(), hello)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if err := l.Send(&p2p.RunTask{Index: 7}); err != nil {
		t.Fatal(err)
	}
	next := map[uint64]uint64{}
	for {
		m, err := l.RecvContext(ctx)
		if err != nil {
			t.Fatal(err)
		}
		if log, ok := m.(*p2p.Log); ok {
			if log.Offset != next[log.Task] {
				t.Fatalf("task %d: offset %d, want %d", log.Task, log.Offset, next[log.Task])
			}
			next[log.Task]++
			continue
		}
		if end, ok := m.(*p2p.End); !ok || end.Text != "done" {
			t.Fatalf("got %T %v", m, m)
		}
		break
	}
	if _, err := l.Recv(); !errors.Is(err, io.EOF) {
		t.Errorf("after the end: %v, want EOF", err)
	}
	if err := <-failed; err != nil {
		t.Fatal(err)
	}
	for task := range uint64(4) {
		if next[task] != logs {
			t.Errorf("task %d: %d pieces of log", task, next[task])
		}
	}
}

// What was sent before Close arrives, although both sides go on sending and this one
// is receiving meanwhile.
func TestCloseLosesNothing(t *testing.T) {
	for range 20 {
		ctx := p2ptest.Context(t)
		tenant, provider := p2ptest.NewHost(t), p2ptest.NewHost(t)
		const logs = 50
		unblocked := make(chan error, 1)
		provider.HandleLeaseStreams(func(_ context.Context, l *p2p.LeaseStream, _ p2p.Hello) {
			go func() {
				for {
					if _, err := l.Recv(); err != nil {
						unblocked <- err
						return
					}
				}
			}()
			for range logs {
				_ = l.Send(&p2p.Log{Stream: p2p.Stdout, Data: make([]byte, 1000)})
			}
			_ = l.Send(&p2p.End{Reason: 1})
			l.Close()
		})
		l, err := tenant.OpenLeaseStream(ctx, provider.AddrInfo(), p2p.Hello{LeaseID: make([]byte, 20), Access: []byte{1}})
		if err != nil {
			t.Fatal(err)
		}
		stop := make(chan struct{})
		var wg sync.WaitGroup
		wg.Go(func() {
			for i := uint64(0); ; i++ {
				select {
				case <-stop:
					return
				case <-time.After(100 * time.Microsecond):
					_ = l.Send(&p2p.RunTask{Index: i})
				}
			}
		})
		if err := <-unblocked; !errors.Is(err, net.ErrClosed) {
			t.Fatalf("Recv at the closing side: %v", err)
		}
		got := 0
		for {
			m, err := l.RecvContext(ctx)
			if errors.Is(err, io.EOF) {
				break
			}
			if err != nil {
				t.Fatalf("after %d messages: %v", got, err)
			}
			if _, end := m.(*p2p.End); !end {
				got++
			}
		}
		close(stop)
		wg.Wait()
		l.Close()
		if got != logs {
			t.Fatalf("%d of %d messages arrived", got, logs)
		}
	}
}

func TestEveryLeaseMessageTravels(t *testing.T) {
	ctx := p2ptest.Context(t)
	tenant, provider := p2ptest.NewHost(t), p2ptest.NewHost(t)
	toProvider := []p2p.LeaseMessage{
		&p2p.Ack{Receipt: []byte{1}}, &p2p.RunTask{Index: 1}, &p2p.NoMoreTasks{}, &p2p.Stop{},
		&p2p.SignAway{Away: []byte{1}}, &p2p.Stdin{Data: []byte("x")}, &p2p.Stdin{EOF: true},
	}
	toTenant := []p2p.LeaseMessage{
		&p2p.Propose{Receipt: []byte{1}}, &p2p.Log{Task: 1, Stream: p2p.Stderr, Data: []byte{0xff}},
		&p2p.TaskDone{Index: 3, ExitCode: 2, Reason: "exited", Error: "two\nlines"}, &p2p.Status{State: "running", Isolation: "gvisor"},
		&p2p.End{Reason: 1}, &p2p.Refused{Refusal: p2p.Refusal{Subject: "access"}},
	}
	got := make(chan p2p.LeaseMessage, len(toProvider))
	provider.HandleLeaseStreams(func(_ context.Context, l *p2p.LeaseStream, _ p2p.Hello) {
		defer l.Close()
		for _, m := range toTenant {
			_ = l.Send(m)
		}
		for range toProvider {
			m, err := l.Recv()
			if err != nil {
				t.Error(err)
			}
			got <- m
		}
	})
	l, err := tenant.OpenLeaseStream(ctx, provider.AddrInfo(), p2p.Hello{LeaseID: make([]byte, 20), Access: []byte{1}})
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range toProvider {
		if err := l.Send(m); err != nil {
			t.Fatal(err)
		}
	}
	for _, want := range toTenant {
		m, err := l.RecvContext(ctx)
		if err != nil {
			t.Fatal(err)
		}
		same(t, m, want)
	}
	for _, want := range toProvider {
		same(t, <-got, want)
	}
}

func same(t *testing.T, got, want p2p.LeaseMessage) {
	t.Helper()
	a, errA := p2p.AppendFrame(nil, p2p.MaxFrame, got)
	b, errB := p2p.AppendFrame(nil, p2p.MaxFrame, want)
	if errA != nil || errB != nil || !bytes.Equal(a, b) {
		t.Errorf("got %T %+v, want %T %+v", got, got, want, want)
	}
}

// raw opens a stream below the package, to misbehave on it.
func raw(t *testing.T, from, to *p2p.Host, id protocol.ID) network.Stream {
	t.Helper()
	p2ptest.Connect(t, from, to)
	s, err := from.NewStream(p2ptest.Context(t), to.ID(), id)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// A peer that claims 4 GiB where kilobytes are allowed is refused each time, and
// sent away when it goes on.
func TestRepeatedOffenderIsDisconnected(t *testing.T) {
	honest, liar := p2ptest.NewHost(t), p2ptest.NewHost(t)
	honest.HandleBids(func(_ context.Context, b *p2p.ReceivedBid) {
		t.Error("a bid got through")
		b.Close()
	})
	for i := 0; !honest.Banned(liar.ID()); i++ {
		if i > 10 {
			t.Fatal("never banned")
		}
		s := raw(t, liar, honest, p2p.BidProtocol)
		if _, err := s.Write([]byte{0xff, 0xff, 0xff, 0xff, 0x0f, 1, 2, 3}); err != nil {
			continue // banned while we wrote
		}
		if n, err := s.Read(make([]byte, 1)); n > 0 || err == nil {
			t.Fatalf("read %d bytes, %v; want a reset", n, err)
		}
	}
	eventually(t, "disconnected", func() bool { return honest.Network().Connectedness(liar.ID()) != network.Connected })
	// The dialler's side may think for a moment that it is connected; no stream comes of it.
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	if _, err := liar.Quote(ctx, honest.AddrInfo(), p2p.QuoteRequest{}); err == nil {
		t.Error("a banned peer was served")
	}
	if err := honest.Connect(ctx, liar.AddrInfo()); err == nil {
		t.Error("a banned peer was dialled")
	}
}

func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(20 * time.Second); !ok(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("not %s after 20 s", what)
		}
	}
}

// A peer that begins a frame and then dawdles, and one that opens a stream and says
// nothing, are let go; one that is honest meanwhile is served.
func TestSlowPeersAreLetGo(t *testing.T) {
	provider := p2ptest.NewHost(t, func(c *p2p.Config) { c.FrameTimeout = 200 * time.Millisecond })
	provider.HandleQuotes(func(context.Context, peer.ID, p2p.QuoteRequest) (p2p.QuoteReply, error) {
		return p2p.QuoteReply{Denom: "umoy"}, nil
	})
	slow := p2ptest.NewHost(t)
	for name, first := range map[string][]byte{"silent": nil, "in the prefix": {0x80}, "in the body": {0x20, 0xa1}} {
		s := raw(t, slow, provider, p2p.QuoteProtocol)
		// A lazily negotiated stream does not exist at the other end before it is used.
		if _, err := s.Write(first); err != nil {
			t.Fatal(err)
		}
		_ = s.SetReadDeadline(time.Now().Add(30 * time.Second))
		if _, err := s.Read(make([]byte, 1)); err == nil || errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("%s: %v, want the stream ended", name, err)
		}
	}
	if _, err := slow.Quote(p2ptest.Context(t), provider.AddrInfo(), p2p.QuoteRequest{}); err != nil {
		t.Error(err)
	}
	if provider.Banned(slow.ID()) {
		t.Error("slowness is no crime")
	}
}

// A sender whose peer does not read gives up instead of waiting for ever.
func TestSendGivesUp(t *testing.T) {
	provider := p2ptest.NewHost(t, func(c *p2p.Config) { c.FrameTimeout = 200 * time.Millisecond })
	tenant := p2ptest.NewHost(t)
	failed := make(chan error, 1)
	provider.HandleLeaseStreams(func(_ context.Context, l *p2p.LeaseStream, _ p2p.Hello) {
		for {
			if err := l.Send(&p2p.Log{Stream: p2p.Stdout, Data: make([]byte, p2p.MaxLogData)}); err != nil {
				failed <- err
				return
			}
		}
	})
	if _, err := tenant.OpenLeaseStream(p2ptest.Context(t), provider.AddrInfo(), p2p.Hello{LeaseID: make([]byte, 20), Access: []byte{1}}); err != nil {
		t.Fatal(err)
	}
	select {
	case <-failed:
	case <-p2ptest.Context(t).Done():
		t.Fatal("still sending")
	}
}

// A message of the wrong direction ends the stream, whatever else is right.
func TestWrongDirectionIsRefused(t *testing.T) {
	tenant, provider := p2ptest.NewHost(t), p2ptest.NewHost(t)
	got := make(chan error, 1)
	provider.HandleLeaseStreams(func(_ context.Context, l *p2p.LeaseStream, _ p2p.Hello) {
		_, err := l.Recv()
		got <- err
	})
	l, err := tenant.OpenLeaseStream(p2ptest.Context(t), provider.AddrInfo(), p2p.Hello{LeaseID: make([]byte, 20), Access: []byte{1}})
	if err != nil {
		t.Fatal(err)
	}
	if err := l.Send(&p2p.End{Reason: 1}); err != nil {
		t.Fatal(err)
	}
	if err := <-got; !errors.Is(err, p2p.ErrInvalidMessage) {
		t.Errorf("got %v, want ErrInvalidMessage", err)
	}
}

// A peer that opens more streams than its rate is turned away before anything is
// read from it.
func TestStreamRate(t *testing.T) {
	tenant := p2ptest.NewHost(t, func(c *p2p.Config) { c.StreamRate = limit.Rate{PerSecond: 0.001, Burst: 3} })
	provider := p2ptest.NewHost(t)
	seen := make(chan struct{}, 100)
	tenant.HandleBids(func(_ context.Context, b *p2p.ReceivedBid) {
		seen <- struct{}{}
		b.Close()
	})
	for range 10 {
		o, err := provider.OfferBid(p2ptest.Context(t), tenant.AddrInfo(), offer())
		if err != nil {
			continue // reset before the offer was out
		}
		_, _ = o.AwaitChoice(p2ptest.Context(t))
	}
	if n := len(seen); n != 3 {
		t.Errorf("%d offers got through, want 3", n)
	}
}

func BenchmarkBidRoundTrip(b *testing.B) {
	for _, transport := range []string{"/ip4/127.0.0.1/udp/0/quic-v1", "/ip4/127.0.0.1/tcp/0"} {
		b.Run(transport, func(b *testing.B) {
			use := func(c *p2p.Config) {
				c.Listen, c.StreamRate = []string{transport}, limit.Rate{PerSecond: 1e9, Burst: 1 << 30}
			}
			tenant, provider := p2ptest.NewHost(b, use), p2ptest.NewHost(b, use)
			ctx := context.Background()
			tenant.HandleBids(func(ctx context.Context, bid *p2p.ReceivedBid) {
				_, _ = bid.Choose(ctx, p2p.Choice{Manifest: []byte("m")})
				bid.Close()
			})
			p2ptest.Connect(b, provider, tenant)
			for b.Loop() {
				o, err := provider.OfferBid(ctx, tenant.AddrInfo(), offer())
				if err != nil {
					b.Fatal(err)
				}
				if _, err := o.AwaitChoice(ctx); err != nil {
					b.Fatal(err)
				}
				_ = o.SendReady([]byte("r"))
				o.Close()
			}
		})
	}
}
