package client

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/moyai-network/moyai/p2p"
)

const (
	streamBackoffMin = 20 * time.Millisecond
	streamBackoffMax = 2 * time.Second
	outQueue         = 2048 // messages of ours: a detached array deals all at once
)

// stay keeps a stream to the provider until the lease is out of our care. A
// provider may see the opening block a moment after us, so the first tries are
// quick.
func (t *tenancy) stay() {
	backoff := streamBackoffMin
	for t.ctx.Err() == nil {
		began := time.Now()
		err := t.session()
		if time.Since(began) > streamBackoffMax {
			backoff = streamBackoffMin
		}
		t.r.c.log.Debug("lease stream ended", "lease", t.name, "err", err)
		select {
		case <-t.ctx.Done():
			return
		case <-time.After(backoff):
		}
		backoff = min(2*backoff, streamBackoffMax)
	}
}

// session is one stream's life.
func (t *tenancy) session() error {
	dial, cancel := context.WithTimeout(t.ctx, dialTimeout)
	defer cancel()
	hello := p2p.Hello{LeaseID: t.row.LeaseID, Access: t.o.access, Logs: p2p.LogFollow, LogFrom: t.log.offsets()}
	s, err := t.r.c.host.OpenLeaseStream(dial, t.r.c.located(t.info), hello)
	if err != nil {
		return err
	}
	defer s.Reset()
	out := make(chan p2p.LeaseMessage, outQueue)
	stop := make(chan struct{})
	var writer sync.WaitGroup
	writer.Go(func() { write(s, out, stop) })
	defer writer.Wait()
	defer close(stop)
	t.r.post(func() { t.connected(s, out) })
	for {
		m, err := s.RecvContext(t.ctx)
		if refused, ok := m.(*p2p.Refused); ok {
			err = fmt.Errorf("provider refused the stream: %s", refused.Refusal.String())
		}
		if err != nil {
			t.r.post(func() { t.disconnected(s, err) })
			return err
		}
		if !t.r.post(func() { t.message(m) }) {
			return t.ctx.Err()
		}
	}
}

// write sends what is queued; when the session stops it sends the rest.
func write(s *p2p.LeaseStream, out <-chan p2p.LeaseMessage, stop <-chan struct{}) {
	for {
		select {
		case m := <-out:
			if err := s.Send(m); err != nil {
				s.Reset()
				return
			}
		case <-stop:
			return
		}
	}
}

// logPositions remembers where each log of a lease ends, for reconnecting.
type logPositions struct {
	mu  sync.Mutex
	end map[logKey]uint64
}

type logKey struct {
	task   uint64
	stream p2p.LogStream
}

func newLogPositions() *logPositions { return &logPositions{end: map[logKey]uint64{}} }

// take returns the part of a piece that is new.
func (l *logPositions) take(m *p2p.Log) []byte {
	l.mu.Lock()
	defer l.mu.Unlock()
	k := logKey{m.Task, m.Stream}
	have, end := l.end[k], m.Offset+uint64(len(m.Data))
	if end <= have || end < m.Offset {
		return nil
	}
	l.end[k] = end
	if m.Offset >= have {
		return m.Data
	}
	return m.Data[have-m.Offset:]
}

// offsets are the positions for Hello; the newest tasks if there are too many.
func (l *logPositions) offsets() []p2p.LogOffset {
	l.mu.Lock()
	defer l.mu.Unlock()
	out := make([]p2p.LogOffset, 0, len(l.end))
	for k, end := range l.end {
		out = append(out, p2p.LogOffset{Task: k.task, Stream: k.stream, Offset: end})
	}
	slices.SortFunc(out, func(a, b p2p.LogOffset) int {
		if a.Task != b.Task {
			if a.Task > b.Task {
				return -1
			}
			return 1
		}
		return int(a.Stream) - int(b.Stream)
	})
	return out[:min(len(out), p2p.MaxLogOffsets)]
}
