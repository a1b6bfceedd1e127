package devnet

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
)

// role is one part of the network that can be started, stopped and cut off: a
// process, or a function in this one.
type role interface {
	start() error
	// stop ends it in an orderly way; kill does not ask. Both return when it is
	// gone, and do nothing if it is not running.
	stop()
	kill()
	// failure tells how it ended if it was not told to; nil while it runs and
	// after stop or kill.
	failure() error
	pid() int
	logPath() string
	// command starts the role by hand; empty if that is not possible.
	command() string
}

// processRole runs a role as a process.
type processRole struct {
	p *Process

	mu     sync.Mutex
	wanted bool
}

func (n *Network) newProcessRole(name string, args, env []string) *processRole {
	return &processRole{p: &Process{
		Name: name, Log: n.logFile(name), spawn: n.spawner.start, bin: n.cfg.Binary, args: args, env: env,
	}}
}

func (n *Network) logFile(name string) string { return filepath.Join(n.dir, "logs", name+".log") }

func (r *processRole) want(w bool) { r.mu.Lock(); r.wanted = w; r.mu.Unlock() }

func (r *processRole) start() error    { r.want(true); return r.p.start() }
func (r *processRole) stop()           { r.want(false); r.p.Stop() }
func (r *processRole) kill()           { r.want(false); r.p.Kill() }
func (r *processRole) pid() int        { return r.p.PID() }
func (r *processRole) logPath() string { return r.p.Log }

func (r *processRole) command() string {
	return strings.Join(append([]string{r.p.bin}, r.p.args...), " ")
}

func (r *processRole) failure() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if !r.wanted {
		return nil
	}
	select {
	case <-r.p.Done():
		return r.p.Err()
	default:
		return nil
	}
}

// funcRole runs a role inside this process.
type funcRole struct {
	name string
	log  string
	run  func(ctx context.Context, log io.Writer) error

	mu     sync.Mutex
	cancel context.CancelFunc
	done   chan struct{}
	err    error
}

func (r *funcRole) start() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.cancel != nil {
		return fmt.Errorf("%s runs already", r.name)
	}
	f, err := os.OpenFile(r.log, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o644)
	if err != nil {
		return fmt.Errorf("log of %s: %w", r.name, err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	r.cancel, r.done, r.err = cancel, done, nil
	go func() {
		defer close(done)
		defer f.Close()
		err := r.run(ctx, f)
		if ctx.Err() != nil {
			return // told to
		}
		if err == nil {
			err = errors.New("ended without being told to")
		}
		r.mu.Lock()
		r.err = fmt.Errorf("%s: %w", r.name, err)
		r.mu.Unlock()
	}()
	return nil
}

func (r *funcRole) stop() {
	r.mu.Lock()
	cancel, done := r.cancel, r.done
	r.cancel = nil
	r.mu.Unlock()
	if cancel != nil {
		cancel()
		<-done
	}
}

// kill cannot cut off a part of this process; real processes are for that.
func (r *funcRole) kill()           { r.stop() }
func (r *funcRole) pid() int        { return os.Getpid() }
func (r *funcRole) logPath() string { return r.log }
func (r *funcRole) command() string { return "" }

func (r *funcRole) failure() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.err
}
