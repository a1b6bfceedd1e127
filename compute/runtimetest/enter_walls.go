package runtimetest

import (
	"context"
	"errors"
	"io"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/moyai-network/moyai/compute"
)

// testExecWalls: who enters is held by the walls and limits of the task.
func (g *guests) testExecWalls(t *testing.T) {
	t.Run("powers", func(t *testing.T) {
		e := g.task(t, "sleep", "1h").input("a", "x")
		h := g.hostOf(e, "sleeping")
		if got := h.run(t, h.probe(g.powers()...), ""); got.out != "no powers\n" || got.code != 0 {
			t.Errorf("got %+v", got)
		}
	})
	t.Run("as the task itself", func(t *testing.T) {
		e := g.task(t, "whoami")
		own := e.ok()
		h := g.host(t, "sleeping", "sleep", "1h")
		if got := h.run(t, h.probe("whoami"), ""); got.out != own {
			t.Errorf("who enters is\n%s the task itself was\n%s", got.out, own)
		}
	})
	t.Run("alone", func(t *testing.T) {
		h := g.host(t, "sleeping", "sleep", "1h")
		if got := h.run(t, h.probe("reach", "tcp", "1.1.1.1:53", "udp", "1.1.1.1:53"), ""); got.out != "nobody there\n" {
			t.Errorf("got %+v", got)
		}
	})
	t.Run("users", func(t *testing.T) {
		e := g.task(t, "sleep", "1h")
		e.spec.Program = g.UserProbe
		h := g.hostOf(e, "sleeping")
		for user, want := range map[string]string{"": "user 0 0 ", "1234": "user 1234 0 ", "1234:77": "user 1234 77 ", g.User: "user " + g.UserIDs + " "} {
			x := h.probe("whoami")
			x.User = user
			if got := h.run(t, x, ""); !strings.Contains(got.out, want) || !strings.Contains(got.out, "CapEff:\t0000000000000000") {
				t.Errorf("%q: %+v, want %q", user, got, want)
			}
		}
		x := h.probe("whoami")
		x.User = "70000"
		if p, err := h.Exec(h.context(), x); !errors.Is(err, compute.ErrBadProgram) {
			t.Errorf("a user that no container has: %v, %v", p, err)
		}
	})
	t.Run("memory bomb", func(t *testing.T) {
		e := g.task(t, "sleep", "1h")
		e.spec.Limits.MemoryBytes = 64 << 20
		h := g.hostOf(e, "sleeping")
		if got := h.run(t, h.probe("eat"), ""); got.code != 137 {
			t.Errorf("got %+v", got)
		}
	})
	t.Run("fork bomb", func(t *testing.T) {
		e := g.task(t, "sleep", "1h")
		e.spec.Limits.Pids = 64
		h := g.hostOf(e, "sleeping")
		p := h.enter(t, h.probe("bomb"))
		hears(t, p.Stdout(), "bomb")
		g.until(t, h, "the bomb fills its limit", func(n int) bool { return n > 10 })
		list, err := h.Processes(h.context())
		threads := 0
		for _, p := range list {
			threads += p.Threads
		}
		if err != nil || threads > 64 {
			t.Errorf("%d threads (%v), the limit is 64", threads, err)
		}
		if err := p.Close(); err != nil {
			t.Fatal(err)
		}
		g.until(t, h, "the bomb is gone", func(n int) bool { return n == 1 })
	})
	t.Run("output bomb", func(t *testing.T) {
		h := g.host(t, "sleeping", "sleep", "1h")
		p := h.enter(t, h.probe("hoard", "/out"))
		if code, err := p.Wait(h.context()); code != 137 || err != nil {
			t.Errorf("it ended with %d, %v", code, err)
		}
		if r := h.wait(h); r.Reason != compute.ReasonOutputLimit {
			t.Errorf("the task ended with %+v", r)
		}
	})
}

// until waits until the task has some number of processes.
func (g *guests) until(t *testing.T, h *host, what string, enough func(int) bool) {
	t.Helper()
	n := 0
	for end := time.Now().Add(patience); time.Now().Before(end); time.Sleep(5 * time.Millisecond) {
		list, err := h.Processes(h.context())
		if err != nil {
			t.Fatal(err)
		}
		if n = len(list); enough(n) {
			return
		}
	}
	t.Fatalf("%s: there are %d processes", what, n)
}

// testExecEnds: how a program that entered ends, and with what.
func (g *guests) testExecEnds(t *testing.T) {
	h := g.host(t, "sleeping", "sleep", "1h")
	t.Run("signals", func(t *testing.T) {
		p := h.enter(t, h.probe("hear"))
		hears(t, p.Stdout(), "ready")
		for name, heard := range map[string]string{"INT": "interrupt", "HUP": "hangup", "QUIT": "quit", "USR1": "user defined signal 1", "USR2": "user defined signal 2", "WINCH": "window"} {
			if err := p.Signal(name); err != nil {
				t.Fatal(err)
			}
			hears(t, p.Stdout(), heard)
		}
		if err := p.Signal("SEGV"); !errors.Is(err, compute.ErrInvalidSpec) {
			t.Errorf("a signal that is not for sending: %v", err)
		}
		if err := p.Signal("TERM"); err != nil {
			t.Fatal(err)
		}
		if code, err := p.Wait(h.context()); code != 7 || err != nil {
			t.Errorf("it ended with %d, %v", code, err)
		}
		if err := p.Signal("TERM"); err != nil {
			t.Errorf("a signal after the end: %v", err)
		}
	})
	t.Run("killed", func(t *testing.T) {
		p := h.enter(t, h.probe("spin"))
		hears(t, p.Stdout(), "spinning")
		if err := p.Signal("KILL"); err != nil {
			t.Fatal(err)
		}
		if code, err := p.Wait(h.context()); code != 137 || err != nil {
			t.Errorf("it ended with %d, %v", code, err)
		}
	})
	t.Run("waiting gives up with its context", func(t *testing.T) {
		p := h.enter(t, h.probe("spin"))
		ctx, cancel := context.WithCancel(context.Background())
		cancel()
		if _, err := p.Wait(ctx); !errors.Is(err, context.Canceled) {
			t.Errorf("got %v", err)
		}
	})
	t.Run("closed", func(t *testing.T) {
		for _, tty := range []bool{false, true} {
			x := h.probe("brood", "3")
			x.TTY = tty
			p := h.enter(t, x)
			hears(t, p.Stdout(), "brood")
			g.until(t, h, "it has children", func(n int) bool { return n == 5 })
			if err := errors.Join(p.Close(), p.Close()); err != nil {
				t.Fatal(err)
			}
			g.until(t, h, "its children are gone with it", func(n int) bool { return n == 1 })
			if code, err := p.Wait(h.context()); code <= 128 || err != nil {
				t.Errorf("it ended with %d, %v", code, err)
			}
			if _, err := p.Stdout().Read(make([]byte, 1)); err == nil {
				t.Error("its output can still be read")
			}
		}
	})
	t.Run("what begins a session of its own stays", func(t *testing.T) {
		own := g.host(t, "sleeping", "sleep", "1h")
		p := own.enter(t, own.probe("brood", "3", "daemon"))
		hears(t, p.Stdout(), "brood")
		if err := p.Close(); err != nil {
			t.Fatal(err)
		}
		g.until(t, own, "the daemon", func(n int) bool { return n == 2 })
	})
	t.Run("a reader that has gone", func(t *testing.T) {
		p := h.enter(t, h.probe("shout"))
		hears(t, p.Stdout(), "la la")
		if err := p.Close(); err != nil {
			t.Fatal(err)
		}
	})
	t.Run("with the task", g.testEndsWithTask)
}

func (g *guests) testEndsWithTask(t *testing.T) {
	h := g.host(t, "sleeping", "sleep", "1h")
	p, daemon := h.enter(t, h.probe("spin")), h.enter(t, h.probe("brood", "2", "daemon"))
	hears(t, p.Stdout(), "spinning")
	hears(t, daemon.Stdout(), "brood")
	if err := h.Stop(h.context(), 0); err != nil {
		t.Fatal(err)
	}
	for _, p := range []compute.Process{p, daemon} {
		if code, err := p.Wait(h.context()); code != 137 && err == nil {
			t.Errorf("it ended with %d, %v", code, err)
		}
		if _, err := io.Copy(io.Discard, p.Stdout()); err != nil {
			t.Errorf("the end of its output: %v", err)
		}
	}
	if r := h.wait(h); r.Reason != compute.ReasonStopped {
		t.Errorf("the task ended with %+v", r)
	}
	h.refuses(t)
	again := g.New(t)
	t.Cleanup(func() { _ = again.Close() })
	task, err := again.Recover(h.context(), h.env.run)
	if err != nil {
		t.Fatal(err)
	}
	(&host{Interactive: task.(compute.Interactive), env: h.env, g: g}).refuses(t)
	h.wait(task) // before its files go, both runtimes must have seen its end
}

// refuses sees that a task that has ended cannot be entered.
func (h *host) refuses(t *testing.T) {
	t.Helper()
	_, exec := h.Exec(h.context(), h.probe("hello"))
	_, dial := h.Dial(h.context(), 80)
	_, list := h.Processes(h.context())
	for what, err := range map[string]error{"exec": exec, "dial": dial, "processes": list} {
		if !errors.Is(err, compute.ErrNotFound) {
			t.Errorf("%s after the end: %v", what, err)
		}
	}
}

func (g *guests) testTaskProcesses(t *testing.T) {
	h := g.host(t, "brood", "brood", "2")
	x := h.probe("sleep", "1h")
	x.Args = append(x.Args, "\x1b[31mred")
	p := h.enter(t, x)
	hears(t, p.Stdout(), "sleeping")
	list, err := h.Processes(h.context())
	if err != nil || len(list) != 4 {
		t.Fatalf("%d processes, %v: %+v", len(list), err, list)
	}
	if list[0].PID != 1 || !strings.HasSuffix(list[0].Command, "brood 2") {
		t.Errorf("the task's own is not the first: %+v", list[0])
	}
	if last := list[3]; !strings.HasSuffix(last.Command, "sleep 1h ?[31mred") {
		t.Errorf("what entered is %+v", last)
	}
	for i, p := range list {
		if p.PID <= 0 || i > 0 && p.PID <= list[i-1].PID || p.MemoryBytes == 0 || p.Threads == 0 || p.Since < 0 || p.Since > time.Hour {
			t.Errorf("process %+v", p)
		}
	}
	spinning := h.enter(t, h.probe("spin"))
	hears(t, spinning.Stdout(), "spinning")
	for busy := false; !busy; time.Sleep(5 * time.Millisecond) { // the test's own timeout bounds this
		list, err := h.Processes(h.context())
		if err != nil {
			t.Fatal(err)
		}
		for _, p := range list {
			busy = busy || p.CPU > 0 && strings.HasSuffix(p.Command, "spin")
		}
	}
}

// outPath is where the host has what the task has in /out.
func (e *env) outPath(name string) string { return filepath.Join(e.run.Out(), name) }
