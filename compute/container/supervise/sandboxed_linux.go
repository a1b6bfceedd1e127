package supervise

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"time"

	"golang.org/x/sys/unix"

	"github.com/moyai-network/moyai/compute/internal/account"
)

// sandboxed is a visitor within gVisor. It is no process of the host's.
type sandboxed struct {
	sentry sentry
	pid    int32 // as the sandbox counts
	tool   int32 // what holds its terminal in there; or pid
	out    chan int
	over   chan struct{} // closed when it has ended
}

// inWords is a program as OCI describes it.
type inWords struct {
	Args, Env []string
	Cwd       string
	User      struct {
		UID, GID       uint32
		AdditionalGids []uint32
	}
	ConsoleSize struct{ Height, Width uint16 }
}

func (p *inWords) entering() entering {
	return entering{Argv: p.Args, Envv: p.Env, Dir: p.Cwd, KUID: p.User.UID, KGID: p.User.GID, ExtraKGIDs: p.User.AdditionalGids}
}

// enterSandbox asks gVisor's kernel to start a program.
func (s *supervisor) enterSandbox(e Entry, streams []*os.File) (visitor, *os.File, error) {
	var p inWords
	if err := json.Unmarshal(e.Process, &p); err != nil {
		return nil, nil, err
	}
	v := &sandboxed{sentry: s.sentry, out: make(chan int, 1), over: make(chan struct{})}
	if e.Terminal {
		t, err := v.begin(&p)
		if err != nil {
			return nil, nil, err
		}
		go v.await()
		go v.obey(t)
		return v, t.outside, nil
	}
	var err error
	if v.pid, err = v.sentry.run(p.entering(), streams...); err != nil {
		return nil, nil, whyNotInside(err)
	}
	v.tool = v.pid
	go v.await()
	return v, nil, nil
}

// begin starts a program on a terminal, by way of our tool.
func (v *sandboxed) begin(p *inWords) (*terminal, error) {
	t, err := openTerminal(p.ConsoleSize.Width, p.ConsoleSize.Height)
	if err != nil {
		return nil, err
	}
	defer t.inside.Close()
	answer, begun, err := os.Pipe()
	if err != nil {
		t.close()
		return nil, err
	}
	defer answer.Close()
	e := p.entering()
	e.Argv, e.StdioIsPty = append([]string{ToolPath, ToolMode, ToolTerminal}, p.Args...), true
	v.tool, err = v.sentry.run(e, t.inside, t.inside, t.inside, begun)
	begun.Close()
	if err != nil {
		t.close()
		return nil, whyNotInside(err)
	}
	if err = v.hear(answer); err != nil {
		v.sentry.endSession(v.tool)
		t.close()
		return nil, err
	}
	return t, nil
}

// whyNotInside is whyNotIn for what gVisor's kernel said.
func whyNotInside(err error) error {
	if errors.Is(err, errSandboxGone) {
		return err
	}
	return whyNotIn(err.Error())
}

// hear takes our tool's answer, which may be any program's by now.
func (v *sandboxed) hear(answer *os.File) error {
	if err := answer.SetReadDeadline(time.Now().Add(sentryPatience)); err != nil {
		return err
	}
	var b Begun
	err := json.NewDecoder(io.LimitReader(answer, 8<<10)).Decode(&b)
	switch {
	case err != nil:
		return errors.New("no terminal could be made in there: the task may have used up its processes or its memory")
	case b.Missing:
		return refusal{b.Error}
	case b.Error != "":
		return whyNotIn(b.Error)
	case b.PID <= 1 || b.PID > math.MaxInt32:
		return errors.New("what holds the terminal in there makes no sense")
	}
	v.pid = int32(b.PID)
	return nil
}

func (v *sandboxed) await() {
	status, err := v.sentry.wait(v.tool)
	close(v.over)
	switch {
	case err == nil:
		v.out <- exitCode(status)
	case errors.Is(err, errSandboxGone):
		v.out <- account.Fatal + int(unix.SIGKILL) // with all else in there
	default:
		fmt.Fprintln(os.Stderr, "supervise: wait for a program:", err)
		v.out <- -1
	}
}

func (v *sandboxed) end() <-chan int { return v.out }

func (v *sandboxed) signal(sig unix.Signal) {
	if v.lives() {
		_ = v.sentry.signal(v.pid, toGroup, sig) // it may be gone
	}
}

func (v *sandboxed) kill() {
	if !v.lives() {
		return
	}
	v.sentry.endSession(v.pid)
	if v.tool != v.pid {
		v.sentry.endSession(v.tool)
	}
}

func (v *sandboxed) lives() bool {
	select {
	case <-v.over:
		return false
	default:
		return true
	}
}

// obey tells the tool when its terminal's size has changed.
func (v *sandboxed) obey(t *terminal) {
	go func() {
		<-v.over
		t.leave.Close()
	}()
	defer t.hear.Close()
	for b := make([]byte, 1); ; {
		if n, err := t.hear.Read(b); n == 0 || err != nil {
			return
		}
		if v.lives() {
			_ = v.sentry.signal(v.tool, toProcess, unix.SIGWINCH) // it may be gone
		}
	}
}
