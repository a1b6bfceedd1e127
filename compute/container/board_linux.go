package container

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"

	"github.com/moyai-network/moyai/compute"
	"github.com/moyai-network/moyai/compute/container/internal/switchboard"
	"github.com/moyai-network/moyai/compute/container/supervise"
)

// operator holds the switchboard of a task in a sandbox, whose network is not the
// host's to enter: a program inside, started when somebody first connects.
type operator struct {
	turn    chan struct{} // whoever has it looks at board
	board   *switchboard.Board
	listing sync.Mutex // held while processes are listed
}

func newOperator() *operator { return &operator{turn: make(chan struct{}, 1)} }

// dialInside connects through the switchboard.
func (t *task) dialInside(ctx context.Context, port uint16) (io.ReadWriteCloser, error) {
	for again := false; ; again = true {
		b, err := t.switchboard(ctx)
		if err != nil {
			return nil, err
		}
		c, err := b.Dial(ctx, port)
		switch {
		case err == nil:
			return c, nil
		case errors.Is(err, switchboard.ErrGone) && !again:
			continue // it had just ended for want of connections
		case errors.Is(err, switchboard.ErrGone):
			if err := t.lives(); err != nil {
				return nil, err
			}
		case errors.Is(err, switchboard.ErrRefused):
			return nil, fmt.Errorf("%w: nothing listens on port %d", compute.ErrRefused, port)
		case ctx.Err() != nil:
			return nil, ctx.Err()
		}
		return nil, unavailable("connect to the task", err)
	}
}

// switchboard returns one that carries.
func (t *task) switchboard(ctx context.Context) (*switchboard.Board, error) {
	o := t.operator
	select {
	case o.turn <- struct{}{}:
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	defer func() { <-o.turn }()
	if o.board != nil && !o.board.Gone() {
		return o.board, nil
	}
	p, err := t.exec(ctx, compute.Exec{Tool: supervise.ToolDial, Dir: "/"})
	if err != nil {
		return nil, err
	}
	go func() { _, _ = io.Copy(io.Discard, p.Stderr()) }()
	if o.board, err = switchboard.New(patch{p}); err != nil {
		return nil, errors.Join(unavailable("connect to the task", err), p.Close())
	}
	return o.board, nil
}

// patch is a program's standard input and output.
type patch struct{ compute.Process }

func (p patch) Read(b []byte) (int, error)  { return p.Stdout().Read(b) }
func (p patch) Write(b []byte) (int, error) { return p.Stdin().Write(b) }
