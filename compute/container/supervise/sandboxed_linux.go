package supervise

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"

	"github.com/moyai-network/moyai/compute/internal/account"
)

// sandboxed is a visitor within gVisor. It is no process of the host's.
type sandboxed struct {
	sentry sentry
	pid    int32 // as the sandbox counts
	out    chan int
	over   chan struct{} // closed when it has ended
}

// enterSandbox asks gVisor's kernel to start a program.
func (s *supervisor) enterSandbox(e Entry, streams []*os.File) (visitor, *os.File, error) {
	var p struct { // as OCI has it
		Args, Env []string
		Cwd       string
		User      struct {
			UID, GID       uint32
			AdditionalGids []uint32
		}
		ConsoleSize struct{ Height, Width uint16 }
	}
	if err := json.Unmarshal(e.Process, &p); err != nil {
		return nil, nil, err
	}
	v := &sandboxed{sentry: s.job.OCI.sentry(s.job.ID), out: make(chan int, 1), over: make(chan struct{})}
	var t *terminal
	if e.Terminal {
		var err error
		if t, err = openTerminal(p.ConsoleSize.Width, p.ConsoleSize.Height); err != nil {
			return nil, nil, err
		}
		defer t.inside.Close()
		streams = []*os.File{t.inside, t.inside, t.inside}
	}
	var err error
	v.pid, err = v.sentry.run(entering{
		Argv: p.Args, Envv: p.Env, Dir: p.Cwd, KUID: p.User.UID, KGID: p.User.GID, ExtraKGIDs: p.User.AdditionalGids, StdioIsPty: e.Terminal,
	}, streams[0], streams[1], streams[2])
	if err != nil {
		if t != nil {
			t.close()
		}
		return nil, nil, whyNotIn(err.Error())
	}
	go v.await()
	if t == nil {
		return v, nil, nil
	}
	go v.obey(t)
	return v, t.outside, nil
}

func (v *sandboxed) await() {
	status, err := v.sentry.wait(v.pid)
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
	if v.lives() {
		v.sentry.endSession(v.pid)
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

// obey hands a terminal's signals on to the program in front of it.
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
			_ = v.sentry.signal(v.pid, toForeground, unix.Signal(b[0])) // it may be gone
		}
	}
}
