package p2p_test

import (
	"context"
	"io"
	"sync"
	"testing"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/moyai-network/moyai/p2p"
	"github.com/moyai-network/moyai/p2p/p2ptest"
)

// TestLine sends over a line that is as narrow as may be, on two streams at once. Time
// is only asserted from below: nothing gets there sooner than the line has it.
func TestLine(t *testing.T) {
	const narrow, each = 128 << 10, 64 << 10
	for name, limits := range map[string][2]p2p.LineLimits{
		"up": {{Up: narrow}, {}}, "down": {{}, {Down: narrow}},
	} {
		t.Run(name, func(t *testing.T) {
			from := p2ptest.NewHost(t, func(c *p2p.Config) { c.Line = limits[0] })
			to := p2ptest.NewHost(t, func(c *p2p.Config) { c.Line = limits[1] })
			arrived := make(chan int, 2)
			to.Handle("/test/bulk", func(_ context.Context, s *p2p.Stream) {
				defer s.Close()
				_ = s.Raw().SetReadDeadline(time.Now().Add(2 * time.Second)) // less than it takes: it is for the peer
				n, err := io.Copy(io.Discard, struct{ io.Reader }{s})
				if err != nil {
					t.Errorf("after %d bytes: %v", n, err)
				}
				arrived <- int(n)
			})
			p2ptest.Connect(t, from, to)
			began := time.Now()
			var wg sync.WaitGroup
			for range 2 {
				s, err := from.OpenStream(p2ptest.Context(t), peer.AddrInfo{ID: to.ID()}, "/test/bulk")
				if err != nil {
					t.Fatal(err)
				}
				wg.Go(func() {
					defer s.Close()
					if _, err := s.Raw().Write(make([]byte, each)); err != nil {
						t.Error(err)
					}
				})
			}
			wg.Wait()
			if a, b := <-arrived, <-arrived; a != each || b != each {
				t.Errorf("%d and %d bytes came, want %d each", a, b, each)
			}
			// All but the bucket, the first urgent bytes and a reservation that ends with its stream.
			if took, least := time.Since(began), 400*time.Millisecond; took < least {
				t.Errorf("took %s, not %s at least", took, least)
			}
		})
	}
}

func TestLineTooNarrow(t *testing.T) {
	for _, l := range []p2p.LineLimits{{Up: 1}, {Down: 1000}} {
		if err := l.Validate(); err == nil {
			t.Errorf("%+v was taken", l)
		}
	}
	if err := (p2p.LineLimits{}).Validate(); err != nil {
		t.Error(err)
	}
}
