package switchboard

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"sync"
	"testing"
)

// laid is a board and the program at its other end, over pipes.
func laid(t *testing.T, dial func(context.Context, uint16) (*net.TCPConn, error)) *Board {
	t.Helper()
	inside, outside := net.Pipe()
	served := make(chan error, 1)
	go func() { served <- Serve(inside, inside, dial) }()
	b, err := New(outside)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = b.Close()
		if err := <-served; err != nil {
			t.Errorf("serve: %v", err)
		}
	})
	return b
}

// echoes listens and sends back all that comes on each connection.
func echoes(t *testing.T) *net.TCPAddr {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				_, _ = io.Copy(c, c)
				_, _ = io.WriteString(c, "bye")
			}()
		}
	}()
	return l.Addr().(*net.TCPAddr)
}

func TestBoard(t *testing.T) {
	to := echoes(t)
	b := laid(t, func(_ context.Context, port uint16) (*net.TCPConn, error) {
		switch port {
		case 1:
			return nil, ErrRefused
		case 2:
			return nil, errors.New("broken")
		}
		return net.DialTCP("tcp", nil, to)
	})
	t.Run("refused", func(t *testing.T) {
		if _, err := b.Dial(t.Context(), 1); !errors.Is(err, ErrRefused) {
			t.Error(err)
		}
		if _, err := b.Dial(t.Context(), 2); err == nil || errors.Is(err, ErrRefused) {
			t.Error(err)
		}
	})
	t.Run("many", func(t *testing.T) {
		var all sync.WaitGroup
		for i := range 40 {
			all.Go(func() {
				c, err := b.Dial(t.Context(), 80)
				if err != nil {
					t.Error(err)
					return
				}
				defer c.Close()
				sent := bytes.Repeat([]byte{byte(i)}, 3*window/2)
				go func() {
					_, _ = c.Write(sent)
					_ = c.CloseWrite()
				}()
				got, err := io.ReadAll(c)
				if err != nil || string(got) != string(sent)+"bye" {
					t.Errorf("%d of %d bytes came back, %v", len(got), len(sent)+3, err)
				}
			})
		}
		all.Wait()
	})
	t.Run("who does not read halts nobody else", func(t *testing.T) {
		lazy, err := b.Dial(t.Context(), 80)
		if err != nil {
			t.Fatal(err)
		}
		defer lazy.Close()
		go func() { _, _ = io.Copy(lazy, bytes.NewReader(make([]byte, 16*window))) }()
		c, err := b.Dial(t.Context(), 80)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		if _, err := c.Write([]byte("x")); err != nil {
			t.Fatal(err)
		}
		if _, err := io.ReadFull(c, make([]byte, 1)); err != nil {
			t.Error(err)
		}
	})
	t.Run("given up", func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if _, err := b.Dial(ctx, 80); !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
	})
}

// TestGone: a program that has ended is told from one that refuses.
func TestGone(t *testing.T) {
	inside, outside := net.Pipe()
	b, err := New(outside)
	if err != nil {
		t.Fatal(err)
	}
	_ = inside.Close()
	if _, err := b.Dial(t.Context(), 80); !errors.Is(err, ErrGone) {
		t.Error(err)
	}
	if !b.Gone() {
		t.Error("it still carries")
	}
}

// TestHostile: what the other end says is bounded and opens nothing.
func TestHostile(t *testing.T) {
	for name, words := range map[string][]byte{
		"noise":           bytes.Repeat([]byte{0xff}, 4096),
		"opens a stream":  {0, 1, 0, 1, 0, 0, 0, 2, 0, 0, 0, 0},
		"data of nobody":  {0, 0, 0, 0, 0, 0, 0, 7, 0xff, 0xff, 0xff, 0xff},
		"ends in between": {0, 0},
	} {
		t.Run(name, func(t *testing.T) {
			inside, outside := net.Pipe()
			b, err := New(outside)
			if err != nil {
				t.Fatal(err)
			}
			defer b.Close()
			go func() { _, _ = io.Copy(io.Discard, inside) }()
			_, _ = inside.Write(words)
			_ = inside.Close()
			if c, err := b.Dial(t.Context(), 80); err == nil {
				t.Errorf("connected: %v", c)
			}
		})
	}
}
