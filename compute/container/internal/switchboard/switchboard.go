// Package switchboard carries connections into a network that can only be spoken to
// from within, over one pair of pipes to a program there: as many as are wanted,
// without a program for each.
//
// Whoever is outside opens a stream of yamux for each connection, says the port in
// two bytes, and is answered with one; bytes of the connection follow. What is at
// the other end is the tenant's: it may open nothing, and what it can have this end
// hold is bounded by the streams' windows.
package switchboard

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"time"

	"github.com/libp2p/go-yamux/v5"
)

// Answers to a port.
const (
	connected = iota
	refused
	failed
)

// Errors of Dial.
var (
	ErrRefused = errors.New("nobody listens there") // on any address
	ErrGone    = errors.New("what connects has ended")
	errFailed  = errors.New("what connects could not, and not because nobody listens")
)

const (
	// idle is how long the program inside stays without a connection.
	idle = time.Minute
	// dialPatience bounds connecting, and lingering what is still on its way when a
	// connection is closed.
	dialPatience = 20 * time.Second
	lingering    = 10 * time.Second
	most         = 512     // connections at a time
	window       = 1 << 20 // bytes on their way in one direction of one
)

func config() *yamux.Config {
	c := yamux.DefaultConfig()
	c.EnableKeepAlive = false // pipes do not fail silently
	c.MeasureRTTInterval = time.Hour
	c.MaxIncomingStreams = most
	c.MaxStreamWindowSize = window
	c.LogOutput = io.Discard
	return c
}

// Board is the end outside.
type Board struct{ session *yamux.Session }

// New speaks to a program that serves at the other end of pipes. It closes pipes
// when that ends.
func New(pipes io.ReadWriteCloser) (*Board, error) {
	c := config()
	c.MaxIncomingStreams = 0
	s, err := yamux.Client(conn{pipes}, c, nil)
	if err != nil {
		return nil, err
	}
	return &Board{s}, nil
}

// Gone reports that it carries no more.
func (b *Board) Gone() bool { return b.session.IsClosed() }

// Close ends all connections.
func (b *Board) Close() error { return b.session.Close() }

// Dial connects to a port of the network.
//
// Errors: ErrRefused, ErrGone, ctx's.
func (b *Board) Dial(ctx context.Context, port uint16) (*Conn, error) {
	s, err := b.session.OpenStream(ctx)
	if err != nil {
		return nil, b.why(ctx, err)
	}
	stop := context.AfterFunc(ctx, func() { _ = s.Reset() })
	var answer [1]byte
	_, err = s.Write(binary.BigEndian.AppendUint16(nil, port))
	if err == nil {
		_, err = io.ReadFull(s, answer[:])
	}
	if !stop() {
		return nil, ctx.Err()
	}
	switch {
	case err != nil:
		err = b.why(ctx, err)
	case answer[0] == refused:
		err = ErrRefused
	case answer[0] != connected:
		err = errFailed
	default:
		return &Conn{Stream: s}, nil
	}
	_ = s.Reset()
	return nil, err
}

func (b *Board) why(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	return fmt.Errorf("%w: %w", ErrGone, err)
}

// Conn is a connection, one direction of which can be closed with CloseWrite.
type Conn struct {
	*yamux.Stream
	once sync.Once
}

// Close ends both directions. What was written still arrives.
func (c *Conn) Close() error {
	c.once.Do(func() {
		_ = c.CloseWrite() // it may be over
		go func() {
			_ = c.SetReadDeadline(time.Now().Add(lingering))
			_, _ = io.Copy(io.Discard, c.Stream)
			_ = c.Reset()
		}()
	})
	return nil
}

// Serve is the end inside: it connects with dial as it is asked to, until in ends or
// nobody has been connected for a while.
func Serve(in io.Reader, out io.Writer, dial func(ctx context.Context, port uint16) (*net.TCPConn, error)) error {
	session, err := yamux.Server(conn{stdio{in, out}}, config(), nil)
	if err != nil {
		return err
	}
	busy := make(chan struct{}, 1)
	go func() {
		for {
			s, err := session.AcceptStream()
			if err != nil {
				return
			}
			select {
			case busy <- struct{}{}:
			default:
			}
			go serve(s, dial)
		}
	}()
	rest := time.NewTicker(idle)
	defer rest.Stop()
	for {
		select {
		case <-session.CloseChan():
			return nil
		case <-rest.C:
			select {
			case <-busy: // since the last tick
			default:
				if session.NumStreams() == 0 {
					return nil
				}
			}
		}
	}
}

func serve(s *yamux.Stream, dial func(context.Context, uint16) (*net.TCPConn, error)) {
	defer func() { _ = s.Reset() }() // it may have ended well
	_ = s.SetReadDeadline(time.Now().Add(dialPatience))
	var port [2]byte
	if _, err := io.ReadFull(s, port[:]); err != nil {
		return
	}
	_ = s.SetReadDeadline(time.Time{})
	ctx, cancel := context.WithTimeout(context.Background(), dialPatience)
	defer cancel()
	c, err := dial(ctx, binary.BigEndian.Uint16(port[:]))
	if err != nil {
		answer := byte(failed)
		if errors.Is(err, ErrRefused) {
			answer = refused
		}
		_, _ = s.Write([]byte{answer})
		_ = s.CloseWrite()
		_, _ = io.Copy(io.Discard, s) // until the other end has read it
		return
	}
	defer c.Close()
	if _, err := s.Write([]byte{connected}); err != nil {
		return
	}
	_ = join(s, c) // both ends know
}

// half is a connection whose directions end one by one.
type half interface {
	io.ReadWriter
	CloseWrite() error
}

// join carries bytes both ways until both directions have ended, or one has failed.
func join(a, b half) error {
	over := make(chan error, 2)
	carry := func(to, from half) {
		_, err := io.Copy(to, from)
		_ = to.CloseWrite() // it may be over by itself
		over <- err
	}
	go carry(a, b)
	go carry(b, a)
	err := <-over
	if err == nil {
		err = <-over
	}
	return err
}

type stdio struct {
	io.Reader
	io.Writer
}

func (stdio) Close() error { return nil } // the process ends

// conn makes pipes what yamux takes. They have no addresses, and deadlines would be
// for networks that fail.
type conn struct{ io.ReadWriteCloser }

func (conn) LocalAddr() net.Addr              { return &net.UnixAddr{} }
func (conn) RemoteAddr() net.Addr             { return &net.UnixAddr{} }
func (conn) SetDeadline(time.Time) error      { return nil }
func (conn) SetReadDeadline(time.Time) error  { return nil }
func (conn) SetWriteDeadline(time.Time) error { return nil }
