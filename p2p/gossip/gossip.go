// Package gossip carries announced orders from tenants to every provider that
// listens, and refuses to carry anything else.
//
// A tenant pushes its order on a stream to each listener it is connected to; they
// relay it by gossipsub to those it is not. The first hop is a push because
// gossipsub loses what is published in the first moments of a connection: before
// the mesh has grown (a heartbeat) or while two hosts that dialled each other over
// QUIC and TCP at once drop one of the two. A fresh tenant announces at just that
// moment.
//
// A message passes on only if its order is signed by its payer, has not expired,
// and its payer is known to hold funds; each account and each peer has a rate.
// What is malformed or badly signed is rejected and struck against whoever sent
// it; what may be an honest peer's old news, or an account we know nothing about,
// is ignored and costs nobody anything.
//
// It does not decide whether an order is worth a bid, and it connects to nobody:
// connections come from the registry's addresses. Its parameters are fit for
// networks of one peer as for hundreds.
package gossip

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	pubsub "github.com/libp2p/go-libp2p-pubsub"
	pb "github.com/libp2p/go-libp2p-pubsub/pb"

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
	ctx    context.Context // ends at Close
	cancel context.CancelFunc
	pushes sync.WaitGroup

	// Of a host that can check funds, and so may listen:
	validator *validator
	topic     *pubsub.Topic
}

// Join takes part in the gossip of p2p.OrderTopic. A host without a FundsChecker
// can announce its own orders and no more. Nothing is heard before Subscribe. One
// Orders per host.
func Join(h *p2p.Host, cfg Config) (*Orders, error) {
	cfg.EnsureDefaults()
	if err := wire.CheckChainID(cfg.ChainID); err != nil {
		return nil, fmt.Errorf("join gossip: %w", err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	o := &Orders{host: h, cfg: cfg, ctx: ctx, cancel: cancel}
	if cfg.Funds == nil {
		return o, nil
	}
	o.validator = newValidator(h, cfg)
	var err error
	if o.topic, err = join(ctx, h, o.validator); err != nil {
		cancel()
		return nil, fmt.Errorf("join gossip: %w", err)
	}
	return o, nil
}

func join(ctx context.Context, h *p2p.Host, v *validator) (*pubsub.Topic, error) {
	ps, err := pubsub.NewGossipSub(ctx, h.Host,
		// The order inside is signed by its payer: a second signature by the
		// publisher's host would cost time and add nothing that is checked.
		pubsub.WithMessageSignaturePolicy(pubsub.StrictNoSign),
		pubsub.WithNoAuthor(),
		pubsub.WithMessageIdFn(messageID),
		pubsub.WithFloodPublish(true),
		pubsub.WithMaxMessageSize(maxRPC),
		pubsub.WithPeerOutboundQueueSize(256),
		pubsub.WithValidateQueueSize(1024),
		pubsub.WithSeenMessagesTTL(2*time.Minute),
		pubsub.WithGossipSubParams(params()),
		pubsub.WithSubscriptionFilter(pubsub.NewAllowlistSubscriptionFilter(p2p.OrderTopic)),
	)
	if err != nil {
		return nil, err
	}
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

// relay hands a judged order to this host's subscribers and to the gossip. That it
// is known already is no error.
func (o *Orders) relay(ctx context.Context, order Order) error {
	data, err := order.Announce.Encode()
	if err != nil {
		return err
	}
	return o.topic.Publish(ctx, data, pubsub.WithValidatorData(order))
}

// Subscription is a stream of orders that passed the validator.
type Subscription struct {
	sub    *pubsub.Subscription
	remove func()
}

// backlog is how many orders wait for a slow subscriber; more are dropped, since
// an old order is worth less than a fresh one is to the next provider.
const backlog = 512

// Subscribe starts listening for orders, and relaying them. One at a time.
func (o *Orders) Subscribe() (*Subscription, error) {
	if o.cfg.Funds == nil {
		return nil, errors.New("subscribe to orders: no way to check a payer's funds was given")
	}
	sub, err := o.topic.Subscribe(pubsub.WithBufferSize(backlog))
	if err != nil {
		return nil, fmt.Errorf("subscribe to orders: %w", err)
	}
	return &Subscription{sub, o.host.Handle(p2p.OrderProtocol, o.listen)}, nil
}

// Next waits for the next order. It returns ctx's error, or an error after Close.
// An order may come again with other addresses of its tenant.
func (s *Subscription) Next(ctx context.Context) (Order, error) {
	m, err := s.sub.Next(ctx)
	if err != nil {
		return Order{}, fmt.Errorf("next order: %w", err)
	}
	return m.ValidatorData.(Order), nil // nothing passes without: see validate and relay
}

// Close stops listening.
func (s *Subscription) Close() {
	s.remove()
	s.sub.Cancel()
}

// Close leaves the gossip; announcements under way are dropped.
func (o *Orders) Close() {
	o.cancel()
	o.pushes.Wait()
}
