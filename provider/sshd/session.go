package sshd

import (
	"context"
	"errors"
	"fmt"
	"io"
	"path"
	"strings"
	"sync"

	"golang.org/x/crypto/ssh"

	"github.com/moyai-network/moyai/compute"
	"github.com/moyai-network/moyai/p2p/enter"
)

// Bounds of what a client may say about a session before it starts.
const (
	maxEnv      = 128
	maxEnvBytes = 16 << 10
)

// Exit codes of programs that did not start, as shells have them, and of one whose
// end nobody saw, as ssh has it.
const (
	codeNotFound = 127
	codeUnknown  = 255
)

// session is one channel of that kind: one program.
type session struct {
	s       *server
	ch      ssh.Channel
	ctx     context.Context // ends with the channel
	cancel  context.CancelFunc
	env     []string
	envSize int
	tty     bool
	size    compute.Size
	begun   bool

	mu   sync.Mutex
	proc compute.Process // nil until it runs
	done chan struct{}   // closed when the program is over; nil before
}

// The payloads of RFC 4254, 6.
type (
	ptyRequest struct {
		Term                         string
		Columns, Rows, Width, Height uint32
		Modes                        string
	}
	windowChange struct{ Columns, Rows, Width, Height uint32 }
	envRequest   struct{ Name, Value string }
	oneString    struct{ Text string }
	exitStatus   struct{ Code uint32 }
)

func (s *server) session(nc ssh.NewChannel) {
	ch, requests, err := nc.Accept()
	if err != nil {
		return
	}
	x := &session{s: s, ch: ch}
	x.ctx, x.cancel = context.WithCancel(s.ctx)
	for r := range requests { // ends with the channel
		ok := x.request(r)
		if r.WantReply {
			_ = r.Reply(ok, nil)
		}
		if ok && x.begun && x.done == nil {
			x.done = make(chan struct{})
			go x.run(r) // after the reply, so that it comes before any output
		}
	}
	x.cancel()
	if x.done != nil {
		<-x.done
	}
	_ = ch.Close()
}

// request takes in one request. It never waits for a program.
func (x *session) request(r *ssh.Request) bool {
	switch r.Type {
	case "pty-req":
		return x.pty(r.Payload)
	case "env":
		return x.setenv(r.Payload)
	case "shell", "exec", "subsystem":
		return x.begin(r)
	case "window-change":
		var w windowChange
		if ssh.Unmarshal(r.Payload, &w) != nil {
			return false
		}
		x.resize(size(w.Columns, w.Rows))
		return true
	case "signal":
		var name oneString
		if ssh.Unmarshal(r.Payload, &name) != nil {
			return false
		}
		return x.signal(name.Text)
	}
	return false // agents, X11 and the rest are not offered
}

func size(columns, rows uint32) compute.Size {
	return compute.Size{Columns: uint16(min(columns, 1<<15)), Rows: uint16(min(rows, 1<<15))}
}

func (x *session) pty(payload []byte) bool {
	var p ptyRequest
	if x.begun || ssh.Unmarshal(payload, &p) != nil || len(p.Term) > enter.MaxUser {
		return false
	}
	x.tty, x.size = true, size(p.Columns, p.Rows)
	return p.Term == "" || x.addEnv("TERM", p.Term)
}

func (x *session) setenv(payload []byte) bool {
	var e envRequest
	return !x.begun && ssh.Unmarshal(payload, &e) == nil && x.addEnv(e.Name, e.Value)
}

func (x *session) addEnv(name, value string) bool {
	x.envSize += len(name) + len(value) + 1
	if name == "" || strings.ContainsAny(name, "=\x00") || strings.IndexByte(value, 0) >= 0 || len(x.env) >= maxEnv || x.envSize > maxEnvBytes {
		return false
	}
	x.env = append(x.env, name+"="+value)
	return true
}

// begin judges a request for a program; run starts it.
func (x *session) begin(r *ssh.Request) bool {
	if x.begun {
		return false // one program per channel
	}
	if r.Type == "shell" {
		x.begun = true
		return true
	}
	var what oneString
	if ssh.Unmarshal(r.Payload, &what) != nil || len(what.Text) > enter.MaxArgBytes || strings.IndexByte(what.Text, 0) >= 0 {
		return false
	}
	x.begun = r.Type == "exec" || what.Text == "sftp"
	return x.begun
}

// wanted are the programs that would do, in order of preference, and their name for
// the record, without arguments: those may hold secrets.
func wanted(r *ssh.Request) (tries []compute.Exec, name string) {
	var what oneString
	_ = ssh.Unmarshal(r.Payload, &what) // begin has read it
	switch r.Type {
	case "shell":
		return []compute.Exec{{Args: []string{"bash"}}, {Args: []string{"sh"}}}, "shell"
	case "subsystem":
		return []compute.Exec{{Tool: compute.ToolSFTP}}, "sftp"
	}
	tries = []compute.Exec{{Args: []string{"sh", "-c", what.Text}}}
	words := strings.Fields(what.Text)
	if len(words) > 0 && !strings.ContainsAny(what.Text, "|&;<>()$`\\\"'*?[#~=%!{}\n") {
		// An image without a shell can still run what needs none.
		tries = append(tries, compute.Exec{Args: words})
	}
	if len(words) > 0 {
		name = path.Base(words[0])
	}
	return tries, name
}

func (x *session) run(r *ssh.Request) {
	defer close(x.done)
	tries, name := wanted(r)
	end, err := x.s.cfg.Begin(name, 0)
	if err != nil {
		x.fail(err, codeUnknown)
		return
	}
	proc, err := x.start(tries)
	if err != nil {
		end("did not start")
		code := codeUnknown
		if errors.Is(err, compute.ErrBadProgram) {
			code = codeNotFound
		}
		x.fail(err, code)
		return
	}
	x.mu.Lock()
	x.proc = proc
	size := x.size
	x.mu.Unlock()
	if x.tty {
		_ = proc.Resize(size) // it may have changed while the program started
	}
	code, err := x.carry(proc)
	if err != nil {
		end("lost")
		x.fail(err, codeUnknown)
		return
	}
	end(fmt.Sprintf("ended with code %d", code))
	x.leave(code)
}

func (x *session) start(tries []compute.Exec) (compute.Process, error) {
	var first error
	for _, e := range tries {
		x.mu.Lock()
		e.Env, e.User, e.TTY, e.Size = x.env, x.s.user, x.tty, x.size
		x.mu.Unlock()
		proc, err := x.s.task.Exec(x.ctx, e)
		if err == nil || !errors.Is(err, compute.ErrBadProgram) {
			return proc, err
		}
		if first == nil {
			first = err
		}
	}
	return nil, first
}

// carry moves the program's bytes until it ends.
func (x *session) carry(proc compute.Process) (int, error) {
	c := enter.Carry(proc, x.ch, plainWriter{x.ch}, plainWriter{x.ch.Stderr()})
	code, err := c.Wait(x.ctx)
	_ = proc.Close()
	return code, err
}

// plainWriter hides that a channel can be closed: the exit status has to go first.
type plainWriter struct{ io.Writer }

// fail says what went wrong where the program would have spoken.
func (x *session) fail(err error, code int) {
	if x.ctx.Err() == nil {
		_, _ = fmt.Fprintf(x.ch.Stderr(), "moyai: %s\r\n", err)
	}
	x.leave(code)
}

// leave tells the exit code and ends the channel.
func (x *session) leave(code int) {
	_ = x.ch.CloseWrite()
	_, _ = x.ch.SendRequest("exit-status", false, ssh.Marshal(exitStatus{uint32(code)}))
	_ = x.ch.Close()
}

func (x *session) resize(s compute.Size) {
	x.mu.Lock()
	x.size = s
	proc := x.proc
	x.mu.Unlock()
	if proc != nil {
		_ = proc.Resize(s)
	}
}

func (x *session) signal(name string) bool {
	x.mu.Lock()
	proc := x.proc
	x.mu.Unlock()
	return proc != nil && proc.Signal(name) == nil
}
