package enter

import (
	"context"
	"errors"
	"io"
	"sync"
	"sync/atomic"
	"time"

	"github.com/moyai-network/moyai/p2p"
)

// Running is a program as the provider holds it, such as a compute.Process.
type Running interface {
	Stdin() io.WriteCloser
	Stdout() io.Reader
	Stderr() io.Reader
	Resize(columns, rows uint16) error
	Signal(name string) error
	Wait(ctx context.Context) (int, error)
	// Close kills it if it still runs, and makes its streams end.
	Close() error
}

// Drain is how long a program's output may be silent after its end while something
// it left behind holds it open.
const Drain = time.Second

// Attach carries a program's streams, after Admit, until it ends, the tenant goes, or
// ctx ends; then it closes the program. It returns the exit code if the tenant could
// be told of it.
func (v *Visit) Attach(ctx context.Context, r Running) (code int, err error) {
	ctx, cancel := context.WithCancel(ctx)
	a := &attached{v: v, r: r, cancel: cancel, drained: make(chan struct{})}
	a.in = newInflow(func(n uint64) error { return a.say(&fromProgram{Grant: &Grant{Stream: Stdin, Bytes: n}}) })
	a.outs[0] = newPump(a, Stdout, r.Stdout())
	a.outs[1] = newPump(a, Stderr, r.Stderr())
	var wg, outs sync.WaitGroup
	wg.Go(a.listen)
	wg.Go(a.feed)
	for _, p := range a.outs {
		outs.Go(p.run)
	}
	wg.Go(func() { outs.Wait(); close(a.drained) })
	// What blocks is freed in this order: the program's own streams, then ours.
	defer wg.Wait()
	defer v.s.Reset()
	defer a.end()
	defer func() { _ = r.Close() }()
	defer cancel()

	code, err = r.Wait(ctx)
	if ctx.Err() != nil {
		return 0, ctx.Err()
	}
	exit := &Exit{Code: uint32(code)}
	if err != nil {
		exit.Text = p2p.Printable(err.Error(), p2p.MaxText, false)
	}
	a.drain(ctx)
	if say := a.say(&fromProgram{Exit: exit}); say != nil {
		return 0, say
	}
	a.farewell(ctx)
	return code, err
}

type attached struct {
	v      *Visit
	r      Running
	cancel context.CancelFunc
	in     *inflow
	outs   [2]*pump

	drained chan struct{} // closed when both outputs have ended
}

func (a *attached) say(m *fromProgram) error { return a.v.s.Send(maxFrame, m) }

// end frees whoever waits for the tenant.
func (a *attached) end() {
	a.in.end(errClosed)
	for _, p := range a.outs {
		p.to.end(errClosed)
	}
}

// listen takes in what the tenant says until it goes.
func (a *attached) listen() {
	defer a.cancel()
	for {
		var m toProgram
		if err := a.v.s.Recv(maxFrame, 0, &m); err != nil {
			return
		}
		if err := a.take(&m); err != nil {
			a.v.strike(err)
			return
		}
	}
}

func (a *attached) take(m *toProgram) error {
	if len(m.Input) > 0 {
		if err := a.in.push(m.Input); err != nil {
			return err
		}
	}
	if m.EOF {
		a.in.end(io.EOF)
	}
	if m.Resize != nil {
		_ = a.r.Resize(m.Resize.Columns, m.Resize.Rows) // it may be over
	}
	if m.Signal != "" {
		_ = a.r.Signal(m.Signal)
	}
	if m.Grant != nil {
		return a.outs[m.Grant.Stream-Stdout].to.granted(m.Grant.Bytes)
	}
	return nil
}

// feed hands the tenant's input to the program. One that has closed its input is like
// a pipe that nobody reads: the rest is taken and dropped.
func (a *attached) feed() {
	to := a.r.Stdin()
	_, err := io.CopyBuffer(onlyWriter{to}, onlyReader{a.in}, make([]byte, MaxData))
	_ = to.Close()
	if err != nil {
		_, _ = io.Copy(io.Discard, onlyReader{a.in})
	}
}

// drain waits until the outputs have ended, or are silent while something else than
// the program holds them. What the tenant is slow to take is waited for.
func (a *attached) drain(ctx context.Context) {
	for {
		select {
		case <-a.drained:
			return
		case <-ctx.Done():
			return
		case <-time.After(Drain / 4):
			if a.outs[0].silent(Drain) && a.outs[1].silent(Drain) {
				return
			}
		}
	}
}

// farewell gives the tenant time to read and go: a reset would overtake the last
// frames.
func (a *attached) farewell(ctx context.Context) {
	_ = a.v.s.CloseWrite()
	select {
	case <-ctx.Done(): // listen saw it go
	case <-time.After(p2p.FrameTimeout):
	}
}

// pump carries one output of a program.
type pump struct {
	a      *attached
	stream uint64
	from   io.Reader
	to     *outflow
	since  atomic.Int64 // when the read under way began, unix ns; 0: sending; over: ended
}

const over = -1

func newPump(a *attached, stream uint64, from io.Reader) *pump {
	p := &pump{a: a, stream: stream, from: from}
	p.to = newOutflow(func(b []byte) error { return a.say(&fromProgram{Stream: stream, Data: b}) })
	return p
}

func (p *pump) run() {
	defer p.since.Store(over)
	buf := make([]byte, MaxData)
	for {
		p.since.Store(time.Now().UnixNano())
		n, err := p.from.Read(buf)
		p.since.Store(0)
		if n > 0 {
			if _, err := p.to.Write(buf[:n]); err != nil {
				return // the tenant is gone: listen ends everything
			}
		}
		if err != nil {
			if errors.Is(err, io.EOF) {
				_ = p.a.say(&fromProgram{Stream: p.stream, EOF: true})
			}
			return
		}
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
