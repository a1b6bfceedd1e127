package runtimetest

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/moyai-network/moyai/compute"
)

func (s *suite) testControl(t *testing.T) {
	t.Run("stop during run", func(t *testing.T) {
		e := s.task(t, "spin")
		task := e.start()
		e.says("spinning")
		if err := task.Stop(e.context(), time.Second); err != nil {
			t.Fatal(err)
		}
		if r := e.wait(task); r.Reason != compute.ReasonStopped {
			t.Errorf("result %+v", r)
		}
	})
	t.Run("stop twice and at once", func(t *testing.T) {
		e := s.task(t, "spin")
		task := e.start()
		var wg sync.WaitGroup
		for range 4 {
			wg.Go(func() {
				if err := task.Stop(e.context(), 0); err != nil {
					t.Error(err)
				}
			})
		}
		wg.Wait()
		if err := task.Stop(e.context(), 0); err != nil {
			t.Error(err)
		}
		if r := e.wait(task); r.Reason != compute.ReasonStopped {
			t.Errorf("result %+v", r)
		}
	})
	t.Run("stop after the end", func(t *testing.T) {
		e := s.task(t, "hello")
		task := e.start()
		before := e.wait(task)
		if err := task.Stop(e.context(), 0); err != nil {
			t.Fatal(err)
		}
		if after := e.wait(task); after != before || !after.OK() {
			t.Errorf("stopping changed %+v to %+v", before, after)
		}
	})
	t.Run("wait gives up with its context", func(t *testing.T) {
		e := s.task(t, "spin")
		task := e.start()
		ctx, cancel := context.WithCancel(context.Background())
		cancel()
		if _, err := task.Wait(ctx); !errors.Is(err, context.Canceled) {
			t.Errorf("got %v", err)
		}
	})
	t.Run("usage", func(t *testing.T) {
		e := s.task(t, "spin")
		task := e.start()
		e.says("spinning")
		for task.Usage().CPU == 0 { // the test's own timeout bounds this
			time.Sleep(5 * time.Millisecond)
		}
		u := task.Usage()
		if u.Wall <= 0 || u.MemoryPeak == 0 || u.LogBytes != uint64(len("spinning\n")) {
			t.Errorf("usage %+v", u)
		}
		if err := task.Stop(e.context(), 0); err != nil {
			t.Fatal(err)
		}
		if final := e.wait(task).Usage; final.CPU == 0 || final.LogBytes != u.LogBytes {
			t.Errorf("final usage %+v", final)
		}
	})
	t.Run("one task per directory", func(t *testing.T) {
		e := s.task(t, "hello")
		e.ok()
		p, err := s.runtime.Prepare(e.context(), e.spec)
		if err != nil {
			t.Fatal(err)
		}
		defer p.Close()
		if _, err := s.runtime.Start(e.context(), p, e.run); !errors.Is(err, compute.ErrExists) {
			t.Errorf("got %v, want %v", err, compute.ErrExists)
		}
		if got := e.read(e.run.Stdout()); got != "hello from the guest\n" {
			t.Errorf("the first task's output is now %q", got)
		}
	})
	t.Run("run outside the spec", func(t *testing.T) {
		e := s.task(t, "hello")
		p, err := s.runtime.Prepare(e.context(), e.spec)
		if err != nil {
			t.Fatal(err)
		}
		defer p.Close()
		for _, run := range []compute.Run{
			{ID: "x", Dir: t.TempDir()},
			{ID: "", Dir: e.run.Dir},
			{ID: "x", Dir: e.run.Dir, Stdin: "/etc/passwd"},
			{ID: "x", Dir: e.run.Dir, Env: []string{"no equals sign"}},
		} {
			if _, err := s.runtime.Start(e.context(), p, run); !errors.Is(err, compute.ErrInvalidSpec) {
				t.Errorf("%+v: got %v", run, err)
			}
		}
	})
	t.Run("directory not writable", func(t *testing.T) {
		e := s.task(t, "hello")
		p, err := s.runtime.Prepare(e.context(), e.spec)
		if err != nil {
			t.Fatal(err)
		}
		defer p.Close()
		// A file where the directory should be stops even root.
		if err := os.WriteFile(filepath.Join(e.spec.Dir, "occupied"), nil, 0o600); err != nil {
			t.Fatal(err)
		}
		run := compute.Run{ID: "x", Dir: filepath.Join(e.spec.Dir, "occupied", "task")}
		if _, err := s.runtime.Start(e.context(), p, run); !errors.Is(err, compute.ErrUnavailable) {
			t.Errorf("got %v", err)
		}
	})
}

// testRecover looks at tasks through a second runtime, which knows of them only
// what is on disk: as after a restart.
func (s *suite) testRecover(t *testing.T) {
	again := func(t *testing.T) compute.Runtime {
		r := s.New(t)
		t.Cleanup(func() { _ = r.Close() })
		return r
	}
	t.Run("ended", func(t *testing.T) {
		e := s.task(t, "exit", "9")
		first := e.finish()
		task, err := again(t).Recover(e.context(), compute.Run{ID: e.run.ID, Dir: e.run.Dir})
		if err != nil {
			t.Fatal(err)
		}
		r := e.wait(task)
		if r.Reason != first.Reason || r.ExitCode != 9 || r.Message != first.Message {
			t.Errorf("recovered %+v, was %+v", r, first)
		}
	})
	t.Run("running, then ends", func(t *testing.T) {
		e := s.task(t, "sleep", "500ms")
		e.start()
		e.says("sleeping")
		task, err := again(t).Recover(e.context(), e.run)
		if err != nil {
			t.Fatal(err)
		}
		if r := e.wait(task); !r.OK() {
			t.Errorf("result %+v", r)
		}
		if got := e.read(e.run.Stdout()); got != "sleeping\nawake\n" {
			t.Errorf("stdout %q", got)
		}
	})
	t.Run("running, then stopped", func(t *testing.T) {
		e := s.task(t, "spin")
		e.start()
		e.says("spinning")
		task, err := again(t).Recover(e.context(), e.run)
		if err != nil {
			t.Fatal(err)
		}
		if task.Usage().LogBytes == 0 {
			t.Errorf("usage %+v of a recovered task", task.Usage())
		}
		if err := task.Stop(e.context(), 0); err != nil {
			t.Fatal(err)
		}
		if r := e.wait(task); r.Reason != compute.ReasonStopped {
			t.Errorf("result %+v", r)
		}
	})
	t.Run("running, then out of time", func(t *testing.T) {
		e := s.task(t, "spin")
		e.spec.Limits.Timeout = time.Second
		e.start()
		task, err := again(t).Recover(e.context(), e.run)
		if err != nil {
			t.Fatal(err)
		}
		if r := e.wait(task); r.Reason != compute.ReasonDeadline {
			t.Errorf("result %+v", r)
		}
	})
	t.Run("never started", func(t *testing.T) {
		e := s.task(t, "hello")
		if _, err := s.runtime.Recover(e.context(), e.run); !errors.Is(err, compute.ErrNotFound) {
			t.Errorf("got %v", err)
		}
	})
	t.Run("another's directory", func(t *testing.T) {
		e := s.task(t, "hello")
		e.ok()
		if _, err := again(t).Recover(e.context(), compute.Run{ID: "other", Dir: e.run.Dir}); !errors.Is(err, compute.ErrNotFound) {
			t.Errorf("got %v", err)
		}
	})
}
