package supervised

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/moyai-network/moyai/compute"
)

// Supervisor is one that was started, while it is spoken with.
type Supervisor struct {
	cmd  *exec.Cmd
	in   io.WriteCloser
	out  *bufio.Reader
	pipe io.Closer // of out
	gone chan struct{}
}

// Start starts cmd as a supervisor in a session of its own, and in new namespaces if
// flags says so. log is a file that is there, for its last words.
//
// Errors: compute.ErrUnavailable.
func Start(cmd *exec.Cmd, log string, flags uintptr) (*Supervisor, error) {
	words, err := os.OpenFile(log, os.O_WRONLY|os.O_APPEND, 0)
	if err != nil {
		return nil, unavailable("start a supervisor", err)
	}
	defer words.Close()
	cmd.Stderr, cmd.Dir = words, "/"
	cmd.Env = []string{"GOMAXPROCS=2"}
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Cloneflags: flags}
	in, inErr := cmd.StdinPipe()
	out, outErr := cmd.StdoutPipe()
	if err := errors.Join(inErr, outErr); err != nil {
		return nil, unavailable("start a supervisor", err)
	}
	if err := cmd.Start(); err != nil {
		return nil, unavailable("start a supervisor", err)
	}
	s := &Supervisor{cmd: cmd, in: in, out: bufio.NewReader(out), pipe: out, gone: make(chan struct{})}
	go func() {
		_, _ = cmd.Process.Wait() // not cmd.Wait, which would close the pipe under a reader
		close(s.gone)
	}()
	return s, nil
}

// PID is its process.
func (s *Supervisor) PID() int { return s.cmd.Process.Pid }

// Create sends the job and waits until the container is there.
//
// Errors: compute.ErrUnavailable.
func (s *Supervisor) Create(job any) (Reply, error) {
	b, err := json.Marshal(job)
	if err != nil {
		return Reply{}, unavailable("describe the task", err)
	}
	return s.say(append(b, '\n'))
}

// Go lets the program's first instruction happen.
//
// Errors: compute.ErrUnavailable.
func (s *Supervisor) Go() error {
	_, err := s.say([]byte(Go))
	return err
}

func (s *Supervisor) say(words []byte) (Reply, error) {
	var r Reply
	_, err := s.in.Write(words)
	var line []byte
	if err == nil {
		line, err = s.out.ReadBytes('\n') // it is our own program that answers
	}
	if err == nil {
		err = json.Unmarshal(line, &r)
	}
	if err != nil {
		return r, unavailable("the supervisor ended before it answered", err)
	}
	if r.Error != "" {
		return r, fmt.Errorf("%w: start the container: %s", compute.ErrUnavailable, r.Error)
	}
	return r, nil
}

// HangUp ends the talk. Before Go, the supervisor then undoes what it did.
func (s *Supervisor) HangUp() {
	_ = s.in.Close()
	_ = s.pipe.Close()
}

// Abandon returns when the supervisor is gone. It has undone its work, unless it had to
// be killed after patience.
func (s *Supervisor) Abandon(patience time.Duration) {
	s.HangUp()
	_ = s.cmd.Process.Signal(syscall.SIGTERM) // if it had begun to run
	select {
	case <-s.gone:
	case <-time.After(patience):
		_ = s.cmd.Process.Kill()
		<-s.gone
	}
}

// Answer is the supervisor's side of Create and Go.
func Answer(w io.Writer, pid int, err error) error {
	r := Reply{PID: pid}
	if err != nil {
		r.Error = err.Error()
	}
	b, err := json.Marshal(r)
	if err == nil {
		_, err = w.Write(append(b, '\n'))
	}
	return err
}

// Quiet lets go of the pipes to the caller, in the supervisor.
func Quiet() {
	null, err := os.OpenFile(os.DevNull, os.O_RDWR, 0)
	if err != nil {
		return
	}
	defer null.Close()
	_ = unix.Dup2(int(null.Fd()), 0)
	_ = unix.Dup2(int(null.Fd()), 1)
}

func unavailable(what string, err error) error {
	return fmt.Errorf("%w: %s: %w", compute.ErrUnavailable, what, err)
}
