package enter

import (
	"context"
	"io"
	"time"

	"github.com/moyai-network/moyai/p2p"
)

// Running is a program as the provider holds it.
type Running interface {
	Carried
	Resize(columns, rows uint16) error
	Signal(name string) error
	// Close kills it if it still runs, and makes its streams end.
	Close() error
}

// Attach carries a program's streams, after Admit, until it ends, the tenant goes, or
// ctx ends; then it closes the program. It returns the exit code, and the program's
// own Wait's error; or that the tenant could not be told.
func (v *Visit) Attach(ctx context.Context, r Running) (code int, err error) {
	ctx, cancel := context.WithCancel(ctx)
	a := &attached{v: v, r: r, gone: make(chan struct{})}
	a.in = newInflow(func(n uint64) error { return a.say(&fromProgram{Grant: &Grant{Stream: Stdin, Bytes: n}}) })
	a.outs[0], a.outs[1] = a.output(Stdout), a.output(Stderr)
	go func() {
		defer close(a.gone)
		defer cancel()
		a.listen()
	}()
	c := Carry(r, a.in, a.outs[0], a.outs[1])
	// What blocks is freed in this order: the program's own streams, then ours.
	defer func() {
		cancel()
		_ = r.Close()
		a.end()
		v.s.Reset()
		c.Join()
		<-a.gone
	}()
	code, err = c.Wait(ctx)
	if ctx.Err() != nil {
		return 0, ctx.Err()
	}
	exit := &Exit{Code: uint32(code)}
	if err != nil {
		exit.Text = p2p.Printable(err.Error(), p2p.MaxText, false)
	}
	if said := a.say(&fromProgram{Exit: exit}); said != nil {
		return code, said
	}
	a.farewell(ctx)
	return code, err
}

// attached is the tenant at the other end of a program.
type attached struct {
	v    *Visit
	r    Running
	in   *inflow
	outs [2]*output
	gone chan struct{} // closed when the tenant says nothing more
}

// output is one output of the program on its way to the tenant.
type output struct {
	*outflow
	a      *attached
	stream uint64
}

func (a *attached) output(stream uint64) *output {
	o := &output{a: a, stream: stream}
	o.outflow = newOutflow(func(b []byte) error { return a.say(&fromProgram{Stream: stream, Data: b}) })
	return o
}

// Close tells the tenant that nothing more comes of it.
func (o *output) Close() error { return o.a.say(&fromProgram{Stream: o.stream, EOF: true}) }

func (a *attached) say(m *fromProgram) error { return a.v.s.Send(maxFrame, m) }

// end frees whoever waits for the tenant.
func (a *attached) end() {
	a.in.end(errClosed)
	for _, o := range a.outs {
		o.outflow.end(errClosed)
	}
}

// listen takes in what the tenant says until it goes.
func (a *attached) listen() {
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
		return a.outs[m.Grant.Stream-Stdout].granted(m.Grant.Bytes)
	}
	return nil
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
