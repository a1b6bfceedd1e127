package main

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"time"
)

// programs are the compiled test programs and the bare runtime.
type programs struct {
	dir string
}

// build compiles a program of this folder: to WebAssembly, or for this machine.
func (p programs) build(ctx context.Context, name string, wasm bool) error {
	cmd := exec.CommandContext(ctx, "go", "build", "-o", p.path(name), "./bench/"+name)
	cmd.Env = os.Environ()
	if wasm {
		cmd.Env = append(cmd.Env, "GOOS=wasip1", "GOARCH=wasm")
	}
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("build ./bench/%s: %w\n%s(run this from the root of the repository)", name, err, out)
	}
	return nil
}

func (p programs) path(name string) string { return filepath.Join(p.dir, filepath.Base(name)+".bin") }

// stretch is when a program was asked for, when its first and its last output
// came, and when its end was known.
type stretch struct{ asked, first, last, ended time.Time }

func (s stretch) toFirst() time.Duration { return s.first.Sub(s.asked) }
func (s stretch) run() time.Duration     { return s.last.Sub(s.first) }
func (s stretch) whole() time.Duration   { return s.last.Sub(s.asked) }

// output counts what comes at at.
func (s *stretch) output(at time.Time) {
	if s.first.IsZero() {
		s.first = at
	}
	s.last = at
}

// bare runs a program in bare wazero, in a fresh process whose only warmth is
// the compiled module on disk.
func (p programs) bare(ctx context.Context, name string, args ...string) (s stretch, err error) {
	args = append([]string{filepath.Join(p.dir, "cache"), p.path(name)}, args...)
	cmd := exec.CommandContext(ctx, p.path("bare"), args...)
	cmd.Stderr = os.Stderr
	// A session of its own, as a provider's jobs have: Linux shares a busy machine
	// out by session, and would not treat the two alike.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return s, err
	}
	s.asked = time.Now()
	if err := cmd.Start(); err != nil {
		return s, err
	}
	r := bufio.NewReader(out)
	for {
		_, err := r.ReadBytes('\n')
		if err == io.EOF {
			break
		}
		if err != nil {
			return s, err
		}
		s.output(time.Now())
	}
	err = cmd.Wait()
	s.ended = time.Now()
	if err == nil && s.first.IsZero() {
		err = fmt.Errorf("%s printed nothing", name)
	}
	return s, err
}
