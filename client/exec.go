package client

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"

	"github.com/moyai-network/moyai/p2p/enter"
)

// Exec is a program to run beside one that runs already, within its walls and
// limits.
type Exec struct {
	Args []string // the program, looked up in the image, and its arguments
	Env  []string // KEY=VALUE, added to the running program's own
	Dir  string   // absolute; empty: the running program's own
	User string   // of the image, "name", "uid" or "uid:gid"; empty: the running program's own

	// TTY gives it a terminal of Size; all its output then comes on Stdout.
	TTY  bool
	Size TerminalSize

	Stdin          io.Reader // nil: at its end at once
	Stdout, Stderr io.Writer // nil: dropped

	Resize  <-chan TerminalSize // new sizes of the terminal; may be nil
	Signals <-chan string       // names without SIG, such as "INT"; may be nil
}

// TerminalSize is in characters.
type TerminalSize struct{ Columns, Rows uint16 }

// Exec runs a program beside the task of a lease (see Attach for names; "LEASE/INDEX"
// is one task of an array) and returns its exit code. ctx's end kills it.
//
// Errors: ErrNoProgram, ErrEnded, ErrNotStarted, ErrCannotEnter, ErrUnknownLease,
// ErrAmbiguous, ErrNotOurs; or that the connection was lost, and the program with it.
func (c *Client) Exec(ctx context.Context, lease string, e Exec) (int, error) {
	r, err := c.residence(ctx, lease)
	if err != nil {
		return 0, err
	}
	return c.exec(ctx, r, "", e)
}

func (c *Client) exec(ctx context.Context, r *residence, tool string, e Exec) (int, error) {
	in, err := c.enter(ctx, r, enter.Request{Exec: &enter.Exec{
		Tool: tool, Args: e.Args, Env: e.Env, Dir: e.Dir, User: e.User,
		TTY: e.TTY, Size: enter.Size{Columns: e.Size.Columns, Rows: e.Size.Rows},
	}})
	if err != nil {
		return 0, err
	}
	p := in.Program()
	defer p.Close()
	defer context.AfterFunc(ctx, func() { _ = p.Close() })()
	over := make(chan struct{})
	defer close(over)
	go steer(p, &e, over)
	// Not waited for: a read from a terminal cannot be interrupted.
	go func() {
		if e.Stdin != nil {
			_, _ = io.Copy(p.Stdin(), e.Stdin)
		}
		_ = p.Stdin().Close()
	}()
	var wg sync.WaitGroup
	var broken [2]error
	for i, way := range []struct {
		to   io.Writer
		from io.Reader
	}{{e.Stdout, p.Stdout()}, {e.Stderr, p.Stderr()}} {
		wg.Go(func() {
			if broken[i] = deliver(way.to, way.from); broken[i] != nil {
				_ = p.Close() // nobody wants its output
			}
		})
	}
	wg.Wait()
	code, err := p.Wait(ctx)
	if ctx.Err() != nil {
		return 0, ctx.Err()
	}
	if lost := errors.Join(broken[:]...); lost != nil {
		return 0, lost
	}
	return code, err
}

// deliver copies output and returns only what the writer has against it: what ends
// the output otherwise, Wait tells better.
func deliver(to io.Writer, from io.Reader) error {
	if to == nil {
		to = io.Discard
	}
	buf := make([]byte, enter.MaxData)
	for {
		n, err := from.Read(buf)
		if n > 0 {
			if _, err := to.Write(buf[:n]); err != nil {
				return fmt.Errorf("output: %w", err)
			}
		}
		if err != nil {
			return nil //nolint:nilerr // the end of the output, however it came: Wait tells why
		}
	}
}

// steer passes on sizes and signals until the program is over.
func steer(p *enter.Program, e *Exec, over <-chan struct{}) {
	for {
		select {
		case <-over:
			return
		case s := <-e.Resize:
			_ = p.Resize(enter.Size{Columns: s.Columns, Rows: s.Rows})
		case name := <-e.Signals:
			_ = p.Signal(name)
		}
	}
}
