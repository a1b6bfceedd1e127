package provider

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"
	"golang.org/x/crypto/ssh"

	"github.com/moyai-network/moyai/compute"
	"github.com/moyai-network/moyai/p2p"
	"github.com/moyai-network/moyai/p2p/enter"
	"github.com/moyai-network/moyai/p2p/p2ptest"
	"github.com/moyai-network/moyai/wire"
)

func (r worldRuntime) task(run compute.Run, end time.Time) compute.Task {
	t := &worldTask{run: run, end: end, stop: make(chan struct{})}
	if r.entered != nil {
		return r.entered(t)
	}
	return t
}

// openTask can be entered: its programs are "cat", which copies its input and exits
// with 5, and "sleep", which does nothing; an echo listens on port 7.
type openTask struct {
	*worldTask
	mu  sync.Mutex
	ran []compute.Exec
}

func (t *openTask) Exec(_ context.Context, e compute.Exec) (compute.Process, error) {
	if err := e.Dir; err != "" {
		return nil, fmt.Errorf("%w: there is no folder %s", compute.ErrBadProgram, e.Dir)
	}
	if e.Args[0] != "cat" && e.Args[0] != "sleep" && e.Args[0] != "sh" {
		return nil, fmt.Errorf("%w: there is no program %q in the image", compute.ErrBadProgram, e.Args[0])
	}
	t.mu.Lock()
	t.ran = append(t.ran, e)
	t.mu.Unlock()
	p := &openProcess{cat: e.Args[0] != "sleep", ended: make(chan struct{})}
	p.inR, p.inW = io.Pipe()
	p.outR, p.outW = io.Pipe()
	go p.run()
	return p, nil
}

func (t *openTask) Dial(_ context.Context, port uint16) (io.ReadWriteCloser, error) {
	if port != 7 {
		return nil, compute.ErrRefused
	}
	ours, theirs := net.Pipe()
	go func() {
		_, _ = io.Copy(theirs, theirs)
		_ = theirs.Close()
	}()
	return ours, nil
}

func (t *openTask) Processes(context.Context) ([]compute.ProcessInfo, error) {
	out := make([]compute.ProcessInfo, enter.MaxProcesses+10)
	for i := range out {
		out[i] = compute.ProcessInfo{PID: i + 1, Command: "python \x1b[2Jtrain.py", CPU: time.Second, MemoryBytes: 1 << 20, Threads: 2}
	}
	return out, nil
}

type openProcess struct {
	cat       bool
	inR, outR *io.PipeReader
	inW, outW *io.PipeWriter
	ended     chan struct{}
	once      sync.Once
	code      int
}

func (p *openProcess) run() {
	if p.cat {
		_, _ = io.Copy(p.outW, p.inR)
		p.end(5)
	}
}

func (p *openProcess) end(code int) {
	p.once.Do(func() {
		p.code = code
		_ = p.outW.Close()
		close(p.ended)
	})
}

func (p *openProcess) Stdin() io.WriteCloser     { return p.inW }
func (p *openProcess) Stdout() io.Reader         { return p.outR }
func (p *openProcess) Stderr() io.Reader         { return bytes.NewReader(nil) }
func (p *openProcess) Resize(compute.Size) error { return nil }
func (p *openProcess) Signal(string) error       { p.end(143); return nil }
func (p *openProcess) Wait(ctx context.Context) (int, error) {
	select {
	case <-p.ended:
		return p.code, nil
	case <-ctx.Done():
		return 0, ctx.Err()
	}
}

func (p *openProcess) Close() error {
	p.end(137)
	_ = p.inR.Close()
	return nil
}

// house is a lease that runs and can be entered over real hosts.
type house struct {
	*harness
	ctx              context.Context
	t                *testing.T
	provider, tenant *p2p.Host
	ten              *tenantStream
	order            wire.Signed[wire.Order]
	id               [20]byte
}

func newHouse(t *testing.T, o harnessOptions) *house {
	t.Helper()
	if o.taskLife == 0 {
		o.taskLife = time.Hour
	}
	o.ackWait, o.keep = time.Hour, time.Hour
	h, ctx := start(t, o)
	ten, order, id := h.mustRent(t, ctx, 1, false)
	s := &house{harness: h, ctx: ctx, t: t, provider: p2ptest.NewHost(t), tenant: p2ptest.NewHost(t), ten: ten, order: order, id: id}
	enter.Handle(s.provider, h.desk.enter)
	return s
}

// runs lets the lease start.
func (s *house) runs() *house {
	s.t.Helper()
	s.mustAttach(s.t, s.ctx, s.ten, s.order, s.id)
	must(s.t, eventually(s.ctx, "the task", func() bool {
		_, _, refusal := s.desk.find(s.id).enterable(s.ctx, nil)
		return refusal == nil || refusal.Subject == enter.SubjectRuntime
	}))
	return s
}

func openTasks(t *worldTask) compute.Task { return &openTask{worldTask: t} }

// request is what a tenant of the lease may ask, from a host of its own.
func (s *house) request(from peer.ID) enter.Request {
	s.t.Helper()
	say, err := hello(s.order.Digest, s.id[:], s.ten.key, from)
	must(s.t, err)
	return enter.Request{LeaseID: say.LeaseID, Access: say.Access}
}

func (s *house) enter(change func(*enter.Request)) (*enter.Entered, error) {
	r := s.request(s.tenant.ID())
	change(&r)
	return enter.Open(s.ctx, s.tenant, s.provider.AddrInfo(), r)
}

func (s *house) mustEnter(change func(*enter.Request)) *enter.Entered {
	s.t.Helper()
	e, err := s.enter(change)
	must(s.t, err)
	s.t.Cleanup(func() { _ = e.Close() })
	return e
}

// refusedAs checks the subject and the words of a refusal.
func (s *house) refusedAs(subject, words string, change func(*enter.Request)) {
	s.t.Helper()
	e, err := s.enter(change)
	if err == nil {
		_ = e.Close()
	}
	r := new(p2p.RefusedError)
	if !errors.As(err, &r) || r.Refusal.Subject != subject || !strings.Contains(r.Refusal.Hint, words) {
		s.t.Errorf("got %v, want %s: %s", err, subject, words)
	}
}

func program(args ...string) func(*enter.Request) {
	return func(r *enter.Request) { r.Exec = &enter.Exec{Args: args} }
}

func dial(port uint16) func(*enter.Request) {
	return func(r *enter.Request) { r.Dial = &enter.Dial{Port: port} }
}

func TestEnterExec(t *testing.T) {
	s := newHouse(t, harnessOptions{entered: openTasks}).runs()
	p := s.mustEnter(program("cat", "secret")).Program()
	_, err := p.Stdin().Write([]byte("hello"))
	must(t, err)
	must(t, p.Stdin().Close())
	out, err := io.ReadAll(p.Stdout())
	must(t, err)
	code, err := p.Wait(s.ctx)
	must(t, err)
	if string(out) != "hello" || code != 5 {
		t.Errorf("said %q, exited with %d", out, code)
	}
	must(t, p.Close())
	// It is on record, without what may be a secret.
	must(t, eventually(s.ctx, "the note", func() bool { return strings.Contains(s.story(false), "exec cat ended with code 5") }))
	if strings.Contains(s.story(false), "secret") {
		t.Error("arguments are on record")
	}
}

// story is what the provider tells of the lease, a line each.
func (s *house) story(follow bool) string {
	s.t.Helper()
	e, err := s.enter(func(r *enter.Request) { r.Events = &enter.Events{Follow: follow} })
	must(s.t, err)
	defer e.Close()
	var out strings.Builder
	for {
		n, err := e.Entry()
		must(s.t, err)
		if n.End {
			return out.String()
		}
		fmt.Fprintf(&out, "%s %s\n", n.Kind, n.Text)
	}
}

func TestEnterDial(t *testing.T) {
	s := newHouse(t, harnessOptions{entered: openTasks}).runs()
	c := s.mustEnter(dial(7)).Conn()
	defer c.Close()
	_, err := c.Write([]byte("ping"))
	must(t, err)
	got := make([]byte, 4)
	_, err = io.ReadFull(c, got)
	must(t, err)
	if string(got) != "ping" {
		t.Errorf("echo said %q", got)
	}
	s.refusedAs(enter.SubjectPort, "refused", dial(8))
}

func TestEnterTop(t *testing.T) {
	s := newHouse(t, harnessOptions{entered: openTasks}).runs()
	e := s.mustEnter(func(r *enter.Request) { r.Top = &enter.Top{EveryMS: enter.MinEveryMS} })
	for range 2 {
		l, err := e.Listing()
		must(t, err)
		if len(l.Processes) != enter.MaxProcesses || l.Processes[0].CPUMS != 1000 || strings.Contains(l.Processes[0].Command, "\x1b") {
			t.Fatalf("%d rows, the first %+v", len(l.Processes), l.Processes[0])
		}
	}
}

func TestEnterSSH(t *testing.T) {
	s := newHouse(t, harnessOptions{entered: openTasks}).runs()
	key, public := sshKey(t)
	stranger, _ := sshKey(t)
	open := func(signer ssh.Signer) (*ssh.Client, error) {
		e := s.mustEnter(func(r *enter.Request) { r.SSH = &enter.SSH{Keys: [][]byte{public}} })
		host, err := ssh.ParsePublicKey(e.HostKey)
		must(t, err)
		c, channels, requests, err := ssh.NewClientConn(e.Conn(), "", &ssh.ClientConfig{
			User: "moyai", Auth: []ssh.AuthMethod{ssh.PublicKeys(signer)}, HostKeyCallback: ssh.FixedHostKey(host),
		})
		if err != nil {
			return nil, err
		}
		return ssh.NewClient(c, channels, requests), nil
	}
	if _, err := open(stranger); err == nil {
		t.Error("another key than the tenant's got in")
	}
	c, err := open(key)
	must(t, err)
	defer c.Close()
	session, err := c.NewSession()
	must(t, err)
	session.Stdin = strings.NewReader("typed")
	out, err := session.Output("cat")
	exit := new(ssh.ExitError)
	if string(out) != "typed" || !errors.As(err, &exit) || exit.ExitStatus() != 5 {
		t.Errorf("said %q, %v", out, err)
	}
	through, err := c.Dial("tcp", "localhost:7")
	must(t, err)
	_, err = through.Write([]byte("x"))
	must(t, err)
	_, err = io.ReadFull(through, make([]byte, 1))
	must(t, err)
}

func sshKey(t *testing.T) (ssh.Signer, []byte) {
	t.Helper()
	_, priv, err := ed25519.GenerateKey(rand.Reader)
	must(t, err)
	s, err := ssh.NewSignerFromSigner(priv)
	must(t, err)
	return s, s.PublicKey().Marshal()
}

// Whoever is not let in is told why.
func TestEnterRefused(t *testing.T) {
	s := newHouse(t, harnessOptions{entered: openTasks})
	s.refusedAs(enter.SubjectNotStarted, "not started yet", program("cat"))
	s.runs()
	s.refusedAs(enter.SubjectProgram, `no program "nano"`, program("nano"))
	s.refusedAs(enter.SubjectTask, "does not run", func(r *enter.Request) { r.Task, r.Exec = new(uint64), &enter.Exec{Args: []string{"cat"}}; *r.Task = 3 })
	s.refusedAs(enter.SubjectLease, "does not know", func(r *enter.Request) { r.LeaseID, r.Dial = bytes.Repeat([]byte{9}, 20), &enter.Dial{Port: 7} })

	other := p2ptest.NewHost(t)
	s.refusedAs(enter.SubjectAccess, "another peer", func(r *enter.Request) { r.Access, r.Dial = s.request(other.ID()).Access, &enter.Dial{Port: 7} })
	strange, err := wire.NewEd25519Signer(bytes.Repeat([]byte{7}, 32))
	must(t, err)
	say, err := hello(s.order.Digest, s.id[:], strange, s.tenant.ID())
	must(t, err)
	s.refusedAs(enter.SubjectAccess, "", func(r *enter.Request) { r.Access, r.Events = say.Access, &enter.Events{} })
}

func TestEnterWhatCannotBe(t *testing.T) {
	s := newHouse(t, harnessOptions{}).runs()
	s.refusedAs(enter.SubjectRuntime, "cannot be entered", program("cat"))
}

// The end of the task ends whoever is inside, and nobody enters any more; what
// happened is still told.
func TestEnterEnds(t *testing.T) {
	var task *openTask
	s := newHouse(t, harnessOptions{entered: func(w *worldTask) compute.Task {
		task = &openTask{worldTask: w}
		return task
	}}).runs()
	p := s.mustEnter(program("sleep")).Program()
	c := s.mustEnter(dial(7)).Conn()
	top := s.mustEnter(func(r *enter.Request) { r.Top = &enter.Top{EveryMS: enter.MaxEveryMS} })
	must(t, task.Stop(s.ctx, 0))
	if _, err := p.Wait(s.ctx); err == nil {
		t.Error("the program ended by itself")
	}
	if _, err := io.ReadAll(c); err != nil && s.ctx.Err() != nil {
		t.Error("the connection stayed")
	}
	_, _ = top.Listing()
	if _, err := top.Listing(); err == nil {
		t.Error("the listing goes on")
	}
	must(t, eventually(s.ctx, "close", closedLease(s.harness, s.ten.id)))
	s.refusedAs(enter.SubjectEnded, "has ended", program("cat"))
	told := s.story(true)
	at := 0
	for _, kind := range []string{"opened ", "preparing ", "prepared ", "started ", "task ", "exec ", "task-ended ", "ended ", "closed "} {
		i := strings.Index(told[at:], "\n"+kind)
		if at == 0 && strings.HasPrefix(told, kind) {
			i = 0
		}
		if i < 0 {
			t.Fatalf("nothing of %q after %q in\n%s", kind, told[:at], told)
		}
		at += i
	}
	if !strings.Contains(told, "receipt ") {
		t.Errorf("no receipts in\n%s", told)
	}
}

func TestEnterCrowd(t *testing.T) {
	s := newHouse(t, harnessOptions{entered: openTasks}).runs()
	var inside []*enter.Entered
	for range maxPrograms {
		inside = append(inside, s.mustEnter(program("sleep")))
	}
	s.refusedAs(enter.SubjectBusy, "too much goes on", program("sleep"))
	c := s.mustEnter(dial(7)) // connections are counted apart
	must(t, c.Close())
	must(t, inside[0].Close())
	must(t, eventually(s.ctx, "room", func() bool {
		e, err := s.enter(program("sleep"))
		if err == nil {
			s.t.Cleanup(func() { _ = e.Close() })
		}
		return err == nil
	}))
}
