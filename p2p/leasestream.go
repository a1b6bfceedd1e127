package p2p

import (
	"context"

	"github.com/libp2p/go-libp2p/core/peer"
)

// LeaseStream is either end of a lease stream. Send may be called from several
// goroutines; Recv from one. A lease may have several streams (the job's own, and
// "logs -f" from another terminal).
type LeaseStream struct {
	s          *Stream
	fromTenant bool // direction of what this end receives
}

// OpenLeaseStream attaches to a lease as the tenant and sends hello. It does not
// wait for an answer: the first Recv tells whether the provider accepted.
func (h *Host) OpenLeaseStream(ctx context.Context, provider peer.AddrInfo, hello Hello) (*LeaseStream, error) {
	s, err := h.OpenStream(ctx, provider, LeaseProtocol)
	if err != nil {
		return nil, err
	}
	l := &LeaseStream{s: s}
	if err := l.Send(&hello); err != nil {
		s.Reset()
		return nil, err
	}
	return l, nil
}

// HandleLeaseStreams calls fn for every tenant that attaches, each on its own
// goroutine, with its first message. fn verifies hello.Access, owns the stream
// and must Close it; ctx ends with the host.
func (h *Host) HandleLeaseStreams(fn func(ctx context.Context, l *LeaseStream, hello Hello)) (remove func()) {
	return h.Handle(LeaseProtocol, func(ctx context.Context, s *Stream) {
		l := &LeaseStream{s: s, fromTenant: true}
		first, err := l.recv(true)
		if err != nil {
			s.Reset()
			return
		}
		hello, ok := first.(*Hello)
		if !ok {
			_ = s.recvErr(ErrInvalidMessage)
			return
		}
		fn(ctx, l, *hello)
	})
}

// Peer is who is at the other end.
func (l *LeaseStream) Peer() peer.ID { return l.s.Peer() }

// Send sends one message of this end's direction. It blocks while the peer does
// not read, at most FrameTimeout, after which the stream is reset.
func (l *LeaseStream) Send(m LeaseMessage) error {
	env, err := wrapLease(m)
	if err != nil {
		return err
	}
	return l.s.Send(maxLeaseFrame, env)
}

// Recv waits for the next message: switch on its type. io.EOF means that the peer
// closed its side. A message of the wrong direction or shape strikes the peer and
// resets the stream. Close or Reset, or the context of RecvContext, unblock it.
func (l *LeaseStream) Recv() (LeaseMessage, error) { return l.recv(false) }

// RecvContext is Recv that ends with ctx, resetting the stream.
func (l *LeaseStream) RecvContext(ctx context.Context) (LeaseMessage, error) {
	defer l.s.closeOn(ctx)()
	m, err := l.recv(false)
	if err != nil {
		return nil, contextFirst(ctx, err)
	}
	return m, nil
}

func (l *LeaseStream) recv(first bool) (LeaseMessage, error) {
	wait := l.s.host.patience
	if !first {
		wait = 0 // a quiet lease is a healthy lease
	}
	var env leaseEnvelope
	if err := l.s.Recv(maxLeaseFrame, wait, &env); err != nil {
		return nil, err
	}
	m, err := env.unwrap(l.fromTenant)
	if err != nil {
		return nil, l.s.recvErr(err)
	}
	if _, again := m.(*Hello); again && !first {
		return nil, l.s.recvErr(ErrInvalidMessage)
	}
	return m, nil
}

// CloseWrite says that nothing more will be sent.
func (l *LeaseStream) CloseWrite() error { return l.s.CloseWrite() }

// Close ends the stream after what was sent has gone out.
func (l *LeaseStream) Close() { _ = l.s.Close() }

// Reset ends the stream at once.
func (l *LeaseStream) Reset() { l.s.Reset() }
