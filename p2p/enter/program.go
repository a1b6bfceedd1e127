package enter

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
)

// Program is a program that runs beside a task, at the tenant's end. Its streams may
// be used beside each other, each by one goroutine at a time.
type Program struct {
	e        *Entered
	in       *outflow
	inOnce   sync.Once
	out, err *inflow
	done     chan struct{} // closed once exit or broke is set
	exit     *Exit
	broke    error
}

// Program turns the stream into the program it asked for. From then on Close of the
// Program is enough.
func (e *Entered) Program() *Program {
	p := &Program{e: e, done: make(chan struct{})}
	p.in = newOutflow(func(b []byte) error { return p.say(&toProgram{Input: b}) })
	p.out = newInflow(func(n uint64) error { return p.say(&toProgram{Grant: &Grant{Stream: Stdout, Bytes: n}}) })
	p.err = newInflow(func(n uint64) error { return p.say(&toProgram{Grant: &Grant{Stream: Stderr, Bytes: n}}) })
	go p.listen()
	return p
}

func (p *Program) say(m *toProgram) error { return p.e.s.Send(maxFrame, m) }

// listen takes in what the provider says, until the program's end.
func (p *Program) listen() {
	defer close(p.done)
	for {
		var m fromProgram
		err := p.e.s.Recv(maxFrame, 0, &m)
		if err == nil {
			err = p.take(&m)
		}
		if errors.Is(err, io.EOF) {
			err = errors.New("the provider ended the session")
		}
		if err != nil {
			p.broke = fmt.Errorf("session lost: %w", err)
			p.close(p.broke)
			return
		}
		if m.Exit != nil {
			p.exit = m.Exit
			p.close(io.EOF)
			return
		}
	}
}

func (p *Program) take(m *fromProgram) error {
	out := p.out
	if m.Stream == Stderr {
		out = p.err
	}
	switch {
	case len(m.Data) > 0:
		return out.push(m.Data)
	case m.EOF:
		out.end(io.EOF)
	case m.Grant != nil:
		return p.in.granted(m.Grant.Bytes)
	}
	return nil
}

func (p *Program) close(why error) {
	p.out.end(why)
	p.err.end(why)
	p.in.end(errClosed) // like a pipe whose reader is gone
}

// Stdin is the program's input. Close ends it.
func (p *Program) Stdin() io.WriteCloser { return programInput{p} }

type programInput struct{ p *Program }

func (i programInput) Write(b []byte) (int, error) { return i.p.in.Write(b) }
func (i programInput) Close() error {
	i.p.inOnce.Do(func() {
		i.p.in.end(errClosed)
		_ = i.p.say(&toProgram{EOF: true})
	})
	return nil
}

// Stdout is the program's output; of one with a terminal, everything it says.
func (p *Program) Stdout() io.Reader { return p.out }

// Stderr is the program's error output.
func (p *Program) Stderr() io.Reader { return p.err }

// Resize tells the size of the terminal.
func (p *Program) Resize(s Size) error { return p.say(&toProgram{Resize: &s}) }

// Signal sends a signal by its name without SIG.
func (p *Program) Signal(name string) error { return p.say(&toProgram{Signal: name}) }

// Wait returns the exit code once the program has ended. Output that came before may
// still be unread then. Errors: ctx's; what the provider says where nobody saw how
// it ended; or that the session was lost.
func (p *Program) Wait(ctx context.Context) (int, error) {
	select {
	case <-ctx.Done():
		return 0, ctx.Err()
	case <-p.done:
	}
	switch {
	case p.broke != nil:
		return 0, p.broke
	case p.exit.Text != "":
		return 0, errors.New(p.exit.Text)
	}
	return int(p.exit.Code), nil
}

// Close ends the session, and with it the program if it still runs.
func (p *Program) Close() error {
	err := p.e.Close()
	<-p.done
	return err
}
