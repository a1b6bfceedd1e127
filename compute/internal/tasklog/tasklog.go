// Package tasklog keeps what a task says, up to a bound that its two streams share. It
// knows nothing of who reads the files.
package tasklog

import (
	"io"
	"os"
	"sync"
	"sync/atomic"
)

// Logs carries two streams of a container to their files and counts them
// together.
type Logs struct {
	limit uint64
	kept  atomic.Uint64
	over  atomic.Bool // something was dropped
	alarm chan struct{}
	full  chan struct{}
	room  sync.Mutex // one stream at a time takes from what is left
	once  sync.Once
	torn  sync.Once
	wait  sync.WaitGroup
}

// New makes room for limit bytes.
func New(limit uint64) *Logs {
	return &Logs{limit: limit, alarm: make(chan struct{}), full: make(chan struct{})}
}

// Kept is how many bytes there are in the files.
func (l *Logs) Kept() uint64 { return l.kept.Load() }

// Over reports that something was dropped, as there was no room for it.
func (l *Logs) Over() bool { return l.over.Load() }

// Alarm is closed when the first byte is dropped.
func (l *Logs) Alarm() <-chan struct{} { return l.alarm }

// Full is closed when a byte could not be written to the disk.
func (l *Logs) Full() <-chan struct{} { return l.full }

// Wait returns when all streams have ended.
func (l *Logs) Wait() { l.wait.Wait() }

// Carry copies until the stream ends. It never stops reading: a program must not
// hang because nobody takes what it says.
func (l *Logs) Carry(from io.ReadCloser, to *os.File) {
	l.wait.Go(func() {
		defer from.Close()
		defer to.Close()
		buffer := make([]byte, 64<<10)
		for {
			n, err := from.Read(buffer)
			if n > 0 {
				l.Keep(to, buffer[:n])
			}
			if err != nil {
				return
			}
		}
	})
}

// Keep writes what there is room for.
func (l *Logs) Keep(to *os.File, p []byte) {
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
