package enter_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/libp2p/go-libp2p/core/network"

	"github.com/moyai-network/moyai/p2p"
	"github.com/moyai-network/moyai/p2p/enter"
	"github.com/moyai-network/moyai/p2p/p2ptest"
)

// scripted is a program made of pipes, held by the test.
type scripted struct {
	inR, outR, errR *io.PipeReader
	inW, outW, errW *io.PipeWriter

	mu      sync.Mutex
	sizes   []enter.Size
	signals []string
	news    chan struct{}
	exit    chan int
	closed  chan struct{}
	once    sync.Once
}

func newScripted() *scripted {
	s := &scripted{news: make(chan struct{}, 64), exit: make(chan int, 1), closed: make(chan struct{})}
	s.inR, s.inW = io.Pipe()
	s.outR, s.outW = io.Pipe()
	s.errR, s.errW = io.Pipe()
	return s
}

func (s *scripted) Stdin() io.WriteCloser { return s.inW }
func (s *scripted) Stdout() io.Reader     { return s.outR }
func (s *scripted) Stderr() io.Reader     { return s.errR }
func (s *scripted) Resize(columns, rows uint16) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.sizes = append(s.sizes, enter.Size{Columns: columns, Rows: rows})
	s.news <- struct{}{}
	return nil
}

func (s *scripted) Signal(name string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.signals = append(s.signals, name)
	s.news <- struct{}{}
	return nil
}

func (s *scripted) Wait(ctx context.Context) (int, error) {
	select {
	case code := <-s.exit:
		return code, nil
	case <-s.closed:
		return 137, nil
	case <-ctx.Done():
		return 0, ctx.Err()
	}
}

func (s *scripted) Close() error {
	s.once.Do(func() {
		close(s.closed)
		_, _, _ = s.inR.Close(), s.outW.Close(), s.errW.Close()
	})
	return nil
}

// end is how an ordinary program ends.
func (s *scripted) end(code int) {
	_, _ = s.outW.Close(), s.errW.Close()
	s.exit <- code
}

// request asks for a program; access and lease are for the provider to judge.
func request() enter.Request {
	return enter.Request{LeaseID: make([]byte, 20), Access: []byte{1}, Exec: &enter.Exec{Args: []string{"sh"}}}
}

// serve answers every visit with a program and returns a function that enters.
func serve(t *testing.T, fn func(ctx context.Context, v *enter.Visit)) (open func(enter.Request) (*enter.Entered, error)) {
	t.Helper()
	provider, tenant := p2ptest.NewHost(t), p2ptest.NewHost(t)
	enter.Handle(provider, fn)
	return func(r enter.Request) (*enter.Entered, error) {
		return enter.Open(p2ptest.Context(t), tenant, provider.AddrInfo(), r)
	}
}

// program enters one scripted program; done yields what Attach returned.
func program(t *testing.T, s *scripted) (p *enter.Program, done <-chan int) {
	t.Helper()
	ended := make(chan int, 1)
	open := serve(t, func(ctx context.Context, v *enter.Visit) {
		if err := v.Admit(nil); err != nil {
			t.Error(err)
		}
		code, err := v.Attach(ctx, s)
		if err != nil {
			code = -1
		}
		ended <- code
	})
	e, err := open(request())
	if err != nil {
		t.Fatal(err)
	}
	p = e.Program()
	t.Cleanup(func() { _ = p.Close() })
	return p, ended
}

func TestProgram(t *testing.T) {
	s := newScripted()
	p, done := program(t, s)
	go func() {
		in, _ := io.ReadAll(s.inR)
		_, _ = s.errW.Write([]byte("read " + string(in)))
		_, _ = s.outW.Write([]byte("out"))
		s.end(3)
	}()
	if _, err := p.Stdin().Write([]byte("words")); err != nil {
		t.Fatal(err)
	}
	if err := p.Stdin().Close(); err != nil {
		t.Fatal(err)
	}
	out, err := io.ReadAll(p.Stdout())
	if err != nil || string(out) != "out" {
		t.Errorf("output %q, %v", out, err)
	}
	said, err := io.ReadAll(p.Stderr())
	if err != nil || string(said) != "read words" {
		t.Errorf("error output %q, %v", said, err)
	}
	if code, err := p.Wait(p2ptest.Context(t)); code != 3 || err != nil {
		t.Errorf("ended with %d, %v", code, err)
	}
	_ = p.Close()
	if code := <-done; code != 3 {
		t.Errorf("the provider saw %d", code)
	}
}

// Much more than a window passes, both ways at once, and nothing is lost or mixed up.
func TestProgramMovesALot(t *testing.T) {
	s := newScripted()
	p, _ := program(t, s)
	want := bytes.Repeat([]byte("0123456789abcdef"), 3*enter.Window/16+100)
	go func() { // cat
		_, _ = io.Copy(s.outW, s.inR)
		s.end(0)
	}()
	go func() {
		_, _ = p.Stdin().Write(want)
		_ = p.Stdin().Close()
	}()
	got, err := io.ReadAll(p.Stdout())
	if err != nil || !bytes.Equal(got, want) {
		t.Errorf("%d of %d bytes came back, %v", len(got), len(want), err)
	}
}

// A program that reads nothing keeps nobody from signalling it, and one whose output
// nobody reads keeps nobody from reading its errors.
func TestSignalsPassStuckStreams(t *testing.T) {
	s := newScripted()
	p, _ := program(t, s)
	go func() { _, _ = p.Stdin().Write(make([]byte, 2*enter.Window)) }()
	go func() { _, _ = s.outW.Write(make([]byte, 2*enter.Window)) }()
	go func() { _, _ = s.errW.Write([]byte("!")) }()
	if _, err := p.Stderr().Read(make([]byte, 1)); err != nil {
		t.Fatal(err)
	}
	if err := p.Resize(enter.Size{Columns: 132, Rows: 50}); err != nil {
		t.Fatal(err)
	}
	if err := p.Signal("INT"); err != nil {
		t.Fatal(err)
	}
	<-s.news
	<-s.news
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.signals) != 1 || s.signals[0] != "INT" || len(s.sizes) != 1 || s.sizes[0].Columns != 132 {
		t.Errorf("signals %v, sizes %v", s.signals, s.sizes)
	}
}

func TestTenantGoesAndTheProgramIsClosed(t *testing.T) {
	s := newScripted()
	p, done := program(t, s)
	_ = p.Close()
	select {
	case <-s.closed:
	case <-p2ptest.Context(t).Done():
		t.Fatal("the program lives on")
	}
	if code := <-done; code != -1 {
		t.Errorf("ended with %d", code)
	}
}

// Something that the program left behind holds its output: the session ends all the
// same, and what was written has come.
func TestOutputHeldOpen(t *testing.T) {
	s := newScripted()
	p, _ := program(t, s)
	go func() {
		_, _ = s.outW.Write([]byte("last words"))
		s.exit <- 0
	}()
	out, err := io.ReadAll(p.Stdout())
	if err != nil || string(out) != "last words" {
		t.Errorf("output %q, %v", out, err)
	}
	if code, err := p.Wait(p2ptest.Context(t)); code != 0 || err != nil {
		t.Errorf("ended with %d, %v", code, err)
	}
}

func TestProviderBreaksOff(t *testing.T) {
	open := serve(t, func(ctx context.Context, v *enter.Visit) {
		_ = v.Admit(nil)
	})
	e, err := open(request())
	if err != nil {
		t.Fatal(err)
	}
	p := e.Program()
	if _, err := p.Wait(p2ptest.Context(t)); err == nil || !strings.Contains(err.Error(), "ended the session") {
		t.Errorf("got %v", err)
	}
	if _, err := io.ReadAll(p.Stdout()); err == nil {
		t.Error("output ended as if all had come")
	}
	_ = p.Close()
}

func TestRefused(t *testing.T) {
	open := serve(t, func(ctx context.Context, v *enter.Visit) {
		_ = v.Refuse(p2p.Refusal{Subject: enter.SubjectEnded, Hint: "the lease has ended"})
	})
	_, err := open(request())
	refused := new(p2p.RefusedError)
	if !errors.As(err, &refused) || refused.Refusal.Subject != enter.SubjectEnded {
		t.Fatalf("got %v", err)
	}
}

// A provider that breaks off before its answer has admitted nobody.
func TestNoAnswer(t *testing.T) {
	open := serve(t, func(context.Context, *enter.Visit) {})
	if e, err := open(request()); err == nil {
		_ = e.Close()
		t.Fatal("entered without an answer")
	}
}

// A connection is bytes both ways, and each way ends by itself.
func TestConn(t *testing.T) {
	open := serve(t, func(ctx context.Context, v *enter.Visit) {
		_ = v.Admit(nil)
		c := v.Conn()
		defer c.Close()
		asked, err := io.ReadAll(c)
		if err != nil {
			t.Error(err)
		}
		for range 100 { // more than any window below
			if _, err := c.Write(bytes.Repeat(asked, 10<<10)); err != nil {
				t.Error(err)
			}
		}
	})
	r := request()
	r.Exec, r.Dial = nil, &enter.Dial{Port: 80}
	e, err := open(r)
	if err != nil {
		t.Fatal(err)
	}
	c := e.Conn()
	defer c.Close()
	if _, err := c.Write([]byte("ping!")); err != nil {
		t.Fatal(err)
	}
	if err := c.CloseWrite(); err != nil {
		t.Fatal(err)
	}
	got, err := io.ReadAll(c)
	if err != nil || len(got) != 100*5*10<<10 {
		t.Errorf("%d bytes came, %v", len(got), err)
	}
}

// Closing while the peer still sends ends it there, too.
func TestConnClosedEarly(t *testing.T) {
	ended := make(chan error, 1)
	open := serve(t, func(ctx context.Context, v *enter.Visit) {
		_ = v.Admit(nil)
		c := v.Conn()
		defer c.Close()
		_, err := io.Copy(c, zeros{})
		ended <- err
	})
	r := request()
	r.Exec, r.Dial = nil, &enter.Dial{Port: 80}
	e, err := open(r)
	if err != nil {
		t.Fatal(err)
	}
	c := e.Conn()
	if _, err := io.CopyN(io.Discard, c, 1<<20); err != nil {
		t.Fatal(err)
	}
	_ = c.Close()
	_ = c.Close()
	select {
	case err := <-ended:
		if err == nil {
			t.Error("writing to nobody worked")
		}
	case <-p2ptest.Context(t).Done():
		t.Fatal("the peer writes on for ever")
	}
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) { return len(p), nil }

func TestListings(t *testing.T) {
	want := enter.Listing{CPUMS: 7, Processes: []enter.Process{{PID: 1, Command: "sh -c x", Memory: 4096, Threads: 2}}}
	for i := len(want.Processes); i < enter.MaxProcesses; i++ {
		want.Processes = append(want.Processes, enter.Process{PID: uint64(i) << 40, Command: strings.Repeat("x", enter.MaxCommand), CPUMS: 1 << 60, Memory: 1 << 60, Threads: 1 << 40, SinceMS: 1 << 60})
	}
	open := serve(t, func(ctx context.Context, v *enter.Visit) {
		_ = v.Admit(nil)
		if err := v.Show(&want); err != nil {
			t.Error(err)
		}
	})
	r := request()
	r.Exec, r.Top = nil, &enter.Top{}
	e, err := open(r)
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close()
	got, err := e.Listing()
	if err != nil || len(got.Processes) != enter.MaxProcesses || got.Processes[0] != want.Processes[0] || got.CPUMS != 7 {
		t.Errorf("got %d rows, %v", len(got.Processes), err)
	}
	if _, err := e.Listing(); !errors.Is(err, io.EOF) {
		t.Errorf("after the last: %v", err)
	}
}

func TestRequestBounds(t *testing.T) {
	long := strings.Repeat("x", enter.MaxArgBytes)
	many := make([]string, enter.MaxArgs+1)
	for name, change := range map[string]func(r *enter.Request){
		"nothing asked for":   func(r *enter.Request) { r.Exec = nil },
		"two things":          func(r *enter.Request) { r.Events = &enter.Events{} },
		"lease id too short":  func(r *enter.Request) { r.LeaseID = r.LeaseID[1:] },
		"no access":           func(r *enter.Request) { r.Access = nil },
		"no program":          func(r *enter.Request) { r.Exec.Args = nil },
		"too many arguments":  func(r *enter.Request) { r.Exec.Args = many },
		"too long arguments":  func(r *enter.Request) { r.Exec.Args, r.Exec.Env = []string{long}, []string{"A=b"} },
		"zero byte":           func(r *enter.Request) { r.Exec.Env = []string{"A=\x00"} },
		"escape in user":      func(r *enter.Request) { r.Exec.User = "\x1b[2J" },
		"port zero":           func(r *enter.Request) { r.Exec, r.Dial = nil, &enter.Dial{} },
		"no keys":             func(r *enter.Request) { r.Exec, r.SSH = nil, &enter.SSH{} },
		"too many keys":       func(r *enter.Request) { r.Exec, r.SSH = nil, &enter.SSH{Keys: make([][]byte, enter.MaxKeys+1)} },
		"listing too often":   func(r *enter.Request) { r.Exec, r.Top = nil, &enter.Top{EveryMS: 1} },
		"listing too rarely":  func(r *enter.Request) { r.Exec, r.Top = nil, &enter.Top{EveryMS: 1 << 40} },
		"directory too long":  func(r *enter.Request) { r.Exec.Dir = "/" + long },
		"tool with a newline": func(r *enter.Request) { r.Exec.Tool = "sftp\n" },
	} {
		t.Run(name, func(t *testing.T) {
			r := request()
			if err := r.Validate(); err != nil {
				t.Fatalf("the valid one: %v", err)
			}
			change(&r)
			if r.Validate() == nil {
				t.Error("accepted")
			}
		})
	}
}

// A tenant that sends more than it was granted is a liar, and struck.
func TestOverdraft(t *testing.T) {
	provider, tenant := p2ptest.NewHost(t), p2ptest.NewHost(t)
	enter.Handle(provider, func(ctx context.Context, v *enter.Visit) {
		_ = v.Admit(nil)
		_, _ = v.Attach(ctx, newScripted())
	})
	p2ptest.Connect(t, tenant, provider)
	for range 8 { // some strikes, and the host is sent away
		ctx := p2ptest.Context(t)
		st, err := tenant.OpenStream(ctx, provider.AddrInfo(), enter.Protocol)
		if err != nil {
			break
		}
		r := request()
		if err := st.Send(p2p.MaxFrame, &r); err != nil {
			break
		}
		piece := input{Input: make([]byte, enter.MaxData)}
		for range enter.Window/enter.MaxData + 2 {
			if err := st.Send(p2p.MaxFrame, &piece); err != nil {
				break
			}
		}
		_, _ = io.Copy(io.Discard, st.Reader()) // until it is reset
	}
	for end := time.Now().Add(10 * time.Second); tenant.Network().Connectedness(provider.ID()) == network.Connected && time.Now().Before(end); {
		time.Sleep(5 * time.Millisecond)
	}
	if !provider.Banned(tenant.ID()) {
		t.Error("it may come again")
	}
}

// input is what a program's input looks like on the wire.
type input struct {
	Input []byte `cbor:"1,keyasint,omitempty"`
}

func (*input) Validate() error { return nil }
