package wasm

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"sync"

	"github.com/moyai-network/moyai/compute"
	"github.com/moyai-network/moyai/compute/wasm/internal/job"
)

var (
	// errCacheEntry: a worker could not use cached code.
	errCacheEntry = errors.New("compiled code is missing or damaged")
	// errWorkerDied: a worker ended before it answered.
	errWorkerDied = errors.New("the worker process ended")
)

// worker is one moyai-worker process and the conversation with it.
type worker struct {
	cmd     *exec.Cmd
	in      *os.File
	out     *os.File
	reader  *bufio.Reader
	errs    *lastWords
	done    chan struct{} // closed when the process has been reaped
	walls   []string
	missing []string
}

// spawn starts a worker. It belongs to no terminal and to no process group of
// ours, so it outlives this process if a task runs in it, and ends by itself if
// not, when its stdin closes.
func spawn(path string) (*worker, error) {
	childIn, in, err := os.Pipe()
	if err != nil {
		return nil, unavailable("start a worker", err)
	}
	out, childOut, err := os.Pipe()
	if err != nil {
		childIn.Close()
		in.Close()
		return nil, unavailable("start a worker", err)
	}
	w := &worker{
		cmd: exec.Command(path), in: in, out: out, reader: job.NewReader(out),
		errs: &lastWords{}, done: make(chan struct{}),
	}
	w.cmd.Stdin, w.cmd.Stdout, w.cmd.Stderr = childIn, childOut, w.errs
	w.cmd.Dir = string(os.PathSeparator)
	// The worker inherits nothing. Two threads of Go code let its kernel-armed
	// deadline, signals and the garbage collector run beside the guest.
	w.cmd.Env = []string{"GOMAXPROCS=2", "GOTRACEBACK=single"}
	detach(w.cmd)
	err = w.cmd.Start()
	childIn.Close()
	childOut.Close()
	if err != nil {
		w.hangUp()
		return nil, unavailable("start a worker", err)
	}
	go func() {
		_ = w.cmd.Wait() // its state says more than the error
		close(w.done)
	}()
	return w, nil
}

// load sends the module and waits until it is ready to run.
func (w *worker) load(ctx context.Context, load job.Load) error {
	reply, err := w.call(ctx, load)
	if err != nil {
		return err
	}
	w.walls, w.missing = reply.Walls, reply.Missing
	return nil
}

// call sends one message and waits for its Reply. After an error the worker is
// of no more use.
//
// Errors: compute.ErrBadProgram, compute.ErrUnavailable, errCacheEntry,
// errWorkerDied, ctx's.
func (w *worker) call(ctx context.Context, message any) (job.Reply, error) {
	stop := context.AfterFunc(ctx, w.kill)
	defer stop()
	var reply job.Reply
	err := job.Write(w.in, message)
	if err == nil {
		err = job.Read(w.reader, &reply)
	}
	if cause := ctx.Err(); cause != nil {
		return reply, cause
	}
	if err != nil {
		w.kill()
		<-w.done
		return reply, fmt.Errorf("%w: %w (%v) %s", compute.ErrUnavailable, errWorkerDied, w.cmd.ProcessState, w.errs)
	}
	switch reply.Code {
	case job.CodeOK:
		return reply, nil
	case job.CodeBadProgram:
		return reply, fmt.Errorf("%w: %s", compute.ErrBadProgram, reply.Message)
	case job.CodeCache:
		return reply, fmt.Errorf("%w: %w: %s", compute.ErrUnavailable, errCacheEntry, reply.Message)
	}
	return reply, fmt.Errorf("%w: worker: %s", compute.ErrUnavailable, reply.Message)
}

func (w *worker) alive() bool {
	select {
	case <-w.done:
		return false
	default:
		return true
	}
}

// kill ends the process, whatever it does.
func (w *worker) kill() {
	_ = w.cmd.Process.Kill() // fails only if it has ended
	w.hangUp()
}

// hangUp closes our ends of the pipes.
func (w *worker) hangUp() {
	w.in.Close()
	w.out.Close()
}

// pool keeps workers that have started and wait for a module.
type pool struct {
	path string

	mu     sync.Mutex
	idle   []*worker
	want   int
	closed bool
}

func newPool(path string, want int) *pool { return &pool{path: path, want: max(want, 0)} }

// take returns a fresh worker and sees to it that another one will be waiting.
func (p *pool) take() (*worker, error) {
	w := p.pop()
	go p.fill()
	if w != nil {
		return w, nil
	}
	return spawn(p.path)
}

func (p *pool) pop() *worker {
	p.mu.Lock()
	defer p.mu.Unlock()
	for len(p.idle) > 0 {
		w := p.idle[len(p.idle)-1]
		p.idle = p.idle[:len(p.idle)-1]
		if w.alive() {
			return w
		}
		w.hangUp()
	}
	return nil
}

func (p *pool) fill() {
	for {
		p.mu.Lock()
		enough := p.closed || len(p.idle) >= p.want
		p.mu.Unlock()
		if enough {
			return
		}
		w, err := spawn(p.path)
		if err != nil {
			return // take will meet it and report it
		}
		p.mu.Lock()
		if p.closed || len(p.idle) >= p.want {
			p.mu.Unlock()
			w.kill()
			return
		}
		p.idle = append(p.idle, w)
		p.mu.Unlock()
	}
}

func (p *pool) close() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.closed = true
	for _, w := range p.idle {
		w.kill()
	}
	p.idle = nil
}

// lastWords keeps the first bytes a worker said before it died.
type lastWords struct {
	mu sync.Mutex
	b  []byte
}

const maxLastWords = 4 << 10

func (t *lastWords) Write(p []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	// A crash of Go says why in its first lines.
	if room := maxLastWords - len(t.b); room > 0 {
		t.b = append(t.b, p[:min(room, len(p))]...)
	}
	return len(p), nil
}

func (t *lastWords) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return firstLine(string(t.b))
}

func firstLine(s string) string {
	line, _, _ := strings.Cut(strings.TrimSpace(s), "\n")
	return line
}
