package client

import (
	"context"
	"errors"
	"net"
	"sync"

	"github.com/moyai-network/moyai/p2p/enter"
)

// DialPort connects to a TCP port inside a running task; its CloseWrite ends one
// direction. Errors: ErrNoListener, and those of Exec.
func (c *Client) DialPort(ctx context.Context, lease string, port uint16) (*enter.Conn, error) {
	r, err := c.residence(ctx, lease)
	if err != nil {
		return nil, err
	}
	return c.dialPort(ctx, r, port)
}

func (c *Client) dialPort(ctx context.Context, r *residence, port uint16) (*enter.Conn, error) {
	e, err := c.enter(ctx, r, enter.Request{Dial: &enter.Dial{Port: port}})
	if err != nil {
		return nil, err
	}
	return e.Conn(), nil
}

// Forward is a listener whose connections lead to a port inside.
type Forward struct {
	Listener net.Listener
	Port     uint16
}

// ForwardPorts accepts on every listener and leads each connection to its port inside
// the task, until ctx ends (which is no error) or the lease does (ErrEnded). It closes
// the listeners. ready is called once the task is known to be there; failed is told of connections that could not be made, such as
// because nothing listens inside (ErrNoListener).
//
// The task must run: ErrNotStarted, ErrCannotEnter and the others of Exec come at once.
func (c *Client) ForwardPorts(ctx context.Context, lease string, ports []Forward, ready func(), failed func(Forward, error)) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var wg sync.WaitGroup
	defer wg.Wait()
	closeAll := func() {
		for _, f := range ports {
			_ = f.Listener.Close()
		}
	}
	defer closeAll()
	r, err := c.residence(ctx, lease)
	if err == nil {
		// Whether it can be entered at all, before somebody waits at a dead port.
		err = c.top(ctx, r, 0, func(Top) error { return nil })
	}
	if err != nil {
		return err
	}
	ready()
	defer context.AfterFunc(ctx, closeAll)()
	ended := make(chan error, 1)
	for _, f := range ports {
		wg.Go(func() {
			for {
				conn, err := f.Listener.Accept()
				if err != nil {
					return // closed
				}
				wg.Go(func() {
					inside, err := c.dialPort(ctx, r, f.Port)
					if err != nil {
						_ = conn.Close()
						if ctx.Err() == nil {
							failed(f, err)
						}
						if errors.Is(err, ErrEnded) {
							select {
							case ended <- err:
							default:
							}
						}
						return
					}
					enter.Splice(ctx, conn.(*net.TCPConn), inside)
				})
			}
		})
	}
	wg.Go(func() { // the end, if nobody connects any more
		err := c.tellEvents(ctx, r, true, func(Happening) {})
		if err == nil && ctx.Err() == nil {
			ended <- &enterError{ErrEnded, "lease " + r.name() + " has ended"}
		}
	})
	select {
	case <-ctx.Done():
		return nil
	case err := <-ended:
		cancel()
		return err
	}
}
