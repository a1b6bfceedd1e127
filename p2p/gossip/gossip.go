// Package gossip carries announced orders from tenants to every provider that
// listens, and refuses to carry anything else.
//
// A message passes on only if its order is signed by its payer, has not expired,
// and its payer is known to hold funds; each account and each peer has a rate.
// What is malformed or badly signed is rejected and struck against whoever sent
// it; what may be an honest peer's old news, or an account we know nothing about,
// is ignored and costs nobody anything.
//
// It does not decide whether an order is worth a bid, and it connects to nobody:
// connections come from the registry's addresses. Its parameters are fit for
// networks of one peer as for hundreds: a publisher sends to every subscriber it
// is connected to, so that a fresh tenant's order needs one hop and no mesh.
package gossip

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"log/slog"
	"time"

	pubsub "github.com/libp2p/go-libp2p-pubsub"
	pb "github.com/libp2p/go-libp2p-pubsub/pb"
	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/moyai-network/moyai/p2p"
	"github.com/moyai-network/moyai/p2p/limit"
	"github.com/moyai-network/moyai/wire"
)

// ErrNobody is returned by Publish when no connected peer listens.
var ErrNobody = errors.New("no connected peer listens for orders")

// Funds is what is known about an account's money.
type Funds struct {
	Funded bool // holds enough to open a lease
	Known  bool // false: could not find out; the message is ignored, not rejected
}

// FundsChecker tells whether a payer holds funds. It may ask the chain and block
// for a moment; answers are cached for Config.FundsTTL. ctx ends when the answer
// is no longer of use.
type FundsChecker func(ctx context.Context, payer []byte) Funds

// Order is an announced order that passed the validator: its signature is good,
// it is unexpired and for this chain, its payer holds funds, and its receipt key
// vouches for the announced peer.
type Order struct {
	Signed   wire.Signed[wire.Order]
	Announce *p2p.Announce
}

// Config says what to let pass.
type Config struct {
	ChainID string // required
	// Funds is required to Subscribe; a host that only publishes its own orders
	// needs none.
	Funds FundsChecker
	// FundsTTL is how long a balance is believed. Zero means 10 s.
	FundsTTL time.Duration
	// AccountRate limits distinct orders per payer. Zero means 10 per second with
	// a burst of 128, an array job's worth.
	AccountRate limit.Rate
	// PeerRate limits messages per forwarding peer, before any signature is
	// verified for it. Zero means 100 per second with a burst of 500.
	PeerRate limit.Rate

	Now    func() time.Time // nil means time.Now
	Logger *slog.Logger     // nil discards
}

// EnsureDefaults fills what was left zero.
func (c *Config) EnsureDefaults() {
	if c.FundsTTL == 0 {
		c.FundsTTL = 10 * time.Second
	}
	if c.AccountRate == (limit.Rate{}) {
		c.AccountRate = limit.Rate{PerSecond: 10, Burst: 128}
	}
	if c.PeerRate == (limit.Rate{}) {
		c.PeerRate = limit.Rate{PerSecond: 100, Burst: 500}
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
}

// Orders is a host's place in the gossip of orders.
type Orders struct {
	host   *p2p.Host
	cfg    Config
	topic  *pubsub.Topic
	cancel context.CancelFunc
}

// Join takes part in the gossip of p2p.OrderTopic. It listens to nothing before
// Subscribe. One Orders per host.
func Join(h *p2p.Host, cfg Config) (*Orders, error) {
	cfg.EnsureDefaults()
	if err := wire.CheckChainID(cfg.ChainID); err != nil {
		return nil, fmt.Errorf("join gossip: %w", err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	topic, err := join(ctx, h, cfg)
	if err != nil {
		cancel()
		return nil, fmt.Errorf("join gossip: %w", err)
	}
	return &Orders{host: h, cfg: cfg, topic: topic, cancel: cancel}, nil
}

func join(ctx context.Context, h *p2p.Host, cfg Config) (*pubsub.Topic, error) {
	ps, err := pubsub.NewGossipSub(ctx, h.Host,
		// The order inside is signed by its payer: a second signature by the
		// publisher's host would cost time and add nothing that is checked.
		pubsub.WithMessageSignaturePolicy(pubsub.StrictNoSign),
		pubsub.WithNoAuthor(),
		pubsub.WithMessageIdFn(messageID),
		pubsub.WithFloodPublish(true),
		pubsub.WithMaxMessageSize(maxRPC),
		pubsub.WithPeerOutboundQueueSize(256),
		pubsub.WithSeenMessagesTTL(2*time.Minute),
		pubsub.WithGossipSubParams(params()),
		pubsub.WithSubscriptionFilter(pubsub.NewAllowlistSubscriptionFilter(p2p.OrderTopic)),
	)
	if err != nil {
		return nil, err
	}
	v := newValidator(h, cfg)
	err = ps.RegisterTopicValidator(p2p.OrderTopic, v.validate,
		pubsub.WithValidatorTimeout(fundsTimeout+time.Second), pubsub.WithValidatorConcurrency(256))
	if err != nil {
		return nil, err
	}
	return ps.Join(p2p.OrderTopic)
}

// maxRPC bounds one gossip RPC: a few announcements and the control messages
// beside them.
const maxRPC = 8 * p2p.MaxAnnounce

// params are gossipsub's own with two changes for small networks, in which every
// peer is a large part of all there is: a pruned peer may come back soon, and
// latecomers are told of the last seconds' orders at once.
func params() pubsub.GossipSubParams {
	p := pubsub.DefaultGossipSubParams()
	p.HeartbeatInterval = 700 * time.Millisecond
	p.PruneBackoff = 10 * time.Second
	p.UnsubscribeBackoff = 2 * time.Second
	p.HistoryLength, p.HistoryGossip = 10, 8
	return p
}

// messageID is the content's hash: StrictNoSign leaves no author and sequence
// number to tell messages apart.
func messageID(m *pb.Message) string {
	sum := sha256.Sum256(m.GetData())
	return string(sum[:20])
}

// Publish announces an order to every connected subscriber at once and returns
// how many there were. It waits until there are at least want of them or ctx ends
// (a peer is known as a subscriber one round trip after the connection); ErrNobody
// if by then there is none.
func (o *Orders) Publish(ctx context.Context, a *p2p.Announce, want int) (reached int, err error) {
	data, err := a.Encode()
	if err != nil {
		return 0, fmt.Errorf("announce order: %w", err)
	}
	waitErr := o.WaitPeers(ctx, want)
	if reached = len(o.Peers()); reached == 0 {
		return 0, errors.Join(ErrNobody, waitErr)
	}
	// What is known now is told, even if ctx ended while waiting for more.
	if err := o.topic.Publish(context.WithoutCancel(ctx), data); err != nil {
		return 0, fmt.Errorf("announce order: %w", err)
	}
	return reached, nil
}

// Peers are the connected peers that listen for orders.
func (o *Orders) Peers() []peer.ID { return o.topic.ListPeers() }

// WaitPeers waits until at least n connected peers listen, or returns ctx's error.
func (o *Orders) WaitPeers(ctx context.Context, n int) error {
	if len(o.Peers()) >= n {
		return nil
	}
	events, err := o.topic.EventHandler()
	if err != nil {
		return fmt.Errorf("wait for peers: %w", err)
	}
	defer events.Cancel()
	for len(o.Peers()) < n {
		if _, err := events.NextPeerEvent(ctx); err != nil {
			return fmt.Errorf("waiting for %d peers that listen for orders, have %d: %w", n, len(o.Peers()), err)
		}
	}
	return nil
}

// Subscription is a stream of orders that passed the validator.
type Subscription struct{ sub *pubsub.Subscription }

// backlog is how many orders wait for a slow subscriber; more are dropped, since
// an old order is worth less than a fresh one is to the next provider.
const backlog = 512

// Subscribe starts listening for orders, and relaying them.
func (o *Orders) Subscribe() (*Subscription, error) {
	if o.cfg.Funds == nil {
		return nil, errors.New("subscribe to orders: no way to check a payer's funds was given")
	}
	sub, err := o.topic.Subscribe(pubsub.WithBufferSize(backlog))
	if err != nil {
		return nil, fmt.Errorf("subscribe to orders: %w", err)
	}
	return &Subscription{sub}, nil
}

// Next waits for the next order. It returns ctx's error, or an error after Close.
func (s *Subscription) Next(ctx context.Context) (Order, error) {
	for {
		m, err := s.sub.Next(ctx)
		if err != nil {
			return Order{}, fmt.Errorf("next order: %w", err)
		}
		if order, ok := m.ValidatorData.(Order); ok { // not set on what this host published itself
			return order, nil
		}
	}
}

// Close stops listening.
func (s *Subscription) Close() { s.sub.Cancel() }

// Close leaves the gossip.
func (o *Orders) Close() {
	_ = o.topic.Close() // fails only while subscribed, and the context ends that too
	o.cancel()
}
