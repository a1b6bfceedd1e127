package p2p

import (
	"fmt"
	"sync"
	"time"

	"github.com/libp2p/go-libp2p/core/network"
	"golang.org/x/time/rate"
)

// LineLimits bound what a host's streams carry together, in bytes a second: a home's
// line is its owner's first. Zero: as much as goes. Headers, gossip and what a relay
// carries for others are not counted.
type LineLimits struct{ Up, Down uint64 }

const (
	minLine = 128 << 10 // below it, a block of content would not arrive within its time
	// urgent are the first bytes of a stream in each second: they are counted and do
	// not wait, since a receipt that comes late costs more than the few it takes from others.
	urgent = 16 << 10
)

// Validate reports a limit too low to work with.
func (l LineLimits) Validate() error {
	for way, limit := range map[string]uint64{"up": l.Up, "down": l.Down} {
		if limit != 0 && limit < minLine {
			return fmt.Errorf("%d bytes a second %s are too few to serve anybody: at least %d", limit, way, minLine)
		}
	}
	return nil
}

// line is the buckets that all streams of a host share.
type line struct{ up, down *rate.Limiter }

func newLine(l LineLimits) *line {
	if l == (LineLimits{}) {
		return nil
	}
	return &line{up: bucketOf(l.Up), down: bucketOf(l.Down)}
}

// bucketOf holds an eighth of a second, so that a pause is not made up for by a flood.
func bucketOf(perSecond uint64) *rate.Limiter {
	if perSecond == 0 {
		return rate.NewLimiter(rate.Inf, 1<<20)
	}
	return rate.NewLimiter(rate.Limit(perSecond), int(min(max(perSecond/8, 16<<10), 1<<20)))
}

// over is a stream whose bytes wait for their turn on the line.
func (l *line) over(s network.Stream) network.Stream {
	if l == nil {
		return s
	}
	t := &queued{Stream: s, gone: make(chan struct{})}
	t.up, t.down = way{bucket: l.up, set: s.SetWriteDeadline}, way{bucket: l.down, set: s.SetReadDeadline}
	return t
}

type queued struct {
	network.Stream
	up, down way
	once     sync.Once
	gone     chan struct{} // closed when nobody waits any more
}

// way is one direction. What waits here does not count against its deadline, which is
// meant for the peer.
type way struct {
	bucket   *rate.Limiter
	set      func(time.Time) error
	mu       sync.Mutex
	deadline time.Time
	second   int64 // the one of lately, Unix
	lately   int   // bytes in it
}

func (w *way) setDeadline(t time.Time) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.deadline = t
	return w.set(t)
}

// take counts n bytes, and waits for them unless they are urgent or the stream is gone.
func (w *way) take(n int, gone <-chan struct{}) {
	now := time.Now()
	delay := w.bucket.ReserveN(now, n).DelayFrom(now)
	if delay == 0 || w.urgent(now, n) {
		return
	}
	timer := time.NewTimer(delay)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-gone:
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.deadline.After(now) { // not one that was meant to interrupt
		w.deadline = w.deadline.Add(delay)
		_ = w.set(w.deadline)
	}
}

func (w *way) urgent(now time.Time, n int) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	if s := now.Unix(); s != w.second {
		w.second, w.lately = s, 0
	}
	w.lately += n
	return w.lately <= urgent
}

// Write implements io.Writer.
func (q *queued) Write(p []byte) (n int, err error) {
	for first := true; first || n < len(p) && err == nil; first = false {
		piece := p[n:min(len(p), n+q.up.bucket.Burst())]
		q.up.take(len(piece), q.gone)
		var k int
		k, err = q.Stream.Write(piece)
		n += k
	}
	return n, err
}

// Read implements io.Reader. What came is held back for as long as it should have
// taken: the peer's window fills, and it slows down.
func (q *queued) Read(p []byte) (int, error) {
	n, err := q.Stream.Read(p[:min(len(p), q.down.bucket.Burst())])
	if n > 0 {
		q.down.take(n, q.gone)
	}
	return n, err
}

// SetDeadline implements network.Stream.
func (q *queued) SetDeadline(t time.Time) error {
	if err := q.up.setDeadline(t); err != nil {
		return err
	}
	return q.down.setDeadline(t)
}

// SetReadDeadline implements network.Stream.
func (q *queued) SetReadDeadline(t time.Time) error { return q.down.setDeadline(t) }

// SetWriteDeadline implements network.Stream.
func (q *queued) SetWriteDeadline(t time.Time) error { return q.up.setDeadline(t) }

func (q *queued) leave() { q.once.Do(func() { close(q.gone) }) }

// Close implements network.Stream.
func (q *queued) Close() error { q.leave(); return q.Stream.Close() }

// Reset implements network.Stream.
func (q *queued) Reset() error { q.leave(); return q.Stream.Reset() }

// ResetWithError implements network.Stream.
func (q *queued) ResetWithError(code network.StreamErrorCode) error {
	q.leave()
	return q.Stream.ResetWithError(code)
}
