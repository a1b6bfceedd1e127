// Package runtimetest is the conformance suite of compute.Runtime: what every
// runtime must do for a well-behaved program, and how it must end each
// ill-behaved one, alone and with a reason the tenant can read.
//
// A runtime's test calls Run. The suite measures effects (what a file holds,
// whether a process lives) and never asks the runtime about itself. It asserts
// no timing.
package runtimetest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/moyai-network/moyai/compute"
	"github.com/moyai-network/moyai/internal/fifo"
)

// Harness is what the suite needs of a runtime.
type Harness struct {
	// New returns a runtime. Several may exist at once and share state, as when
	// a provider restarts.
	New func(tb testing.TB) compute.Runtime
	// Probe is testdata/probe, built for the runtime.
	Probe string
	// BadPrograms are files that Prepare must refuse.
	BadPrograms []BadProgram
	Traits
}

// Traits is what may differ between kinds of runtime. What is false is not
// tested, except where the opposite is promised.
type Traits struct {
	// Deterministic: clocks and randomness can be made to depend on a seed.
	Deterministic bool
	// System: a program has a system of its own (processes, signals, /proc,
	// /dev) and can be asked to end. Without it, it can have no process but
	// itself.
	System bool
	// Measured: what is written to /out is measured now and then rather than
	// counted before it is written, so there may be more of it than the limit.
	Measured bool
	// ScratchInMemory: /tmp is a part of the memory, so that filling it is the
	// program's own failure. Without it, it counts as output.
	ScratchInMemory bool
	// OwnKernel: the system is not this machine's, but one that runs in a process of
	// its own. What a program sets in /proc moves only that, and memory beyond the
	// limit ends all of it rather than the process that asked for most.
	OwnKernel bool
	// Volumes: it is a compute.VolumeKeeper.
	Volumes bool
	// Interactive: tasks can be entered while they run (compute.Interactive). It
	// needs System, and the names below.
	Interactive bool
	// Command is how the probe is called from inside its task.
	Command []string
	// UserProbe is the probe in an image that knows a User, with UserIDs as in
	// "1000 1000".
	UserProbe, User, UserIDs string
	// ToolPaths is where the runtime's own tools are, which nobody inside may change.
	ToolPaths []string
	// Egress: a task can be given a way to the internet. Without it, a Spec that
	// asks for one is refused.
	Egress bool
	// Env is what the runtime itself adds to a program's environment.
	Env []string
}

// BadProgram is a program that must be refused with a text that says why.
type BadProgram struct {
	Name    string
	Content []byte
	Want    string // part of the error's text
	Limits  compute.Limits
}

// patience bounds a test that hangs; nothing depends on it otherwise.
const patience = 60 * time.Second

// Run runs the whole suite.
func Run(t *testing.T, h Harness) {
	s := &suite{Harness: h, runtime: h.New(t)}
	t.Cleanup(func() { _ = s.runtime.Close() })
	t.Run("Probe", s.testProbe)
	t.Run("Prepare", s.testPrepare)
	t.Run("Programs", s.testPrograms)
	t.Run("Hostile", s.testHostile)
	t.Run("Control", s.testControl)
	t.Run("Recover", s.testRecover)
	t.Run("Egress", s.testEgress)
	if s.System {
		t.Run("System", s.testSystem)
	}
	if s.Volumes {
		t.Run("Volumes", s.testVolumes)
	}
	t.Run("Interactive", s.testInteractive)
}

type suite struct {
	Harness
	runtime compute.Runtime
}

// env is one task's surroundings.
type env struct {
	t    *testing.T
	s    *suite
	spec compute.Spec
	run  compute.Run
}

// task makes an env with modest limits. Tests change it, then start it.
func (s *suite) task(t *testing.T, args ...string) *env {
	t.Helper()
	dir := t.TempDir()
	return &env{t: t, s: s,
		spec: compute.Spec{
			Dir: dir, Program: s.Probe, Args: args,
			Limits: compute.Limits{
				MemoryBytes: 128 << 20, OutputBytes: 8 << 20, OutputFiles: 100, LogBytes: 1 << 20, Timeout: 30 * time.Second,
			},
		},
		run: compute.Run{ID: "task-1", Dir: filepath.Join(dir, "task-1")},
	}
}

// input adds an input file with the given content.
func (e *env) input(name, content string) *env {
	path := filepath.Join(e.spec.Dir, "given-"+name)
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		e.t.Fatal(err)
	}
	e.spec.Inputs = append(e.spec.Inputs, compute.Input{Name: name, Path: path})
	return e
}

func (e *env) context() context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	e.t.Cleanup(cancel)
	return ctx
}

// start prepares and starts, and sees to it that the task does not outlive the
// test.
func (e *env) start() compute.Task {
	e.t.Helper()
	p, err := e.s.runtime.Prepare(e.context(), e.spec)
	if err != nil {
		e.t.Fatalf("prepare: %v", err)
	}
	e.t.Cleanup(func() { _ = p.Close() })
	task, err := e.s.runtime.Start(e.context(), p, e.run)
	if err != nil {
		e.t.Fatalf("start: %v", err)
	}
	e.t.Cleanup(func() {
		if err := task.Stop(context.Background(), 0); err != nil {
			e.t.Errorf("stop: %v", err)
		}
	})
	return task
}

func (e *env) wait(task compute.Task) compute.Result {
	e.t.Helper()
	result, err := task.Wait(e.context())
	if err != nil {
		e.t.Fatalf("wait: %v (stderr: %s)", err, e.read(e.run.Stderr()))
	}
	if result.Message == "" && !result.OK() {
		e.t.Errorf("result %+v has no message for the tenant", result)
	}
	return result
}

func (e *env) finish() compute.Result {
	e.t.Helper()
	return e.wait(e.start())
}

// ok runs the task and requires success; it returns stdout.
func (e *env) ok() string {
	e.t.Helper()
	result := e.finish()
	if !result.OK() {
		e.t.Fatalf("result %+v, want exit 0; stderr: %s", result, e.read(e.run.Stderr()))
	}
	return e.read(e.run.Stdout())
}

// ends runs the task and requires a reason.
func (e *env) ends(want compute.Reason) compute.Result {
	e.t.Helper()
	result := e.finish()
	if result.Reason != want {
		e.t.Fatalf("ended as %v (%s), want %v; stderr: %.400s", result.Reason, result.Message, want, e.read(e.run.Stderr()))
	}
	return result
}

func (e *env) read(path string) string {
	e.t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		e.t.Fatal(err)
	}
	return string(b)
}

// says waits until the task has written text to stdout, and so is running.
func (e *env) says(text string) {
	e.t.Helper()
	for end := time.Now().Add(patience); time.Now().Before(end); time.Sleep(2 * time.Millisecond) {
		b, err := os.ReadFile(e.run.Stdout())
		if err == nil && bytes.Contains(b, []byte(text)) {
			return
		}
	}
	e.t.Fatalf("the task never said %q", text)
}

func (s *suite) testProbe(t *testing.T) {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	c, err := s.runtime.Probe(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if c.Version == "" || len(c.Enforced) == 0 {
		t.Errorf("capabilities %+v say nothing", c)
	}
	t.Logf("%s enforces %v; missing %v", c.Version, c.Enforced, c.Missing)
	if s.runtime.Name() == "" {
		t.Error("the runtime has no name")
	}
}

func (s *suite) testPrepare(t *testing.T) {
	prepare := func(e *env) error {
		p, err := s.runtime.Prepare(e.context(), e.spec)
		if err == nil {
			p.Close()
		}
		return err
	}
	refuses := func(t *testing.T, e *env, sentinel error, text string) {
		t.Helper()
		err := prepare(e)
		if !errors.Is(err, sentinel) || !strings.Contains(err.Error(), text) {
			t.Errorf("got %v, want %v with %q", err, sentinel, text)
		}
	}
	for _, bad := range s.BadPrograms {
		t.Run(bad.Name, func(t *testing.T) {
			e := s.task(t)
			e.spec.Program = filepath.Join(e.spec.Dir, "program")
			if err := os.WriteFile(e.spec.Program, bad.Content, 0o600); err != nil {
				t.Fatal(err)
			}
			if bad.Limits != (compute.Limits{}) {
				e.spec.Limits = bad.Limits
			}
			refuses(t, e, compute.ErrBadProgram, bad.Want)
		})
	}
	t.Run("missing program", func(t *testing.T) {
		e := s.task(t)
		e.spec.Program = filepath.Join(e.spec.Dir, "absent")
		refuses(t, e, compute.ErrInvalidSpec, "no such file")
	})
	t.Run("missing input", func(t *testing.T) {
		e := s.task(t).input("a", "")
		e.spec.Inputs[0].Path += "-gone"
		refuses(t, e, compute.ErrInvalidSpec, "input a is missing")
	})
	t.Run("input name that climbs", func(t *testing.T) {
		e := s.task(t).input("a", "")
		e.spec.Inputs[0].Name = "../a"
		refuses(t, e, compute.ErrInvalidSpec, "input name")
	})
	t.Run("cancelled", func(t *testing.T) {
		e := s.task(t)
		ctx, cancel := context.WithCancel(context.Background())
		cancel()
		if _, err := s.runtime.Prepare(ctx, e.spec); !errors.Is(err, context.Canceled) {
			t.Errorf("got %v, want the context's error", err)
		}
	})
	t.Run("close twice", func(t *testing.T) {
		e := s.task(t)
		p, err := s.runtime.Prepare(e.context(), e.spec)
		if err != nil {
			t.Fatal(err)
		}
		if err := errors.Join(p.Close(), p.Close()); err != nil {
			t.Error(err)
		}
	})
}

func (s *suite) testPrograms(t *testing.T) {
	t.Run("hello", func(t *testing.T) {
		e := s.task(t, "hello")
		if got := e.ok(); got != "hello from the guest\n" {
			t.Errorf("stdout %q", got)
		}
		if got := e.read(e.run.Stderr()); got != "and from its other side\n" {
			t.Errorf("stderr %q", got)
		}
	})
	t.Run("exit code", func(t *testing.T) {
		for _, code := range []int{1, 3, 42, 255} {
			e := s.task(t, "exit", strconv.Itoa(code))
			if r := e.ends(compute.ReasonExited); r.ExitCode != code {
				t.Errorf("exit code %d, want %d", r.ExitCode, code)
			}
		}
	})
	t.Run("arguments and environment", func(t *testing.T) {
		e := s.task(t, "show", "", "two words", "--flag=ü\n")
		e.spec.Env = []string{"A=1", "B=from the spec"}
		e.run.Env = []string{"B=from the run", "MOYAI_INDEX=7"}
		t.Setenv("MOYAI_SECRET", "of the host")
		env := append([]string{"A=1", "B=from the run", "MOYAI_INDEX=7"}, s.Env...)
		slices.Sort(env)
		want := fmt.Sprintf("args [\"\" \"two words\" \"--flag=ü\\n\"]\nenv %q\ndir \"/\"\n", env)
		if got := e.ok(); got != want {
			t.Errorf("got %s want %s", got, want)
		}
	})
	t.Run("stdin", func(t *testing.T) {
		e := s.task(t, "stdin")
		e.run.Stdin = filepath.Join(e.spec.Dir, "stdin")
		if err := os.WriteFile(e.run.Stdin, []byte("one\ntwo\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		if got := e.ok(); got != "ONE\nTWO\nend of input\n" {
			t.Errorf("got %q", got)
		}
	})
	t.Run("stdin as it comes", s.testLiveStdin)
	t.Run("stdin without a writer", func(t *testing.T) {
		e := s.task(t, "stdin")
		e.run.Stdin = filepath.Join(e.spec.Dir, "fifo")
		w, err := fifo.Create(e.run.Stdin)
		if err != nil {
			t.Fatal(err)
		}
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
		if got := e.ok(); got != "end of input\n" {
			t.Errorf("got %q", got)
		}
	})
	t.Run("no stdin", func(t *testing.T) {
		if got := s.task(t, "stdin").ok(); got != "end of input\n" {
			t.Errorf("got %q", got)
		}
	})
	t.Run("inputs", func(t *testing.T) {
		e := s.task(t, "read", "/in/a", "/in/tree/deep/b", "in/a").input("a", "alpha ")
		tree := filepath.Join(e.spec.Dir, "given-tree")
		if err := os.MkdirAll(filepath.Join(tree, "deep"), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(tree, "deep", "b"), []byte("beta "), 0o600); err != nil {
			t.Fatal(err)
		}
		e.spec.Inputs = append(e.spec.Inputs, compute.Input{Name: "tree", Path: tree})
		if got := e.ok(); got != "alpha beta alpha " {
			t.Errorf("got %q", got)
		}
	})
	t.Run("inputs are listed", func(t *testing.T) {
		e := s.task(t, "list", "/in").input("a", "").input("b", "")
		if got := e.ok(); got != "/in true\n/in/a false\n/in/b false\n" {
			t.Errorf("got %q", got)
		}
	})
	t.Run("output", func(t *testing.T) {
		e := s.task(t, "write", "/out/some/where/file", "content")
		e.ok()
		if got := e.read(filepath.Join(e.run.Out(), "some/where/file")); got != "content" {
			t.Errorf("got %q", got)
		}
	})
	t.Run("files as programs use them", func(t *testing.T) {
		e := s.task(t, "rewrite")
		e.ok()
		if got := e.read(filepath.Join(e.run.Out(), "sub/final")); got != "one two" {
			t.Errorf("got %q", got)
		}
		if _, err := os.Stat(filepath.Join(e.run.Out(), "gone")); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("a removed file: %v", err)
		}
	})
	t.Run("output up to the limit", func(t *testing.T) {
		const size = 8 << 20
		e := s.task(t, "fill", "/out/big", strconv.Itoa(size))
		r := e.finish()
		if !r.OK() || r.Usage.OutputBytes != size {
			t.Fatalf("result %+v", r)
		}
		if got := e.read(filepath.Join(e.run.Out(), "big")); got != strings.Repeat("0123456789abcdef", size/16) {
			t.Error("the file is not what was written")
		}
	})
	t.Run("real clock", func(t *testing.T) {
		if got := s.task(t, "sleep", "30ms").ok(); got != "sleeping\nawake\n" {
			t.Errorf("got %q", got)
		}
	})
	t.Run("randomness", func(t *testing.T) {
		if a, b := s.task(t, "random").ok(), s.task(t, "random").ok(); a == b {
			t.Errorf("two runs drew the same: %s", a)
		}
	})
	t.Run("deterministic", func(t *testing.T) {
		if !s.Deterministic {
			e := s.task(t, "random")
			e.spec.Deterministic = true
			if p, err := s.runtime.Prepare(e.context(), e.spec); !errors.Is(err, compute.ErrInvalidSpec) {
				t.Errorf("what cannot be promised was accepted: %v, %v", p, err)
			}
			return
		}
		draw := func(seed uint64) string {
			e := s.task(t, "random")
			e.spec.Deterministic, e.spec.Seed = true, seed
			return e.ok()
		}
		a, b, other := draw(1), draw(1), draw(2)
		if a != b {
			t.Errorf("one seed, two results: %s %s", a, b)
		}
		if a == other {
			t.Errorf("two seeds, one result: %s", a)
		}
	})
	t.Run("array", s.testArray)
}

// testLiveStdin talks to a running program through a FIFO.
func (s *suite) testLiveStdin(t *testing.T) {
	e := s.task(t, "stdin")
	e.run.Stdin = filepath.Join(e.spec.Dir, "fifo")
	in, err := fifo.Create(e.run.Stdin)
	if err != nil {
		t.Fatal(err)
	}
	defer in.Close()
	task := e.start()
	for _, word := range []string{"one", "two"} {
		if _, err := in.WriteString(word + "\n"); err != nil {
			t.Fatal(err)
		}
		e.says(strings.ToUpper(word) + "\n") // answered while the input is open
	}
	if err := in.Close(); err != nil {
		t.Fatal(err)
	}
	if r := e.wait(task); !r.OK() {
		t.Errorf("result %+v", r)
	}
	e.says("end of input")
}

// testArray runs several tasks of one Prepared at once and sees that none sees
// another.
func (s *suite) testArray(t *testing.T) {
	e := s.task(t, "list", "/out")
	e.spec.Array = true
	p, err := s.runtime.Prepare(e.context(), e.spec)
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	const n = 4
	type running struct {
		run  compute.Run
		task compute.Task
	}
	var all []running
	for i := range n {
		run := compute.Run{ID: strconv.Itoa(i), Dir: filepath.Join(e.spec.Dir, "array", strconv.Itoa(i)), Env: []string{"MOYAI_INDEX=" + strconv.Itoa(i)}}
		task, err := s.runtime.Start(e.context(), p, run)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, running{run, task})
	}
	for _, r := range all {
		if result := e.wait(r.task); !result.OK() {
			t.Errorf("task %s: %+v", r.run.ID, result)
		}
		if got := e.read(r.run.Stdout()); got != "/out true\n" {
			t.Errorf("task %s sees %q", r.run.ID, got)
		}
		if r.task.ID() != r.run.ID {
			t.Errorf("task calls itself %q, want %q", r.task.ID(), r.run.ID)
		}
	}
}
