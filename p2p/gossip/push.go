package gossip

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/libp2p/go-libp2p/core/event"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/p2p/host/eventbus"

	"github.com/moyai-network/moyai/p2p"
)

// pushTimeout bounds one push: the listener may have to ask the chain about funds.
const pushTimeout = fundsTimeout + 2*time.Second

const (
	maxPush = p2p.MaxAnnounce + 64
	maxEcho = 1024
)

// echo is a listener's answer to a pushed announcement.
type echo struct {
	Heard bool   `cbor:"1,keyasint"`
	Why   string `cbor:"2,keyasint,omitempty"` // why not, for people
}

// Validate implements p2p.Message.
func (e *echo) Validate() error {
	if e.Why != p2p.Printable(e.Why, p2p.MaxText/2, false) {
		return errors.New("reason is too long or not printable")
	}
	return nil
}

// Publish announces an order to every connected listener at once and returns how
// many there were, without waiting for them. It first waits until at least want
// listeners are connected, or ctx ends; ErrNobody if by then there are none.
func (o *Orders) Publish(ctx context.Context, a *p2p.Announce, want int) (reached int, err error) {
	if _, err := a.Encode(); err != nil {
		return 0, fmt.Errorf("announce order: %w", err)
	}
	waitErr := o.WaitPeers(ctx, want)
	listeners := o.Peers()
	if len(listeners) == 0 {
		return 0, errors.Join(ErrNobody, waitErr)
	}
	// What is known now is told, even if ctx ended while waiting for more.
	for _, p := range listeners {
		o.pushes.Go(func() { o.tell(p, a) })
	}
	return len(listeners), nil
}

// tell pushes an announcement to one listener, and once more if the connection
// turns out to be dead: two hosts that connect over QUIC and TCP at once close one
// of the two soon after.
func (o *Orders) tell(to peer.ID, a *p2p.Announce) {
	ctx, cancel := context.WithTimeout(o.ctx, pushTimeout)
	defer cancel()
	e, err := o.push(ctx, to, a)
	if err != nil && ctx.Err() == nil {
		e, err = o.push(ctx, to, a)
	}
	if err != nil || !e.Heard {
		o.cfg.Logger.Info("order was not heard", "listener", to, "why", e.Why, "err", err)
	}
}

func (o *Orders) push(ctx context.Context, to peer.ID, a *p2p.Announce) (e echo, err error) {
	s, err := o.host.OpenStream(ctx, peer.AddrInfo{ID: to}, p2p.OrderProtocol)
	if err != nil {
		return e, err
	}
	defer s.Reset()
	defer context.AfterFunc(ctx, s.Reset)()
	if err := s.Send(maxPush, a); err != nil {
		return e, err
	}
	err = s.Recv(maxEcho, pushTimeout, &e)
	return e, err
}

// listen answers pushes: what passes the validator goes to this host's subscribers
// and on into the gossip.
func (o *Orders) listen(ctx context.Context, s *p2p.Stream) {
	defer func() { _ = s.Close() }()
	a := new(p2p.Announce)
	if err := s.Recv(maxPush, p2p.FrameTimeout, a); err != nil {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, pushTimeout)
	defer cancel()
	err := o.take(ctx, s.Peer(), a)
	switch {
	case err == nil:
		err = s.Send(maxEcho, &echo{Heard: true})
	case ignorable(err):
		err = s.Send(maxEcho, &echo{Why: p2p.Printable(err.Error(), p2p.MaxText/2, false)})
	default:
		o.host.Strike(s.Peer(), err)
		s.Reset()
	}
	if err != nil {
		o.cfg.Logger.Debug("order not taken", "peer", s.Peer(), "why", err)
	}
}

func (o *Orders) take(ctx context.Context, from peer.ID, a *p2p.Announce) error {
	if !o.validator.peers.Allow(from) {
		return errRate
	}
	order, err := o.validator.judge(ctx, a)
	if err != nil {
		return err
	}
	return o.relay(ctx, order)
}

// Peers are the connected peers that listen for orders.
func (o *Orders) Peers() []peer.ID {
	return slices.DeleteFunc(o.host.Network().Peers(), func(p peer.ID) bool { return !o.listens(p) })
}

func (o *Orders) listens(p peer.ID) bool {
	known, err := o.host.Peerstore().SupportsProtocols(p, p2p.OrderProtocol)
	return err == nil && len(known) > 0 && o.host.Linked(p)
}

// WaitPeers waits until at least n connected peers listen, or returns ctx's error.
// A peer's protocols are known when Connect returns.
func (o *Orders) WaitPeers(ctx context.Context, n int) error {
	if len(o.Peers()) >= n {
		return nil
	}
	news, err := o.host.EventBus().Subscribe([]any{
		new(event.EvtPeerIdentificationCompleted), new(event.EvtPeerProtocolsUpdated),
	}, eventbus.Name("moyai/orders"))
	if err != nil {
		return fmt.Errorf("wait for peers: %w", err)
	}
	defer func() { _ = news.Close() }()
	for len(o.Peers()) < n {
		select {
		case <-news.Out():
		case <-ctx.Done():
			return fmt.Errorf("waiting for %d peers that listen for orders, have %d: %w", n, len(o.Peers()), ctx.Err())
		}
	}
	return nil
}
