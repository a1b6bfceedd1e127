package runtimetest

import (
	"bytes"
	"context"
	"errors"
	"io"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/moyai-network/moyai/compute"
)

// testInteractive enters running tasks: through the runtime that started them,
// and through one that knows of them only what is on the disk.
func (s *suite) testInteractive(t *testing.T) {
	if !s.Interactive {
		e := s.task(t, "spin")
		if _, can := e.start().(compute.Interactive); can {
			t.Error("its tasks can be entered, but nothing of that is tested")
		}
		return
	}
	t.Run("started", func(t *testing.T) { (&guests{suite: s}).test(t) })
	t.Run("recovered", func(t *testing.T) {
		again := s.New(t)
		t.Cleanup(func() { _ = again.Close() })
		(&guests{suite: s, again: again}).test(t)
	})
}

// guests enters tasks, the way of one runtime or that of two.
type guests struct {
	*suite
	again compute.Runtime // what enters, if not what started
}

func (g *guests) test(t *testing.T) {
	t.Run("programs", g.testExec)
	t.Run("walls", g.testExecWalls)
	t.Run("ends", g.testExecEnds)
	t.Run("terminal", g.testTerminal)
	t.Run("tools", g.testTools)
	t.Run("dial", g.testDial)
	t.Run("processes", g.testTaskProcesses)
}

// host is a running task that is entered.
type host struct {
	compute.Interactive
	*env
	g *guests
}

// host starts a task, which says its first word before it is entered.
func (g *guests) host(t *testing.T, says string, args ...string) *host {
	t.Helper()
	return g.hostOf(g.task(t, args...), says)
}

func (g *guests) hostOf(e *env, says string) *host {
	e.t.Helper()
	task := e.start()
	e.says(says)
	if g.again != nil {
		var err error
		if task, err = g.again.Recover(e.context(), compute.Run{ID: e.run.ID, Dir: e.run.Dir}); err != nil {
			e.t.Fatal(err)
		}
		e.t.Cleanup(func() { // before its files go, both runtimes must have seen its end
			if err := task.Stop(context.Background(), 0); err != nil {
				e.t.Errorf("stop: %v", err)
			}
		})
	}
	can, ok := task.(compute.Interactive)
	if !ok {
		e.t.Fatal("the task cannot be entered")
	}
	return &host{Interactive: can, env: e, g: g}
}

// probe is a call of the suite's guest from inside.
func (h *host) probe(args ...string) compute.Exec {
	return compute.Exec{Args: append(append([]string{}, h.g.Command...), args...)}
}

// enter starts a program and sees to it that it does not outlive the test.
func (h *host) enter(t *testing.T, x compute.Exec) compute.Process {
	t.Helper()
	p, err := h.Exec(h.context(), x)
	if err != nil {
		t.Fatalf("exec %q: %v", x.Args, err)
	}
	t.Cleanup(func() {
		if err := p.Close(); err != nil {
			t.Errorf("close: %v", err)
		}
	})
	return p
}

// said is what a program did.
type said struct {
	out, err string
	code     int
}

// run lets a program run to its end.
func (h *host) run(t *testing.T, x compute.Exec, stdin string) said {
	t.Helper()
	p := h.enter(t, x)
	var all sync.WaitGroup
	var out, errs bytes.Buffer
	all.Go(func() {
		_, _ = io.WriteString(p.Stdin(), stdin) // it need not read it
		_ = p.Stdin().Close()
	})
	all.Go(func() { _, _ = io.Copy(&out, p.Stdout()) })
	all.Go(func() { _, _ = io.Copy(&errs, p.Stderr()) })
	code, err := p.Wait(h.context())
	if err != nil {
		t.Fatalf("wait for %q: %v", x.Args, err)
	}
	all.Wait()
	return said{out.String(), errs.String(), code}
}

// hears reads from a program until it has said text, and returns all of it.
func hears(t *testing.T, from io.Reader, text string) string {
	t.Helper()
	heard := make(chan string, 1)
	go func() {
		var b strings.Builder
		piece := make([]byte, 4096)
		for !strings.Contains(b.String(), text) {
			n, err := from.Read(piece)
			b.Write(piece[:n])
			if err != nil {
				break
			}
		}
		heard <- b.String()
	}()
	select {
	case got := <-heard:
		if !strings.Contains(got, text) {
			t.Fatalf("it never said %q, only %q", text, got)
		}
		return got
	case <-time.After(patience):
		t.Fatalf("it never said %q", text)
		return ""
	}
}

func (g *guests) testExec(t *testing.T) {
	h := g.hostOf(g.task(t, "sleep", "1h").input("a", "not a program"), "sleeping")
	t.Run("streams apart", func(t *testing.T) {
		if got := h.run(t, h.probe("hello"), ""); got != (said{"hello from the guest\n", "and from its other side\n", 0}) {
			t.Errorf("got %+v", got)
		}
	})
	t.Run("exit code", func(t *testing.T) {
		for _, code := range []int{0, 1, 42, 255} {
			if got := h.run(t, h.probe("exit", strconv.Itoa(code)), ""); got.code != code {
				t.Errorf("exit %d gave %d", code, got.code)
			}
		}
	})
	t.Run("stdin", func(t *testing.T) {
		if got := h.run(t, h.probe("stdin"), "one\ntwo\n"); got.out != "ONE\nTWO\nend of input\n" || got.code != 0 {
			t.Errorf("got %+v", got)
		}
	})
	t.Run("stdin as it comes", func(t *testing.T) {
		p := h.enter(t, h.probe("stdin"))
		for _, word := range []string{"one", "two"} {
			if _, err := io.WriteString(p.Stdin(), word+"\n"); err != nil {
				t.Fatal(err)
			}
			hears(t, p.Stdout(), strings.ToUpper(word))
		}
	})
	t.Run("environment and folder", func(t *testing.T) {
		x := h.probe("show", "two words")
		x.Env, x.Dir = []string{"B=2"}, "/out"
		got := h.run(t, x, "")
		for _, want := range []string{`args ["two words"]`, `"B=2"`, `dir "/out"`} {
			if !strings.Contains(got.out, want) {
				t.Errorf("%s misses %s", got.out, want)
			}
		}
		for _, own := range g.Env {
			if !strings.Contains(got.out, own) {
				t.Errorf("%s misses the task's own %s", got.out, own)
			}
		}
	})
	t.Run("not there", func(t *testing.T) {
		for name, x := range map[string]compute.Exec{
			"no-such-program": {Args: []string{"no-such-program"}},
			"/no/such/path":   {Args: []string{"/no/such/path"}},
			"/out":            {Args: []string{"/out"}},
			"/in/a":           {Args: []string{"/in/a"}},
			"/no/such/folder": {Args: h.g.Command, Dir: "/no/such/folder"},
			"no-such-user":    {Args: h.g.Command, User: "no-such-user"},
		} {
			p, err := h.Exec(h.context(), x)
			if err == nil {
				p.Close()
			}
			if !errors.Is(err, compute.ErrBadProgram) || !strings.Contains(err.Error(), name) {
				t.Errorf("%s: %v", name, err)
			}
		}
	})
	t.Run("malformed", func(t *testing.T) {
		for _, x := range []compute.Exec{{}, {Args: []string{""}}, {Args: []string{"a\x00"}}, {Args: []string{"a"}, Dir: "relative"}, {Tool: "no-such-tool"}, {Tool: compute.ToolTarOut}} {
			if p, err := h.Exec(h.context(), x); !errors.Is(err, compute.ErrInvalidSpec) {
				t.Errorf("%+v: %v, %v", x, p, err)
			}
		}
	})
	t.Run("cancelled", func(t *testing.T) {
		ctx, cancel := context.WithCancel(context.Background())
		cancel()
		if p, err := h.Exec(ctx, h.probe("hello")); !errors.Is(err, context.Canceled) {
			t.Errorf("%v, %v", p, err)
		}
	})
	t.Run("many bytes", func(t *testing.T) { g.testManyBytes(t, h) })
	t.Run("many at once", func(t *testing.T) {
		var all sync.WaitGroup
		for range 8 {
			all.Go(func() {
				if got := h.run(t, h.probe("stdin"), "x\n"); got.out != "X\nend of input\n" || got.code != 0 {
					t.Errorf("got %+v", got)
				}
			})
		}
		all.Wait()
	})
	t.Run("the task is unharmed", func(t *testing.T) {
		if got := h.env.read(h.env.run.Stdout()); got != "sleeping\n" {
			t.Errorf("its own output is now %q", got)
		}
	})
}

// testManyBytes sends more through a program than anybody would hold in memory,
// and sees that the program waits for who reads slowly.
func (g *guests) testManyBytes(t *testing.T, h *host) {
	const size = 64 << 20
	p := h.enter(t, h.probe("cat"))
	sent := make(chan int64, 1)
	go func() {
		n, _ := io.Copy(p.Stdin(), io.LimitReader(&pattern{}, size))
		_ = p.Stdin().Close()
		sent <- n
	}()
	// As nobody reads, not all can be sent.
	select {
	case n := <-sent:
		t.Errorf("%d bytes were taken although nobody read them", n)
	case <-time.After(100 * time.Millisecond):
	}
	n, err := io.Copy(&pattern{t: t}, p.Stdout())
	if err != nil || n != size {
		t.Errorf("%d bytes came back (%v)", n, err)
	}
	if n := <-sent; n != size {
		t.Errorf("%d bytes were sent", n)
	}
	if code, err := p.Wait(h.context()); code != 0 || err != nil {
		t.Errorf("it ended with %d, %v", code, err)
	}
}

// pattern is a long stream of bytes that is easy to make and to check.
type pattern struct {
	t   *testing.T
	pos uint64
}

func (p *pattern) at(i uint64) byte { return byte((i * 2654435761) >> 13) }

func (p *pattern) Read(b []byte) (int, error) {
	for i := range b {
		b[i] = p.at(p.pos)
		p.pos++
	}
	return len(b), nil
}

func (p *pattern) Write(b []byte) (int, error) {
	for i, got := range b {
		if got != p.at(p.pos) {
			p.t.Errorf("byte %d is wrong", p.pos)
			return i, errors.New("not what was sent")
		}
		p.pos++
	}
	return len(b), nil
}

func (g *guests) testTerminal(t *testing.T) {
	h := g.host(t, "sleeping", "sleep", "1h")
	t.Run("size", func(t *testing.T) {
		x := h.probe("window")
		x.TTY, x.Size = true, compute.Size{Columns: 101, Rows: 33}
		p := h.enter(t, x)
		// It has a name, which tmux and others ask for.
		if got := hears(t, p.Stdout(), "on /dev/"); !strings.Contains(got, "101x33 xterm") {
			t.Errorf("it is %q", got)
		}
		if err := p.Resize(compute.Size{Columns: 77, Rows: 11}); err != nil {
			t.Fatal(err)
		}
		hears(t, p.Stdout(), "77x11")
		if n, err := p.Stderr().Read(make([]byte, 1)); n != 0 || !errors.Is(err, io.EOF) {
			t.Errorf("stderr says %d bytes, %v", n, err)
		}
		if _, err := io.WriteString(p.Stdin(), "done\n"); err != nil {
			t.Fatal(err)
		}
		if got := hears(t, p.Stdout(), "read done"); !strings.Contains(got, "done\r\n") {
			t.Errorf("nothing of a terminal in %q", got)
		}
		if code, err := p.Wait(h.context()); code != 0 || err != nil {
			t.Errorf("it ended with %d, %v", code, err)
		}
		if _, err := io.Copy(io.Discard, p.Stdout()); err != nil {
			t.Errorf("the end of its output: %v", err)
		}
		if err := p.Resize(compute.Size{Columns: 1, Rows: 1}); err != nil {
			t.Errorf("resized after the end: %v", err)
		}
	})
	t.Run("end of input", func(t *testing.T) {
		x := h.probe("stdin")
		x.TTY = true
		p := h.enter(t, x)
		if err := p.Stdin().Close(); err != nil {
			t.Fatal(err)
		}
		hears(t, p.Stdout(), "end of input")
	})
	t.Run("keys", func(t *testing.T) {
		x := h.probe("hear")
		x.TTY = true
		p := h.enter(t, x)
		hears(t, p.Stdout(), "ready")
		if _, err := p.Stdin().Write([]byte{3}); err != nil { // Ctrl-C
			t.Fatal(err)
		}
		hears(t, p.Stdout(), "interrupt")
	})
	t.Run("not there", func(t *testing.T) {
		if p, err := h.Exec(h.context(), compute.Exec{Args: []string{"no-such-program"}, TTY: true}); !errors.Is(err, compute.ErrBadProgram) {
			t.Errorf("%v, %v", p, err)
		}
	})
}
