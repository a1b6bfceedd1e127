//go:build linux

package container

import (
	"archive/tar"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/moyai-network/moyai/compute"
	"github.com/moyai-network/moyai/compute/image/pack"
	"github.com/moyai-network/moyai/compute/runtimetest"
)

// entered lets a program run in a task and returns what it said.
func entered(t *testing.T, task compute.Task, args ...string) (string, int) {
	t.Helper()
	p, err := task.(compute.Interactive).Exec(context.Background(), compute.Exec{Args: append([]string{"/probe"}, args...)})
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	out, err := io.ReadAll(p.Stdout())
	if err != nil {
		t.Fatal(err)
	}
	code, err := p.Wait(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	return string(out), code
}

// said waits until a task's log holds text, and returns it all.
func said(t testing.TB, run compute.Run, text string) string {
	t.Helper()
	for end := time.Now().Add(time.Minute); time.Now().Before(end); time.Sleep(2 * time.Millisecond) {
		if b, err := os.ReadFile(run.Stdout()); err == nil && strings.Contains(string(b), text) {
			return string(b)
		}
	}
	t.Fatalf("it never said %q", text)
	return ""
}

// TestEnterOrphan: a task whose provider and containerd were killed is entered by
// the next provider.
func TestEnterOrphan(t *testing.T) {
	need(t)
	run := orphan(t, probeImage(t), "serve 127.0.0.1:4711", "1m")
	r := newRuntime(t).(*Runtime)
	defer r.Close()
	if err := r.engine.shutdown(); err != nil {
		t.Fatal(err)
	}
	task, err := r.Recover(context.Background(), run)
	if err != nil {
		t.Fatal(err)
	}
	defer task.Stop(context.Background(), 0)
	said(t, run, "port")
	if out, code := entered(t, task, "hello"); out != "hello from the guest\n" || code != 0 {
		t.Errorf("it said %q and ended with %d", out, code)
	}
	c, err := task.(compute.Interactive).Dial(context.Background(), 4711)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if _, err := io.WriteString(c, "x"); err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadFull(c, make([]byte, 1)); err != nil {
		t.Error(err)
	}
	if _, err := os.Stat(r.engine.socket()); err == nil {
		t.Error("containerd was started for that")
	}
}

// enterEnv makes the test binary a provider that enters a task and waits to be
// killed.
const enterEnv = "MOYAI_TEST_ENTER"

func enterAndWait(dir string) error {
	r, err := New(Config{Home: os.Getenv("MOYAI_TEST_HOME"), Worker: os.Getenv("MOYAI_TEST_WORKER")})
	if err != nil {
		return err
	}
	task, err := r.Recover(context.Background(), compute.Run{ID: "orphan", Dir: dir})
	if err != nil {
		return err
	}
	p, err := task.(compute.Interactive).Exec(context.Background(), compute.Exec{Args: []string{"/probe", "brood", "3"}})
	if err != nil {
		return err
	}
	if _, err := io.ReadFull(p.Stdout(), make([]byte, len("brood\n"))); err != nil {
		return err
	}
	fmt.Println("started")
	select {}
}

// TestEntererKilled: what entered through a provider goes with it, and the task
// runs on.
func TestEntererKilled(t *testing.T) {
	need(t)
	run := orphan(t, probeImage(t), "sleep 1h", "1m")
	killAfterStart(t, enterEnv+"="+run.Dir)
	r := newRuntime(t)
	defer r.Close()
	task, err := r.Recover(context.Background(), run)
	if err != nil {
		t.Fatal(err)
	}
	defer task.Stop(context.Background(), 0)
	n := 0
	for end := time.Now().Add(time.Minute); time.Now().Before(end); time.Sleep(5 * time.Millisecond) {
		list, err := task.(compute.Interactive).Processes(context.Background())
		if err != nil {
			t.Fatal(err)
		}
		if n = len(list); n == 1 {
			return
		}
	}
	t.Errorf("%d processes are left of it and the task", n)
}

// TestEnterAtTheEnd: wherever a task's end meets who wants to enter, all of it
// ends, nothing is left, and who was refused is told why.
func TestEnterAtTheEnd(t *testing.T) {
	need(t)
	r := newRuntime(t)
	defer r.Close()
	image := probeImage(t)
	for i := range 6 {
		task, run := begin(t, r, image, "sleep", "1h")
		said(t, run, "sleeping")
		var all sync.WaitGroup
		for range 4 {
			all.Go(func() {
				for {
					p, err := task.(compute.Interactive).Exec(context.Background(), compute.Exec{Args: []string{"/probe", "sleep", "1h"}})
					if errors.Is(err, compute.ErrNotFound) {
						return
					}
					if err != nil {
						if !errors.Is(err, compute.ErrUnavailable) { // runc met the end half-way
							t.Error(err)
						}
						continue
					}
					code, err := p.Wait(context.Background())
					if err == nil && code != 128+int(syscall.SIGKILL) {
						t.Errorf("it ended with %d", code)
					}
					p.Close()
				}
			})
		}
		time.Sleep(time.Duration(i) * 15 * time.Millisecond)
		if err := task.Stop(context.Background(), 0); err != nil {
			t.Fatal(err)
		}
		all.Wait()
		if result, err := task.Wait(context.Background()); err != nil || result.Reason != compute.ReasonStopped {
			t.Errorf("result %+v, %v", result, err)
		}
		nothingLeft(t, run)
	}
}

// TestEnterSupervisorKilled: nobody saw how it ended, and that is what is said.
func TestEnterSupervisorKilled(t *testing.T) {
	need(t)
	r := newRuntime(t)
	defer r.Close()
	task, run := begin(t, r, probeImage(t), "stubborn")
	p, err := task.(compute.Interactive).Exec(context.Background(), compute.Exec{Args: []string{"/probe", "spin"}})
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	s, err := readState(run)
	if err != nil {
		t.Fatal(err)
	}
	if err := syscall.Kill(s.PID, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	if code, err := p.Wait(context.Background()); !errors.Is(err, compute.ErrUnavailable) {
		t.Errorf("%d, %v", code, err)
	}
	if _, err := io.Copy(io.Discard, p.Stdout()); err != nil { // at its end when the container was ended
		t.Error(err)
	}
	if result, err := task.Wait(context.Background()); err != nil || result.Reason != compute.ReasonCrashed {
		t.Errorf("result %+v, %v", result, err)
	}
	nothingLeft(t, run)
}

// TestEnterFull: a task takes only so many, and says so; one that left makes room.
func TestEnterFull(t *testing.T) {
	need(t)
	r := newRuntime(t)
	defer r.Close()
	task, _ := beginWith(t, r, 512<<20, probeImage(t), "sleep", "1h")
	var inside []compute.Process
	defer func() {
		for _, p := range inside {
			p.Close()
		}
	}()
	enter := func() error {
		p, err := task.(compute.Interactive).Exec(context.Background(), compute.Exec{Args: []string{"/probe", "stdin"}})
		if err == nil {
			inside = append(inside, p)
		}
		return err
	}
	var err error
	for err == nil && len(inside) < 1000 {
		err = enter()
	}
	if !errors.Is(err, compute.ErrUnavailable) || len(inside) < 32 || len(inside) > 64 {
		t.Fatalf("after %d programs: %v", len(inside), err)
	}
	if err := inside[0].Close(); err != nil {
		t.Fatal(err)
	}
	for end := time.Now().Add(time.Minute); time.Now().Before(end) && err != nil; time.Sleep(5 * time.Millisecond) {
		err = enter()
	}
	if err != nil {
		t.Errorf("when one had left: %v", err)
	}
}

// TestEnterFolderOfHost: no working directory leads out of the container, not
// even by a link to a folder that some process of the host's has open
// (CVE-2024-21626).
func TestEnterFolderOfHost(t *testing.T) {
	need(t)
	r := newRuntime(t)
	defer r.Close()
	link := pack.File{Header: tar.Header{Name: "trap", Typeflag: tar.TypeSymlink, Linkname: "/proc/self/fd", Mode: 0o777}}
	task, run := begin(t, r, probeImage(t, link), "sleep", "1h")
	said(t, run, "sleeping")
	for fd := range 24 {
		for _, dir := range []string{"/trap/", "/proc/self/fd/", "/out/../proc/thread-self/fd/"} {
			x := compute.Exec{Args: []string{"/probe", "escape", "../../../../../../../../etc/passwd", "../../../../../../../proc/1/environ"}, Dir: dir + strconv.Itoa(fd)}
			p, err := task.(compute.Interactive).Exec(context.Background(), x)
			if err == nil {
				p.Close()
				t.Errorf("%s is a folder to work in", x.Dir)
			}
		}
	}
}

// TestDialLeavesThreads: no thread of the provider stays in a container's network.
func TestDialLeavesThreads(t *testing.T) {
	need(t)
	r := newRuntime(t)
	defer r.Close()
	task, run := begin(t, r, probeImage(t), "serve", "127.0.0.1:4711")
	said(t, run, "port")
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			for i := range 40 {
				port := uint16(4711)
				if i%4 == 0 {
					port = 1 // refused: looks at all addresses
				}
				c, err := task.(compute.Interactive).Dial(context.Background(), port)
				if err == nil {
					c.Close()
				} else if port != 1 {
					t.Error(err)
				}
			}
		})
	}
	all.Wait()
	own, err := os.Readlink("/proc/self/ns/net")
	if err != nil {
		t.Fatal(err)
	}
	threads, err := filepath.Glob("/proc/self/task/*/ns/net")
	if err != nil || len(threads) == 0 {
		t.Fatal(threads, err)
	}
	for _, path := range threads {
		if in, err := os.Readlink(path); err == nil && in != own {
			t.Errorf("%s is in %s, not %s", path, in, own)
		}
	}
}

func TestPrintable(t *testing.T) {
	for line, want := range map[string]string{
		"sh\x00-c\x00echo ü\x00": "sh -c echo ü", "a\x1b[2Jb\xffc\n\x07": "a?[2Jb?c??", "\x00\x00": "", "cut\xc3": "cut?",
	} {
		if got := printable([]byte(line)); got != want {
			t.Errorf("%q is shown as %q, want %q", line, got, want)
		}
	}
}

// TestToolInTheWay: an image that has something where our tools belong hurts
// itself at most, and is told so.
func TestToolInTheWay(t *testing.T) {
	need(t)
	r := newRuntime(t).(*Runtime)
	defer r.Close()
	link := func(to string) pack.File {
		return pack.File{Header: tar.Header{Name: ".moyai", Typeflag: tar.TypeSymlink, Linkname: to, Mode: 0o777}}
	}
	for name, file := range map[string]pack.File{"a file": text(".moyai", "x"), "a circle": link(".moyai"), "the kernel's": link("/proc/self")} {
		guest, err := os.ReadFile(runtimetest.BuildSystemProbe(t))
		if err != nil {
			t.Fatal(err)
		}
		layer, err := pack.Layer(pack.Executable("probe", guest), file)
		if err != nil {
			t.Fatal(err)
		}
		image := pack.Image{Architecture: architecture, Config: ocispec.ImageConfig{Entrypoint: []string{"/probe"}}, Layers: [][]byte{layer}}
		result, _ := runImage(t, r, image, func(s *compute.Spec) { s.Args = []string{"hello"} })
		if result.Reason != compute.ReasonExited || result.ExitCode != 127 || !strings.Contains(result.Message, "/.moyai") && !strings.Contains(result.Message, "/proc/self/worker") {
			t.Errorf("%s: %+v", name, result)
		}
	}
	task, run := begin(t, r, probeImage(t, link("/tmp")), "sleep", "1h")
	said(t, run, "sleeping")
	p, err := task.(compute.Interactive).Exec(context.Background(), compute.Exec{Tool: compute.ToolTarOut, Args: []string{"/probe"}})
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	if n, err := io.Copy(io.Discard, p.Stdout()); n == 0 || err != nil {
		t.Errorf("%d bytes of tar, %v", n, err)
	}
}

// TestToolNotForEverybody: a worker that only its owner may run is the owner's to
// repair, not the tenant's.
func TestToolNotForEverybody(t *testing.T) {
	need(t)
	worker, err := os.ReadFile(runtimetest.BuildWorker(t))
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "moyai-worker")
	if err := os.WriteFile(path, worker, 0o700); err != nil {
		t.Fatal(err)
	}
	r, err := New(Config{Home: home, Worker: path})
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	task, run := begin(t, r, probeImage(t), "sleep", "1h")
	said(t, run, "sleeping")
	if p, err := task.(compute.Interactive).Exec(context.Background(), compute.Exec{Tool: compute.ToolSFTP}); !errors.Is(err, compute.ErrUnavailable) || !strings.Contains(err.Error(), "chmod 755") {
		t.Errorf("%v, %v", p, err)
	}
}
