package container

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/moyai-network/moyai/compute"
	"github.com/moyai-network/moyai/compute/container/supervise"
)

// process implements compute.Process.
type process struct {
	visit    *supervise.Visit
	stdin    io.WriteCloser
	stdout   io.Reader
	stderr   io.Reader
	terminal *os.File // nil without one
	free     func()   // closes our ends

	done chan struct{}
	code int   // after done
	err  error // after done
	once sync.Once
}

func onPipes(v *supervise.Visit, p *pipes) *process {
	return (&process{visit: v, stdin: p.ours[0], stdout: p.ours[1], stderr: p.ours[2], free: p.close}).watch()
}

func onTerminal(v *supervise.Visit) *process {
	t := v.Terminal
	return (&process{
		visit: v, terminal: t, stdin: keyboard{t}, stdout: screen{t}, stderr: strings.NewReader(""),
		free: func() { t.Close() },
	}).watch()
}

func (p *process) watch() *process {
	p.done = make(chan struct{})
	go func() {
		p.code, p.err = p.visit.End()
		close(p.done)
	}()
	return p
}

// Stdin implements compute.Process.
func (p *process) Stdin() io.WriteCloser { return p.stdin }

// Stdout implements compute.Process.
func (p *process) Stdout() io.Reader { return p.stdout }

// Stderr implements compute.Process.
func (p *process) Stderr() io.Reader { return p.stderr }

// Resize implements compute.Process.
func (p *process) Resize(size compute.Size) error {
	if p.terminal == nil {
		return nil
	}
	raw, err := p.terminal.SyscallConn()
	if err != nil {
		return unavailable("resize the terminal", err)
	}
	var resizeErr error
	err = raw.Control(func(fd uintptr) {
		resizeErr = unix.IoctlSetWinsize(int(fd), unix.TIOCSWINSZ, &unix.Winsize{Col: size.Columns, Row: size.Rows})
	})
	if err = errors.Join(err, resizeErr); err != nil && !p.over() {
		return unavailable("resize the terminal", err)
	}
	return nil
}

// Signal implements compute.Process. It reaches the group that the program leads,
// as a terminal's Ctrl-C does.
func (p *process) Signal(name string) error {
	if !compute.ValidSignal(name) {
		return fmt.Errorf("%w: there is no signal %.20q to send", compute.ErrInvalidSpec, name)
	}
	if err := p.visit.Wish(supervise.Wish{Signal: name}); err != nil && !p.over() {
		return unavailable("send a signal", err)
	}
	return nil
}

func (p *process) over() bool {
	select {
	case <-p.done:
		return true
	default:
		return false
	}
}

// Wait implements compute.Process.
func (p *process) Wait(ctx context.Context) (int, error) {
	select {
	case <-p.done:
		return p.code, p.err
	default:
	}
	select {
	case <-p.done:
		return p.code, p.err
	case <-ctx.Done():
		return -1, ctx.Err()
	}
}

// Close implements compute.Process. When it returns, the program has ended.
func (p *process) Close() error {
	var err error
	p.once.Do(func() {
		_ = p.visit.HangUp() // it may have ended
		select {
		case <-p.done:
		case <-time.After(stopSlack):
			err = fmt.Errorf("%w: the program does not end, not even when killed", compute.ErrUnavailable)
		}
		p.free()
		_ = p.visit.Close()
	})
	return err
}

// pipes are a program's standard input, output and error.
type pipes struct {
	ours, theirs [3]*os.File
}

// newPipes makes pipes whose other ends belong to a user of the container, or
// opening /dev/stdout would fail in there. Our ends can be given up while they are
// waited for; theirs wait, as programs expect.
func newPipes(uid, gid int) (*pipes, error) {
	p := new(pipes)
	for i := range p.ours {
		var ends [2]int
		if err := unix.Pipe2(ends[:], unix.O_CLOEXEC); err != nil {
			return nil, errors.Join(err, p.discard())
		}
		ours, theirs := ends[0], ends[1]
		if i == 0 {
			ours, theirs = theirs, ours
		}
		err := errors.Join(unix.Fchown(theirs, uid, gid), unix.SetNonblock(ours, true))
		p.ours[i], p.theirs[i] = os.NewFile(uintptr(ours), "pipe"), os.NewFile(uintptr(theirs), "pipe")
		if err != nil {
			return nil, errors.Join(err, p.discard())
		}
	}
	return p, nil
}

// handOver lets go of the ends that are the program's now.
func (p *pipes) handOver() {
	for _, f := range p.theirs {
		f.Close()
	}
}

func (p *pipes) close() {
	for _, f := range p.ours {
		f.Close()
	}
}

func (p *pipes) discard() error {
	for _, f := range append(p.ours[:], p.theirs[:]...) {
		if f != nil {
			f.Close()
		}
	}
	return nil
}

// keyboard writes to a terminal.
type keyboard struct{ *os.File }

// Close types the end of file: a terminal has no other.
func (k keyboard) Close() error {
	_, err := k.Write([]byte{4})
	return err
}

// screen reads from a terminal.
type screen struct{ terminal *os.File }

// Read takes it for the end when nobody has the terminal open any more.
func (s screen) Read(b []byte) (int, error) {
	n, err := s.terminal.Read(b)
	if n == 0 && errors.Is(err, syscall.EIO) {
		err = io.EOF
	}
	return n, err
}
