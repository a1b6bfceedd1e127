package devnet

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"sync"
	"syscall"
	"time"
)

// stopGrace is how long a process may take to end on its own after SIGTERM.
const stopGrace = 10 * time.Second

// Process is one role running as a child of this one. It leads a process group
// of its own, and the kernel ends it when this process dies, however it dies.
type Process struct {
	Name string
	Log  string // path of its log file; standard output and error

	spawn func(*exec.Cmd) error
	bin   string
	args  []string
	env   []string

	mu   sync.Mutex
	cmd  *exec.Cmd
	done chan struct{} // closed when the current run has been waited for
	err  error         // how the last run ended
}

// start runs the process. Starting one that runs is an error.
func (p *Process) start() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.running() {
		return fmt.Errorf("%s runs already", p.Name)
	}
	if err := os.MkdirAll(filepath.Dir(p.Log), 0o755); err != nil {
		return err
	}
	logFile, err := os.OpenFile(p.Log, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o644)
	if err != nil {
		return fmt.Errorf("log of %s: %w", p.Name, err)
	}
	defer logFile.Close() // the child has its own
	cmd := exec.Command(p.bin, p.args...)
	cmd.Stdout, cmd.Stderr = logFile, logFile
	cmd.Env = append(os.Environ(), p.env...)
	cmd.SysProcAttr = childAttr()
	if err := p.spawn(cmd); err != nil {
		return fmt.Errorf("start %s: %w", p.Name, err)
	}
	p.cmd, p.done = cmd, make(chan struct{})
	go func(done chan struct{}) {
		err := cmd.Wait()
		p.mu.Lock()
		p.err = err
		p.mu.Unlock()
		close(done)
	}(p.done)
	return nil
}

// running needs p.mu.
func (p *Process) running() bool {
	if p.done == nil {
		return false
	}
	select {
	case <-p.done:
		return false
	default:
		return true
	}
}

// PID is the process id of the last run, 0 if it was never started.
func (p *Process) PID() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.cmd == nil {
		return 0
	}
	return p.cmd.Process.Pid
}

// Done is closed when the current run has ended.
func (p *Process) Done() <-chan struct{} {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.done
}

// Err tells how the last run ended, with the last lines of its log.
func (p *Process) Err() error {
	p.mu.Lock()
	err := p.err
	p.mu.Unlock()
	if err == nil {
		err = errors.New("exit status 0")
	}
	return fmt.Errorf("%s ended: %w; last lines of %s:\n%s", p.Name, err, p.Log, tail(p.Log, 2048))
}

// Kill ends the process and everything it started at once, as a power cut
// would. It returns when the process is gone.
func (p *Process) Kill() { p.signal(syscall.SIGKILL); p.wait(context.Background()) }

// Stop asks the process to end and kills it if it has not after some seconds.
func (p *Process) Stop() {
	p.signal(syscall.SIGTERM)
	ctx, cancel := context.WithTimeout(context.Background(), stopGrace)
	defer cancel()
	if !p.wait(ctx) {
		p.Kill()
	}
}

func (p *Process) signal(sig syscall.Signal) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.running() {
		_ = signalGroup(p.cmd.Process, sig)
	}
}

func (p *Process) wait(ctx context.Context) bool {
	done := p.Done()
	if done == nil {
		return true
	}
	select {
	case <-done:
		return true
	case <-ctx.Done():
		return false
	}
}

// tail returns the end of a file, for error messages.
func tail(path string, n int64) string {
	f, err := os.Open(path)
	if err != nil {
		return err.Error()
	}
	defer f.Close()
	if st, err := f.Stat(); err == nil && st.Size() > n {
		_, _ = f.Seek(-n, 2)
	}
	buf := make([]byte, n)
	got, _ := f.Read(buf)
	return string(buf[:got])
}

// spawner starts all children from one operating system thread that lives as
// long as the network: Linux sends the parent-death signal when the *thread*
// that forked ends, not the process.
type spawner struct {
	requests chan spawnRequest
}

type spawnRequest struct {
	cmd   *exec.Cmd
	reply chan error
}

func newSpawner() *spawner {
	s := &spawner{requests: make(chan spawnRequest)}
	go func() {
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		for r := range s.requests {
			r.reply <- r.cmd.Start()
		}
	}()
	return s
}

func (s *spawner) start(cmd *exec.Cmd) error {
	reply := make(chan error)
	s.requests <- spawnRequest{cmd, reply}
	return <-reply
}

// close must come after the last child has ended.
func (s *spawner) close() { close(s.requests) }
