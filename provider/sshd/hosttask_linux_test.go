package sshd_test

import (
	"context"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"sync"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/moyai-network/moyai/compute"
)

// hostTask runs what is asked for as plain processes of this machine, in a folder of
// the test: good enough to see whether ssh itself works.
type hostTask struct {
	t    *testing.T
	dir  string
	sftp string // OpenSSH's sftp-server

	mu   sync.Mutex
	seen []compute.Exec
}

func (h *hostTask) last() compute.Exec {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.seen[len(h.seen)-1]
}

func (h *hostTask) Exec(_ context.Context, e compute.Exec) (compute.Process, error) {
	h.mu.Lock()
	h.seen = append(h.seen, e)
	h.mu.Unlock()
	args := e.Args
	if e.Tool == compute.ToolSFTP {
		args = []string{h.sftp}
	}
	path, err := exec.LookPath(args[0])
	if err != nil {
		return nil, fmt.Errorf("%w: there is no program %q here", compute.ErrBadProgram, args[0])
	}
	cmd := exec.Command(path, args[1:]...)
	cmd.Dir, cmd.Env = h.dir, append(os.Environ(), e.Env...)
	p := &hostProcess{cmd: cmd, ended: make(chan struct{})}
	if err := p.start(e); err != nil {
		return nil, err
	}
	h.t.Cleanup(func() { _ = p.Close() })
	return p, nil
}

func (h *hostTask) Dial(ctx context.Context, port uint16) (io.ReadWriteCloser, error) {
	c, err := new(net.Dialer).DialContext(ctx, "tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(int(port))))
	if err != nil {
		return nil, compute.ErrRefused
	}
	return c.(*net.TCPConn), nil
}

type hostProcess struct {
	cmd      *exec.Cmd
	in       io.WriteCloser
	out, err io.Reader
	tty      *os.File
	files    []*os.File // ours
	ended    chan struct{}
	code     int
	once     sync.Once
}

func (p *hostProcess) start(e compute.Exec) error {
	var theirs []*os.File
	if e.TTY {
		master, slave, err := openTerminal()
		if err != nil {
			return err
		}
		p.tty, p.in, p.out, p.err = master, noEnd{master}, terminalReader{master}, empty{}
		p.cmd.Stdin, p.cmd.Stdout, p.cmd.Stderr = slave, slave, slave
		p.cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true}
		theirs, p.files = []*os.File{slave}, []*os.File{master}
		_ = p.Resize(e.Size)
	} else {
		var ends [3][2]*os.File
		for i := range ends {
			r, w, err := os.Pipe()
			if err != nil {
				return err
			}
			ends[i] = [2]*os.File{r, w}
		}
		p.cmd.Stdin, p.cmd.Stdout, p.cmd.Stderr = ends[0][0], ends[1][1], ends[2][1]
		p.in, p.out, p.err = ends[0][1], ends[1][0], ends[2][0]
		theirs = []*os.File{ends[0][0], ends[1][1], ends[2][1]}
		p.files = []*os.File{ends[0][1], ends[1][0], ends[2][0]}
		p.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	}
	err := p.cmd.Start()
	for _, f := range theirs {
		_ = f.Close()
	}
	if err != nil {
		return err
	}
	go func() {
		defer close(p.ended)
		_ = p.cmd.Wait()
		if p.code = p.cmd.ProcessState.ExitCode(); p.code < 0 {
			p.code = 128 + int(p.cmd.ProcessState.Sys().(syscall.WaitStatus).Signal())
		}
	}()
	return nil
}

func (p *hostProcess) Stdin() io.WriteCloser { return p.in }
func (p *hostProcess) Stdout() io.Reader     { return p.out }
func (p *hostProcess) Stderr() io.Reader     { return p.err }

func (p *hostProcess) Resize(s compute.Size) error {
	if p.tty == nil {
		return nil
	}
	return unix.IoctlSetWinsize(int(p.tty.Fd()), unix.TIOCSWINSZ, &unix.Winsize{Col: s.Columns, Row: s.Rows})
}

func (p *hostProcess) Signal(name string) error {
	return syscall.Kill(-p.cmd.Process.Pid, unix.SignalNum("SIG"+name))
}

func (p *hostProcess) Wait(ctx context.Context) (int, error) {
	select {
	case <-p.ended:
		return p.code, nil
	case <-ctx.Done():
		return 0, ctx.Err()
	}
}

func (p *hostProcess) Close() error {
	p.once.Do(func() {
		_ = syscall.Kill(-p.cmd.Process.Pid, syscall.SIGKILL)
		<-p.ended
		for _, f := range p.files {
			_ = f.Close()
		}
	})
	return nil
}

func openTerminal() (master, slave *os.File, err error) {
	fd, err := unix.Open("/dev/ptmx", unix.O_RDWR|unix.O_NOCTTY|unix.O_CLOEXEC|unix.O_NONBLOCK, 0)
	if err != nil {
		return nil, nil, err
	}
	master = os.NewFile(uintptr(fd), "ptmx")
	number, err := unix.IoctlGetInt(fd, unix.TIOCGPTN)
	if err != nil {
		return nil, nil, err
	}
	if err := unix.IoctlSetPointerInt(fd, unix.TIOCSPTLCK, 0); err != nil {
		return nil, nil, err
	}
	slave, err = os.OpenFile(filepath.Join("/dev/pts", strconv.Itoa(number)), os.O_RDWR|syscall.O_NOCTTY, 0)
	return master, slave, err
}

// terminalReader ends as a file does: a terminal that nobody holds is an error.
type terminalReader struct{ f *os.File }

func (r terminalReader) Read(p []byte) (int, error) {
	n, err := r.f.Read(p)
	if err != nil {
		err = io.EOF
	}
	return n, err
}

// noEnd: a terminal goes on when nobody types any more.
type noEnd struct{ io.Writer }

func (noEnd) Close() error { return nil }

type empty struct{}

func (empty) Read([]byte) (int, error) { return 0, io.EOF }
