package enter

import (
	"context"
	"fmt"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/moyai-network/moyai/p2p"
)

// answerTime is how long a provider may take to admit: starting a program inside a
// busy machine takes seconds.
const answerTime = 30 * time.Second

// Entered is the tenant's end of an admitted stream. Turn it into a Program or a
// Conn, or receive listings and entries from it; Close it in any case.
type Entered struct {
	// HostKey is the ssh server's public key, after asking for SSH.
	HostKey []byte

	s     *p2p.Stream
	leave func()
}

// Open enters a lease. It waits for the provider's answer, at most until ctx ends; a
// *p2p.RefusedError says why not, its subject is one of the constants here.
func Open(ctx context.Context, h *p2p.Host, provider peer.AddrInfo, r Request) (*Entered, error) {
	s, err := h.OpenStream(ctx, provider, Protocol)
	if err != nil {
		return nil, err
	}
	stop := context.AfterFunc(ctx, s.Reset)
	defer stop()
	var a Answer
	err = s.Send(maxRequest, &r)
	if err == nil {
		err = s.Recv(maxAnswer, answerTime, &a)
	}
	if err == nil && !stop() {
		err = ctx.Err()
	}
	if err != nil {
		s.Reset()
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		return nil, fmt.Errorf("enter at %s: %w", s.Peer(), err)
	}
	if a.Refusal != nil {
		_ = s.Close()
		return nil, &p2p.RefusedError{Peer: s.Peer(), Refusal: *a.Refusal}
	}
	return &Entered{HostKey: a.HostKey, s: s, leave: stay(h, s)}, nil
}

// stay keeps the connection below from being closed for want of use: a shell may
// be silent for hours.
func stay(h *p2p.Host, s *p2p.Stream) (leave func()) {
	tag := "enter-" + s.Raw().ID()
	h.ConnManager().Protect(s.Peer(), tag)
	return func() { h.ConnManager().Unprotect(s.Peer(), tag) }
}

// Close ends the stream at once.
func (e *Entered) Close() error {
	e.leave()
	e.s.Reset()
	return nil
}

// Conn turns the stream into bare bytes: what Dial and SSH asked for.
func (e *Entered) Conn() *Conn { return newConn(e.s, e.leave) }

// Listing waits for the next listing. io.EOF: there are no more.
func (e *Entered) Listing() (Listing, error) {
	var l Listing
	err := e.s.Recv(maxListing, 0, &l)
	return l, err
}

// Entry waits for the next entry; the last has End set.
func (e *Entered) Entry() (Entry, error) {
	var n Entry
	err := e.s.Recv(maxEntry, 0, &n)
	return n, err
}

// Visit is the provider's end of a stream, from the first frame on.
type Visit struct {
	Request Request // validated in shape; whether it may is for the provider

	s    *p2p.Stream
	host *p2p.Host
}

// Handle calls fn for every tenant that wants to enter, each on its own goroutine.
// fn verifies the request's Access and answers with Refuse or one of the others;
// the stream ends when fn returns. ctx ends with the host.
func Handle(h *p2p.Host, fn func(ctx context.Context, v *Visit)) (remove func()) {
	return h.Handle(Protocol, func(ctx context.Context, s *p2p.Stream) {
		v := &Visit{s: s, host: h}
		if err := s.Recv(maxRequest, p2p.FrameTimeout, &v.Request); err != nil {
			s.Reset()
			return
		}
		defer stay(h, s)()
		fn(ctx, v)
		_ = s.Close() // after what was sent has gone out
	})
}

// Peer is the tenant's host.
func (v *Visit) Peer() peer.ID { return v.s.Peer() }

// Refuse says why not.
func (v *Visit) Refuse(r p2p.Refusal) error {
	return v.s.Send(maxAnswer, &Answer{Refusal: &r})
}

// Admit says that what was asked for begins; hostKey is for SSH only.
func (v *Visit) Admit(hostKey []byte) error {
	return v.s.Send(maxAnswer, &Answer{HostKey: hostKey})
}

// Conn turns the stream into bare bytes, after Admit. Close it.
func (v *Visit) Conn() *Conn { return newConn(v.s, func() {}) }

// Show sends a listing.
func (v *Visit) Show(l *Listing) error { return v.s.Send(maxListing, l) }

// Tell sends an entry.
func (v *Visit) Tell(e *Entry) error { return v.s.Send(maxEntry, e) }

// Gone waits until the tenant ends its side, which is all that it may do where it
// has nothing to send, or until the stream is closed here.
func (v *Visit) Gone() { _ = v.s.Recv(0, 0, &silence{}) }

// silence is the message of a place where none is allowed.
type silence struct{}

// Validate implements p2p.Message.
func (*silence) Validate() error { return errSilence }

// strike tells the host that the peer broke the protocol, and ends the stream.
func (v *Visit) strike(why error) {
	v.host.Strike(v.s.Peer(), why)
	v.s.Reset()
}
