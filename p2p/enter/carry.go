package enter

import (
	"context"
	"errors"
	"io"
	"sync"
	"sync/atomic"
	"time"
)

// Carried is what of a program can be carried, such as of a compute.Process.
type Carried interface {
	Stdin() io.WriteCloser
	Stdout() io.Reader
	Stderr() io.Reader
	Wait(ctx context.Context) (int, error)
}

// Drain is how long a program's output may be silent after its end while something
// it left behind holds it open.
const Drain = time.Second

// Carrier moves bytes between a program and whoever entered.
type Carrier struct {
	r       Carried
	outs    [2]*pump
	drained chan struct{} // closed when both outputs have ended
	all     sync.WaitGroup
}

// Carry begins to feed a program from in and to send its outputs. A writer that is an
// io.Closer is closed when its output has ended.
func Carry(r Carried, in io.Reader, stdout, stderr io.Writer) *Carrier {
	c := &Carrier{r: r, drained: make(chan struct{})}
	c.outs[0], c.outs[1] = &pump{from: r.Stdout(), to: stdout}, &pump{from: r.Stderr(), to: stderr}
	var outs sync.WaitGroup
	for _, p := range c.outs {
		outs.Go(p.run)
	}
	c.all.Go(func() { outs.Wait(); close(c.drained) })
	c.all.Go(func() { feed(r.Stdin(), in) })
	return c
}

// Wait returns the exit code once the program has ended and its output has gone out.
// Errors: ctx's, and the program's own Wait's.
func (c *Carrier) Wait(ctx context.Context) (int, error) {
	code, err := c.r.Wait(ctx)
	if ctx.Err() != nil {
		return 0, ctx.Err()
	}
	c.drain(ctx)
	return code, err
}

// Join waits until nothing is moved any more: close the program and end the streams
// first.
func (c *Carrier) Join() { c.all.Wait() }

// feed hands input to the program. One that has closed its input is like a pipe that
// nobody reads: the rest is taken and dropped.
func feed(to io.WriteCloser, in io.Reader) {
	_, err := io.CopyBuffer(onlyWriter{to}, onlyReader{in}, make([]byte, MaxData))
	_ = to.Close()
	if err != nil {
		_, _ = io.Copy(io.Discard, onlyReader{in})
	}
}

// drain waits until the outputs have ended, or are silent while something else than
// the program holds them. What the tenant is slow to take is waited for.
func (c *Carrier) drain(ctx context.Context) {
	for {
		select {
		case <-c.drained:
			return
		case <-ctx.Done():
			return
		case <-time.After(Drain / 4):
			if c.outs[0].silent(Drain) && c.outs[1].silent(Drain) {
				return
			}
		}
	}
}

// pump carries one output of a program.
type pump struct {
	from  io.Reader
	to    io.Writer
	since atomic.Int64 // when the read under way began, unix ns; 0: sending; over: ended
}

const over = -1

func (p *pump) run() {
	defer p.since.Store(over)
	buf := make([]byte, MaxData)
	for {
		p.since.Store(time.Now().UnixNano())
		n, err := p.from.Read(buf)
		p.since.Store(0)
		if n > 0 {
			if _, err := p.to.Write(buf[:n]); err != nil {
				return // nobody listens: whoever noticed ends everything
			}
		}
		if err == nil {
			continue
		}
		if c, ok := p.to.(io.Closer); ok && errors.Is(err, io.EOF) {
			_ = c.Close()
		}
		return
	}
}

// silent: it has ended, or nothing came for so long.
func (p *pump) silent(long time.Duration) bool {
	since := p.since.Load()
	return since == over || since != 0 && time.Since(time.Unix(0, since)) > long
}

// Without the ReadFrom and WriteTo that would give io.CopyBuffer other ideas of how
// much to move at once.
type (
	onlyReader struct{ io.Reader }
	onlyWriter struct{ io.Writer }
)

// spliceBuffer is what each direction of Splice moves at once.
const spliceBuffer = 128 << 10

// Splice moves bytes between two connections until both directions have ended, one
// breaks, or ctx ends; then it closes both. A direction that ends is ended at the
// other connection, too, if that has CloseWrite; else both end.
func Splice(ctx context.Context, a, b io.ReadWriteCloser) {
	var once sync.Once
	both := func() { once.Do(func() { _, _ = a.Close(), b.Close() }) }
	defer both()
	defer context.AfterFunc(ctx, func() { cut(a); cut(b); both() })()
	var wg sync.WaitGroup
	move := func(to, from io.ReadWriteCloser) {
		_, err := io.CopyBuffer(onlyWriter{to}, onlyReader{from}, make([]byte, spliceBuffer))
		half, ok := to.(interface{ CloseWrite() error })
		if err != nil || !ok || half.CloseWrite() != nil {
			both()
		}
	}
	wg.Go(func() { move(a, b) })
	wg.Go(func() { move(b, a) })
	wg.Wait()
}

// cut ends a connection in the way that shows it was not meant to end, if it can.
func cut(c io.Closer) {
	if r, ok := c.(interface{ Reset() }); ok {
		r.Reset()
	}
}
