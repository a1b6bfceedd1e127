package supervise

import (
	"io"
	"os"
	"sync"
	"sync/atomic"
)

// logs carries two streams of a container to their files and counts them
// together.
type logs struct {
	limit uint64
	kept  atomic.Uint64
	over  atomic.Bool   // something was dropped
	alarm chan struct{} // closed at the first dropped byte
	full  chan struct{} // closed at the first failed write
	room  sync.Mutex    // one stream at a time takes from what is left
	once  sync.Once
	torn  sync.Once
	wait  sync.WaitGroup
}

func newLogs(limit uint64) *logs {
	return &logs{limit: limit, alarm: make(chan struct{}), full: make(chan struct{})}
}

// carry copies until the stream ends. It never stops reading: a program must not
// hang because nobody takes what it says.
func (l *logs) carry(from io.ReadCloser, to *os.File) {
	l.wait.Go(func() {
		defer from.Close()
		defer to.Close()
		buffer := make([]byte, 64<<10)
		for {
			n, err := from.Read(buffer)
			if n > 0 {
				l.keep(to, buffer[:n])
			}
			if err != nil {
				return
			}
		}
	})
}

func (l *logs) keep(to *os.File, p []byte) {
	l.room.Lock()
	defer l.room.Unlock()
	if left := l.limit - l.kept.Load(); uint64(len(p)) > left {
		p = p[:left]
		l.over.Store(true)
		l.once.Do(func() { close(l.alarm) })
	}
	n, err := to.Write(p)
	l.kept.Add(uint64(n))
	if err != nil {
		l.torn.Do(func() { close(l.full) })
	}
}
