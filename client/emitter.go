package client

import (
	"sync"
	"time"
)

// emitter delivers events in order from a goroutine of its own, so that a slow
// listener delays nobody until the buffer is full.
type emitter struct {
	fn   func(Event)
	ch   chan Event
	done chan struct{}

	mu     sync.RWMutex
	closed bool
}

const eventBuffer = 1024

func newEmitter(fn func(Event)) *emitter {
	e := &emitter{fn: fn, ch: make(chan Event, eventBuffer), done: make(chan struct{})}
	go func() {
		defer close(e.done)
		for ev := range e.ch {
			if e.fn != nil {
				e.fn(ev)
			}
		}
	}()
	return e
}

func (e *emitter) send(ev Event) {
	if ev.Time.IsZero() {
		ev.Time = time.Now()
	}
	e.mu.RLock()
	defer e.mu.RUnlock()
	if !e.closed {
		e.ch <- ev
	}
}

// close delivers what is left and returns.
func (e *emitter) close() {
	e.mu.Lock()
	if !e.closed {
		e.closed = true
		close(e.ch)
	}
	e.mu.Unlock()
	<-e.done
}
