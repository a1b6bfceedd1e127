//go:build linux

package container

import (
	"context"
	"fmt"
	"io"
	"net"
	"os/exec"
	"testing"
	"time"

	"github.com/moyai-network/moyai/compute"
	"github.com/moyai-network/moyai/compute/runtimetest"
)

// running starts a task and returns it once it has said its first line.
func running(b *testing.B, args ...string) (compute.Interactive, compute.Run) {
	b.Helper()
	need(b)
	r := newRuntime(b)
	b.Cleanup(func() { r.Close() })
	task, run := begin(b, r, probeImage(b), args...)
	said(b, run, "\n")
	return task.(compute.Interactive), run
}

// BenchmarkExec is the way from Exec to the exit code of a program that does
// nothing, with its output read; and what runc or runsc take for it by themselves.
func BenchmarkExec(b *testing.B) { atTiers(b, benchmarkExec) }

func benchmarkExec(b *testing.B) {
	task, run := running(b, "sleep", "1h")
	s, err := readState(run)
	if err != nil {
		b.Fatal(err)
	}
	b.Run("alone", func(b *testing.B) {
		nsenter, err := exec.LookPath("nsenter") // the root file system is the supervisor's alone
		if err != nil {
			b.Skip(err)
		}
		var took []time.Duration
		for b.Loop() {
			begun := time.Now()
			cmd := s.OCI.Command(s.Container, "", "exec", s.Container, "/probe", "exit", "0")
			cmd.Path, cmd.Args = nsenter, append([]string{nsenter, fmt.Sprintf("--mount=/proc/%d/ns/mnt", s.PID)}, cmd.Args...)
			if said, err := cmd.CombinedOutput(); err != nil {
				b.Fatalf("%v: %s", err, said)
			}
			took = append(took, time.Since(begun))
		}
		medianOf(b, took)
	})
	for name, args := range map[string]compute.Exec{"program": {Args: []string{"/probe", "exit", "0"}}, "terminal": {Args: []string{"/probe", "exit", "0"}, TTY: true}} {
		b.Run(name, func(b *testing.B) {
			var took []time.Duration
			for b.Loop() {
				begun := time.Now()
				p, err := task.Exec(context.Background(), args)
				if err != nil {
					b.Fatal(err)
				}
				if _, err := io.Copy(io.Discard, p.Stdout()); err != nil {
					b.Fatal(err)
				}
				if code, err := p.Wait(context.Background()); code != 0 || err != nil {
					b.Fatal(code, err)
				}
				took = append(took, time.Since(begun))
				p.Close()
			}
			medianOf(b, took)
		})
	}
}

// BenchmarkDial sends bytes to a program that echoes them: one in a container,
// and the same one as a process of the host.
func BenchmarkDial(b *testing.B) { atTiers(b, benchmarkDial) }

func benchmarkDial(b *testing.B) {
	task, run := running(b, "serve", "127.0.0.1:0")
	host := exec.Command(runtimetest.BuildSystemProbe(b), "serve", "127.0.0.1:0")
	out, err := host.StdoutPipe()
	if err != nil {
		b.Fatal(err)
	}
	if err := host.Start(); err != nil {
		b.Fatal(err)
	}
	defer func() { _, _ = host.Process.Kill(), host.Wait() }()
	var inside, outside uint16
	if _, err := fmt.Sscanf(said(b, run, "\n"), "port %d", &inside); err != nil {
		b.Fatal(err)
	}
	if _, err := fmt.Fscanf(out, "port %d\n", &outside); err != nil {
		b.Fatal(err)
	}
	dial := map[string]func() (io.ReadWriteCloser, error){
		"task":  func() (io.ReadWriteCloser, error) { return task.Dial(context.Background(), inside) },
		"plain": func() (io.ReadWriteCloser, error) { return net.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", outside)) },
	}
	for _, name := range []string{"task", "plain"} {
		b.Run("bytes/"+name, func(b *testing.B) {
			const size = 256 << 20
			b.SetBytes(size)
			for b.Loop() {
				c, err := dial[name]()
				if err != nil {
					b.Fatal(err)
				}
				go func() {
					piece := make([]byte, 256<<10)
					for range size / len(piece) {
						if _, err := c.Write(piece); err != nil {
							return
						}
					}
				}()
				if n, err := io.CopyN(io.Discard, c, size); err != nil {
					b.Fatal(n, err)
				}
				c.Close()
			}
		})
		b.Run("connect/"+name, func(b *testing.B) {
			for b.Loop() {
				c, err := dial[name]()
				if err != nil {
					b.Fatal(err)
				}
				c.Close()
			}
		})
	}
}
