package enter

import (
	"errors"
	"net"
	"sync"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/moyai-network/moyai/p2p"
)

var errSilence = errors.New("nothing may be sent here")

// Conn is a stream as bare bytes. It is a net.Conn whose two directions can be
// ended one by one, as TCP's can.
type Conn struct {
	s     *p2p.Stream
	leave func()
	once  sync.Once
}

func newConn(s *p2p.Stream, leave func()) *Conn {
	// What frames left behind: from here on an idle stream is a healthy one.
	_ = s.Raw().SetDeadline(time.Time{})
	return &Conn{s: s, leave: leave}
}

// Read implements net.Conn: what follows the last frame.
func (c *Conn) Read(p []byte) (int, error) { return c.s.Read(p) }

// Write implements net.Conn.
func (c *Conn) Write(p []byte) (int, error) { return c.s.Raw().Write(p) }

// CloseWrite ends this side's direction: the peer reads io.EOF.
func (c *Conn) CloseWrite() error { return c.s.CloseWrite() }

// Close ends both directions; what was written still arrives. A peer that goes on
// sending is cut off after a moment.
func (c *Conn) Close() error {
	c.once.Do(c.leave)
	return c.s.Close()
}

// Reset ends both directions at once, and the peer sees an error.
func (c *Conn) Reset() {
	c.once.Do(c.leave)
	c.s.Reset()
}

// addr is a libp2p host's name as a net.Addr.
type addr peer.ID

func (addr) Network() string  { return "libp2p" }
func (a addr) String() string { return peer.ID(a).String() }

// LocalAddr implements net.Conn.
func (c *Conn) LocalAddr() net.Addr { return addr(c.s.Raw().Conn().LocalPeer()) }

// RemoteAddr implements net.Conn.
func (c *Conn) RemoteAddr() net.Addr { return addr(c.s.Peer()) }

// SetDeadline implements net.Conn.
func (c *Conn) SetDeadline(t time.Time) error { return c.s.Raw().SetDeadline(t) }

// SetReadDeadline implements net.Conn.
func (c *Conn) SetReadDeadline(t time.Time) error { return c.s.Raw().SetReadDeadline(t) }

// SetWriteDeadline implements net.Conn.
func (c *Conn) SetWriteDeadline(t time.Time) error { return c.s.Raw().SetWriteDeadline(t) }
