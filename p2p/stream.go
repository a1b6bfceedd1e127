package p2p

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"sync"
	"time"

	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/protocol"
)

// FrameTimeout is the default of Config.FrameTimeout.
const FrameTimeout = 10 * time.Second

// Stream carries frames over one libp2p stream. Send may be called from several
// goroutines at once; Recv from one at a time, beside them.
type Stream struct {
	host *Host
	raw  network.Stream
	in   *bufio.Reader

	sendMu  sync.Mutex
	sendBuf []byte

	reading chan struct{} // a lock with a way out: held by Recv, and after Close by the drain

	stateMu sync.Mutex    // orders closing and the setting of read deadlines
	closed  chan struct{} // closed by Close
}

func newStream(h *Host, raw network.Stream) *Stream {
	raw = h.line.over(raw)
	return &Stream{
		host: h, raw: raw, in: bufio.NewReaderSize(raw, 4<<10),
		reading: make(chan struct{}, 1), closed: make(chan struct{}),
	}
}

// OpenStream opens a stream with exactly one protocol id (see the package
// comment on latency), dialling to.Addrs if there is no connection yet.
func (h *Host) OpenStream(ctx context.Context, to peer.AddrInfo, id protocol.ID) (*Stream, error) {
	if err := h.reach(ctx, to); err != nil {
		return nil, err
	}
	raw, err := h.NewStream(network.WithAllowLimitedConn(ctx, string(id)), to.ID, id)
	if err != nil {
		return nil, fmt.Errorf("open %s to %s: %w", id, to.ID, err)
	}
	return newStream(h, raw), nil
}

// Peer is who is at the other end, authenticated by the transport.
func (s *Stream) Peer() peer.ID { return s.raw.Conn().RemotePeer() }

// Raw is the libp2p stream below, for a protocol that turns from frames to a
// byte stream. Reader, not Raw, is where the bytes after the last frame are.
func (s *Stream) Raw() network.Stream { return s.raw }

// Reader reads what follows the last frame received.
func (s *Stream) Reader() *bufio.Reader { return s.in }

// Read implements io.Reader for what follows the last frame received. Unlike Reader
// it knows of Close, which unblocks it; deadlines are the caller's, on Raw.
func (s *Stream) Read(p []byte) (int, error) {
	select {
	case s.reading <- struct{}{}:
		defer func() { <-s.reading }()
	case <-s.closed:
		return 0, net.ErrClosed
	}
	if s.isClosed() {
		return 0, net.ErrClosed
	}
	n, err := s.in.Read(p)
	if err != nil && s.isClosed() {
		err = net.ErrClosed
	}
	return n, err
}

// Send writes one frame of at most max bytes. It gives up after Config.FrameTimeout if
// the peer does not read, and then resets the stream, since the peer could not find
// the next frame. Where the peer has closed the stream, Send fails but what it sent
// before can still be received.
func (s *Stream) Send(max int, m Message) error {
	s.sendMu.Lock()
	defer s.sendMu.Unlock()
	frame, err := AppendFrame(s.sendBuf[:0], max, m)
	if err != nil {
		return err
	}
	s.sendBuf = frame[:0]
	_ = s.raw.SetWriteDeadline(time.Now().Add(s.host.patience))
	if _, err := s.raw.Write(frame); err != nil {
		if errors.Is(err, os.ErrDeadlineExceeded) {
			s.Reset()
		}
		return fmt.Errorf("send %T to %s: %w", m, s.Peer(), err)
	}
	return nil
}

// Recv reads one frame of at most max bytes into m, waiting at most wait for its
// first byte (0: as long as the stream lives) and Config.FrameTimeout for the rest. It
// returns io.EOF when the peer closed its side and net.ErrClosed after Close here. A
// peer that breaks the protocol is struck and the stream reset; see ReadFrame for
// those errors.
func (s *Stream) Recv(max int, wait time.Duration, m Message) error {
	body, err := s.recvBody(max, wait)
	if err == nil {
		err = decodeBody(body, m)
	}
	return s.recvErr(err)
}

func (s *Stream) recvBody(max int, wait time.Duration) ([]byte, error) {
	select {
	case s.reading <- struct{}{}:
		defer func() { <-s.reading }()
	case <-s.closed:
		return nil, net.ErrClosed
	}
	var deadline time.Time
	if wait > 0 {
		deadline = time.Now().Add(wait)
	}
	if err := s.setReadDeadline(deadline); err != nil {
		return nil, err
	}
	if _, err := s.in.Peek(1); err != nil {
		return nil, err
	}
	if err := s.setReadDeadline(time.Now().Add(s.host.patience)); err != nil {
		return nil, err
	}
	return readBody(s.in, max)
}

func (s *Stream) setReadDeadline(t time.Time) error {
	s.stateMu.Lock()
	defer s.stateMu.Unlock()
	if s.isClosed() {
		return net.ErrClosed
	}
	return s.raw.SetReadDeadline(t)
}

func (s *Stream) isClosed() bool {
	select {
	case <-s.closed:
		return true
	default:
		return false
	}
}

func (s *Stream) recvErr(err error) error {
	switch {
	case err == nil:
		return nil
	case s.isClosed():
		return net.ErrClosed // and no Reset: it would overtake what was sent
	case errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF):
		return io.EOF
	case brokeProtocol(err):
		s.host.Strike(s.Peer(), err)
	}
	s.Reset()
	return fmt.Errorf("receive from %s: %w", s.Peer(), err)
}

// CloseWrite says that nothing more will be sent; receiving goes on.
func (s *Stream) CloseWrite() error { return s.raw.CloseWrite() }

// Close ends both directions after what was sent has gone out, and unblocks Recv. It
// does not wait. What the peer still sends is read and dropped until it closes, too
// (or Config.FrameTimeout has passed): were it refused, the peer's side would break
// before it has read the last of what was sent to it.
func (s *Stream) Close() error {
	s.stateMu.Lock()
	defer s.stateMu.Unlock()
	if s.isClosed() {
		return nil
	}
	close(s.closed)
	_ = s.raw.SetReadDeadline(time.Unix(1, 0)) // long past: Recv returns
	err := s.raw.CloseWrite()
	s.host.wg.Go(s.drain)
	return err
}

func (s *Stream) drain() {
	s.reading <- struct{}{} // for good
	_ = s.raw.SetReadDeadline(time.Now().Add(s.host.patience))
	if _, err := io.CopyN(io.Discard, s.raw, maxDrain); !errors.Is(err, io.EOF) {
		s.Reset()
	}
}

// maxDrain bounds what is read after Close: a few frames under way.
const maxDrain = 4 * MaxFrame

// Reset ends both directions at once and lets the peer see an error.
func (s *Stream) Reset() { _ = s.raw.Reset() }

// closeOn resets the stream when ctx ends, until the returned function is
// called; it gives blocking reads and writes a context.
func (s *Stream) closeOn(ctx context.Context) (stop func() bool) {
	return context.AfterFunc(ctx, s.Reset)
}
