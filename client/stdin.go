package client

import (
	"io"
	"time"

	"github.com/moyai-network/moyai/p2p"
)

// A provider's words for how far its work is.
const (
	stateRunning  = "running" // a task takes input
	stateStopping = "stopping"
	stateEnded    = "ended"
)

const (
	stdinAhead = 32 // pieces queued at most
	stdinPause = 5 * time.Millisecond
)

// feedStdin forwards the job's standard input to a single job, or says at once
// that there is none: a program that reads would wait for it. Input forwarded to a
// provider that was lost cannot be read again; the next one gets an empty input.
func (r *run) feedStdin(t *tenancy) {
	switch {
	case r.job.Array != nil || r.fedTo == t:
		return
	case r.job.Stdin == nil || r.fedTo != nil:
		r.fedTo = t
		t.say(&p2p.Stdin{EOF: true})
		return
	}
	r.fedTo = t
	in := r.job.Stdin
	// Not r.background: a read from a terminal cannot be interrupted, and the job's
	// end must not wait for it.
	go func() {
		buf := make([]byte, p2p.MaxStdinData)
		for {
			n, err := in.Read(buf)
			if n > 0 && !t.pass(&p2p.Stdin{Data: append([]byte(nil), buf[:n]...)}) {
				return
			}
			if err != nil {
				// A failed read ends the input too: the program must not wait for ever.
				if err != io.EOF {
					r.c.log.Warn("standard input", "err", err)
				}
				t.pass(&p2p.Stdin{EOF: true})
				return
			}
		}
	}()
}

// pass hands one piece to the stream's queue, waiting while the provider is slow
// to read: input of any size takes bounded memory.
func (t *tenancy) pass(m *p2p.Stdin) bool {
	for {
		sent := make(chan bool, 1)
		ok := t.r.post(func() {
			if t.out != nil && len(t.out) < stdinAhead {
				t.say(m)
				sent <- true
				return
			}
			sent <- false
		})
		if !ok || t.ctx.Err() != nil {
			return false
		}
		select {
		case done := <-sent:
			if done {
				return true
			}
		case <-t.ctx.Done():
			return false
		}
		select {
		case <-t.ctx.Done():
			return false
		case <-time.After(stdinPause):
		}
	}
}
