package enter

import (
	"errors"
	"io"
	"sync"
)

// errOverdrawn: the peer sent more than it was granted.
var errOverdrawn = errors.New("more was sent than was granted")

// inflow is the receiving end of one stream of bytes: it holds what came and was
// not read, never more than Window, and grants anew what was read.
type inflow struct {
	grant func(n uint64) error // tells the peer

	mu    sync.Mutex
	news  sync.Cond
	data  []byte // came, not read
	spent int    // read, not granted anew
	err   error  // once data is read; io.EOF after an orderly end
}

func newInflow(grant func(uint64) error) *inflow {
	f := &inflow{grant: grant}
	f.news.L = &f.mu
	return f
}

// push takes what came. It never waits.
func (f *inflow) push(p []byte) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if len(f.data)+f.spent+len(p) > Window {
		return errOverdrawn
	}
	if f.err == nil { // else nobody reads any more: like a pipe without a reader
		f.data = append(f.data, p...)
		f.news.Broadcast()
	}
	return nil
}

// end lets readers see err once they have read what came. The first end counts.
func (f *inflow) end(err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.err == nil {
		f.err = err
		f.news.Broadcast()
	}
}

// Read implements io.Reader.
func (f *inflow) Read(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	f.mu.Lock()
	for len(f.data) == 0 && f.err == nil {
		f.news.Wait()
	}
	if len(f.data) == 0 {
		defer f.mu.Unlock()
		return 0, f.err
	}
	n := copy(p, f.data)
	if f.data = f.data[n:]; len(f.data) == 0 {
		f.data = nil
	}
	f.spent += n
	var more uint64
	if f.spent >= Window/4 && f.err == nil {
		more, f.spent = uint64(f.spent), 0
	}
	f.mu.Unlock()
	if more > 0 {
		// That the peer is gone shows soon enough, after what it sent was read.
		_ = f.grant(more)
	}
	return n, nil
}

// outflow is the sending end: it sends what it was granted and waits for more.
type outflow struct {
	send func(p []byte) error // at most MaxData bytes

	mu     sync.Mutex
	news   sync.Cond
	credit uint64
	err    error
}

func newOutflow(send func([]byte) error) *outflow {
	f := &outflow{send: send, credit: Window}
	f.news.L = &f.mu
	return f
}

// granted adds credit. A peer that grants more than was ever sent is told so.
func (f *outflow) granted(n uint64) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.credit+n > Window {
		return errors.New("more was granted than was sent")
	}
	f.credit += n
	f.news.Broadcast()
	return nil
}

// end makes writers fail with err. The first end counts.
func (f *outflow) end(err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.err == nil {
		f.err = err
		f.news.Broadcast()
	}
}

// Write implements io.Writer.
func (f *outflow) Write(p []byte) (n int, err error) {
	for n < len(p) {
		piece, err := f.take(len(p) - n)
		if err != nil {
			return n, err
		}
		if err := f.send(p[n : n+piece]); err != nil {
			return n, err
		}
		n += piece
	}
	return n, nil
}

func (f *outflow) take(want int) (int, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for f.credit == 0 && f.err == nil {
		f.news.Wait()
	}
	if f.err != nil {
		return 0, f.err
	}
	n := min(want, MaxData, int(f.credit))
	f.credit -= uint64(n)
	return n, nil
}

// errClosed is what a program's streams say after Close.
var errClosed = io.ErrClosedPipe
