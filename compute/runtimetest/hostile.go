package runtimetest

import (
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/moyai-network/moyai/compute"
)

// testHostile runs each attack beside a well-behaved task, which must not
// notice.
func (s *suite) testHostile(t *testing.T) {
	bystander := s.task(t, "sleep", "2s")
	neighbour := bystander.start()
	t.Run("limits", s.testLimits)
	t.Run("walls", s.testWalls)
	if r := bystander.wait(neighbour); !r.OK() {
		t.Errorf("a neighbour was harmed: %+v", r)
	}
}

func (s *suite) testLimits(t *testing.T) {
	t.Run("runaway loop", func(t *testing.T) {
		e := s.task(t, "spin")
		e.spec.Limits.Timeout = 700 * time.Millisecond
		r := e.ends(compute.ReasonDeadline)
		if !strings.Contains(r.Message, "700ms") {
			t.Errorf("message %q does not name the timeout", r.Message)
		}
		if r.ExitCode != -1 {
			t.Errorf("exit code %d for a killed program", r.ExitCode)
		}
	})
	t.Run("sleeper", func(t *testing.T) {
		e := s.task(t, "sleep", "1h")
		e.spec.Limits.Timeout = 700 * time.Millisecond
		e.ends(compute.ReasonDeadline)
	})
	t.Run("memory bomb", func(t *testing.T) {
		e := s.task(t, "eat")
		e.spec.Limits.MemoryBytes = 64 << 20
		r := e.ends(compute.ReasonMemory)
		if !strings.Contains(r.Message, "64 MiB") {
			t.Errorf("message %q does not name the limit", r.Message)
		}
	})
	t.Run("output bomb", func(t *testing.T) {
		e := s.task(t, "fill", "/out/big", "1000000000000")
		r := e.ends(compute.ReasonOutputLimit)
		if !strings.Contains(r.Message, "8 MiB") {
			t.Errorf("message %q does not name the limit", r.Message)
		}
		// One file is held exactly, whatever the runtime.
		if got := diskUse(t, e.run.Dir); got > e.spec.Limits.OutputBytes+1<<20 {
			t.Errorf("%d bytes were written, the limit is %d", got, e.spec.Limits.OutputBytes)
		}
	})
	t.Run("scratch bomb", func(t *testing.T) {
		e := s.task(t, "fill", "/tmp/big", "1000000000000")
		if !s.ScratchInMemory {
			e.ends(compute.ReasonOutputLimit)
			return
		}
		if r := e.ends(compute.ReasonExited); r.ExitCode != 1 {
			t.Errorf("result %+v", r)
		}
		if got := diskUse(t, e.run.Dir); got > 1<<20 {
			t.Errorf("%d bytes of it are on the disk", got)
		}
	})
	t.Run("hidden output bomb", func(t *testing.T) {
		s.task(t, "hoard", "/out").ends(compute.ReasonOutputLimit)
	})
	t.Run("file bomb", func(t *testing.T) {
		e := s.task(t, "litter", "/out")
		e.ends(compute.ReasonOutputLimit)
		if entries, err := os.ReadDir(e.run.Out()); !s.Measured && (err != nil || len(entries) > 100) {
			t.Errorf("%d files were made (%v), the limit is 100", len(entries), err)
		}
	})
	t.Run("log bomb", func(t *testing.T) {
		e := s.task(t, "shout")
		e.ends(compute.ReasonLogLimit)
		if got := len(e.read(e.run.Stdout())); got != 1<<20 {
			t.Errorf("%d bytes of log were kept, the limit is %d", got, 1<<20)
		}
	})
	t.Run("truncated logs", func(t *testing.T) {
		e := s.task(t, "shout", "3000")
		e.spec.Limits.TruncateLogs = true
		r := e.finish()
		if !r.OK() || !r.LogsTruncated || r.Usage.LogBytes != 1<<20 {
			t.Errorf("result %+v", r)
		}
		if got := len(e.read(e.run.Stdout())); got != 1<<20 {
			t.Errorf("%d bytes of log were kept, the limit is %d", got, 1<<20)
		}
	})
	t.Run("panic", func(t *testing.T) {
		e := s.task(t, "crash")
		if r := e.ends(compute.ReasonExited); r.ExitCode != 2 {
			t.Errorf("exit code %d, want Go's 2", r.ExitCode)
		}
		if got := e.read(e.run.Stderr()); !strings.Contains(got, "had enough") {
			t.Errorf("the panic's text is lost: %q", got)
		}
	})
	t.Run("deep recursion", func(t *testing.T) {
		// How it ends is the language's business; that it ends is ours.
		e := s.task(t, "deep")
		e.spec.Limits.MemoryBytes = 24 << 20
		if r := e.finish(); r.OK() || r.Reason == compute.ReasonCrashed || r.Reason == compute.ReasonDeadline {
			t.Errorf("result %+v", r)
		}
	})
}

func (s *suite) testWalls(t *testing.T) {
	t.Run("paths", func(t *testing.T) {
		outside := filepath.Join(t.TempDir(), "secret")
		if err := os.WriteFile(outside, []byte("secret"), 0o600); err != nil {
			t.Fatal(err)
		}
		e := s.task(t, "escape",
			"/etc/passwd", "../../etc/passwd", "/in/../../etc/passwd", "/out/../../../../../etc/passwd", "../../../../../../../../etc/passwd",
			"/var/run/docker.sock", "/run/containerd/containerd.sock",
			outside, "/in/a/../../"+outside, "/out/../stdout", "/out/../task.json", "/out/../../given-a", "/tmp/../stderr", "/root", "/home")
		if !s.System {
			e.spec.Args = append(e.spec.Args, "/proc/self/environ", "/proc/self/mem", "/proc/1/cmdline", "/sys/kernel", "/dev/mem", "/dev/null")
		}
		e.input("a", "x")
		if got := e.ok(); got != "nothing got out\n" {
			t.Errorf("got %q", got)
		}
	})
	t.Run("inputs cannot be written", func(t *testing.T) {
		for _, verb := range [][]string{
			{"write", "/in/a", "changed"}, {"write", "/in/new", "made"}, {"fill", "/in/a", "10"},
			{"write", "/in/tree/x", "changed"}, {"write", "/elsewhere", "made"},
		} {
			e := s.task(t, verb...).input("a", "original")
			tree := filepath.Join(e.spec.Dir, "given-tree")
			if err := os.Mkdir(tree, 0o700); err != nil {
				t.Fatal(err)
			}
			e.spec.Inputs = append(e.spec.Inputs, compute.Input{Name: "tree", Path: tree})
			if r := e.ends(compute.ReasonExited); r.ExitCode != 1 {
				t.Errorf("%v: %+v", verb, r)
			}
			if got := e.read(e.spec.Inputs[0].Path); got != "original" {
				t.Errorf("%v changed the input to %q", verb, got)
			}
		}
	})
	t.Run("links", func(t *testing.T) {
		e := s.task(t, "links", "/etc/passwd", "../../../../etc/passwd", "/in/../../etc/passwd", "../stdout")
		if got := e.ok(); got != "links lead nowhere\n" {
			t.Errorf("got %q", got)
		}
	})
	t.Run("planted links", func(t *testing.T) {
		// A link that came with an input must not lead out of it either.
		e := s.task(t, "escape", "/in/tree/link", "/in/tree/up/etc/passwd")
		tree := filepath.Join(e.spec.Dir, "given-tree")
		if err := os.Mkdir(tree, 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.Symlink("/etc/passwd", filepath.Join(tree, "link")); err != nil {
			t.Fatal(err)
		}
		if err := os.Symlink("../../../../../../../..", filepath.Join(tree, "up")); err != nil {
			t.Fatal(err)
		}
		e.spec.Inputs = []compute.Input{{Name: "tree", Path: tree}}
		if got := e.ok(); got != "nothing got out\n" {
			t.Errorf("got %q", got)
		}
	})
	t.Run("network", func(t *testing.T) {
		// A listener on the host's loopback that must stay unheard of.
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		if got := s.task(t, "network", l.Addr().String(), "192.0.2.1:80").ok(); got != "no network\n" {
			t.Errorf("got %q", got)
		}
	})
	t.Run("processes", func(t *testing.T) {
		if s.System {
			t.Skip("programs of this runtime may have processes")
		}
		if got := s.task(t, "spawn").ok(); got != "no processes\n" {
			t.Errorf("got %q", got)
		}
	})
}

// diskUse is the size of all files below dir.
func diskUse(t *testing.T, dir string) (total uint64) {
	t.Helper()
	err := filepath.WalkDir(dir, func(_ string, d os.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := d.Info()
		if err == nil && info.Mode().IsRegular() {
			total += uint64(info.Size())
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return total
}
