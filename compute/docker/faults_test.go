//go:build linux

package docker

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/moby/moby/client"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/moyai-network/moyai/compute"
	"github.com/moyai-network/moyai/compute/docker/stand"
	"github.com/moyai-network/moyai/compute/runtimetest"
)

func begin(t *testing.T, r compute.Runtime, program string, args ...string) (compute.Task, compute.Run) {
	t.Helper()
	dir := t.TempDir()
	p, err := r.Prepare(context.Background(), compute.Spec{Dir: dir, Program: program, Args: args, Limits: compute.Limits{MemoryBytes: 64 << 20, Timeout: time.Minute}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { p.Close() })
	run := compute.Run{ID: "x", Dir: filepath.Join(dir, "x")}
	task, err := r.Start(context.Background(), p, run)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = task.Stop(context.Background(), 0) })
	return task, run
}

func says(t *testing.T, run compute.Run, words string) {
	t.Helper()
	for end := time.Now().Add(time.Minute); time.Now().Before(end); time.Sleep(5 * time.Millisecond) {
		if b, err := os.ReadFile(run.Stdout()); err == nil && strings.Contains(string(b), words) {
			return
		}
	}
	t.Fatalf("it never said %q", words)
}

// TestSupervisorKilled: without its supervisor a container's limits do not hold, so it
// must not run: whoever looks first ends it.
func TestSupervisorKilled(t *testing.T) {
	need(t)
	r := newIn(t, filepath.Join(home, "images"))
	defer r.Close()
	task, run := begin(t, r, probeImage(t), "stubborn")
	s, err := readState(run)
	if err != nil {
		t.Fatal(err)
	}
	if err := syscall.Kill(s.PID, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	first := ended(t, task)
	if first.Reason != compute.ReasonCrashed || !first.Reason.ProvidersFault() {
		t.Errorf("result %+v", first)
	}
	nothingLeft(t, r, run)
	if again := recovered(t, newRuntime(t), run); again.Reason != first.Reason || again.Message != first.Message {
		t.Errorf("looked at again: %+v", again)
	}
}

// TestSweep: the same while no provider lives; the next one ends it, and spares what
// somebody stands over.
func TestSweep(t *testing.T) {
	need(t)
	image := probeImage(t)
	spared, forsaken := orphan(t, image, "sleep 1h", "1h"), orphan(t, image, "sleep 1h", "1h")
	s, err := readState(forsaken)
	if err != nil {
		t.Fatal(err)
	}
	if err := syscall.Kill(s.PID, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	gone(t, forsaken)
	r := newIn(t, filepath.Join(home, "images"))
	defer r.Close()
	nothingLeft(t, r, forsaken)
	if got := recovered(t, r, forsaken); got.Reason != compute.ReasonCrashed {
		t.Errorf("result %+v", got)
	}
	task, err := r.Recover(context.Background(), spared)
	if err != nil {
		t.Fatal(err)
	}
	if err := task.Stop(context.Background(), 0); err != nil {
		t.Fatal(err)
	}
	if got := ended(t, task); got.Reason != compute.ReasonStopped {
		t.Errorf("what was stood over ended with %+v", got)
	}
	nothingLeft(t, r, spared)
}

// TestOthersEndIt: what the owner ends by Docker's own means is no failure of the
// program's, whatever its code.
func TestOthersEndIt(t *testing.T) {
	need(t)
	r := newIn(t, filepath.Join(home, "images"))
	defer r.Close()
	for _, signal := range []string{"KILL", "TERM", "removed"} {
		t.Run(signal, func(t *testing.T) {
			task, run := begin(t, r, probeImage(t), "sleep", "1h")
			says(t, run, "sleeping")
			s, err := readState(run)
			if err != nil {
				t.Fatal(err)
			}
			if signal == "removed" {
				err = r.engine.remove(context.Background(), s.Docker)
			} else {
				_, err = r.engine.ContainerKill(context.Background(), s.Docker, client.ContainerKillOptions{Signal: signal})
			}
			if err != nil {
				t.Fatal(err)
			}
			if got := ended(t, task); got.Reason != compute.ReasonCrashed || got.ExitCode != -1 {
				t.Errorf("result %+v", got)
			}
		})
	}
}

// TestCodes: every code is the program's own, also those that engines use.
func TestCodes(t *testing.T) {
	need(t)
	r := newIn(t, filepath.Join(home, "images"))
	defer r.Close()
	for _, code := range []string{"125", "126", "127", "137", "143", "139"} {
		task, _ := begin(t, r, probeImage(t), "exit", code)
		if got := ended(t, task); got.Reason != compute.ReasonExited || !strings.Contains(got.Message, code) {
			t.Errorf("exit %s: %+v", code, got)
		}
	}
}

// TestOutOfMemory: it is told as that every time, not only when events come in order.
func TestOutOfMemory(t *testing.T) {
	need(t)
	r := newIn(t, filepath.Join(home, "images"))
	defer r.Close()
	for i := range 10 {
		task, _ := begin(t, r, probeImage(t), "eat")
		if got := ended(t, task); got.Reason != compute.ReasonMemory || got.ExitCode != -1 {
			t.Errorf("the %dth time: %+v", i+1, got)
		}
	}
}

// ownDocker is a daemon that one test may end.
func ownDocker(t *testing.T, flags ...string) (*runtimetest.Docker, *Runtime) {
	t.Helper()
	need(t)
	if os.Geteuid() != 0 {
		t.Skip("needs root")
	}
	dir, err := os.MkdirTemp("", "moyai-d-")
	if err != nil {
		t.Fatal(err)
	}
	d, err := runtimetest.StartDocker(dir, 0, flags...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := d.Remove(); err != nil {
			t.Error(err)
		}
	})
	c := config(t, filepath.Join(t.TempDir(), "home"))
	c.Socket = d.Socket
	r, err := New(c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = r.Close() })
	return d, r
}

// TestDockerKilled: while the daemon is gone the limits hold, and when it is back the
// end is known.
func TestDockerKilled(t *testing.T) {
	for _, tc := range []struct {
		name, args string
		flags      []string
		back       bool // before the container's end
		want       compute.Reason
	}{
		{name: "out of time", args: "spin", want: compute.ReasonDeadline},
		{name: "too much output", args: "hoard /out", want: compute.ReasonOutputLimit},
		{name: "it runs on", args: "sleep 3s", flags: []string{"--live-restore"}, back: true, want: compute.ReasonExited},
		{name: "a daemon that ends what it finds", args: "sleep 1h", back: true, want: compute.ReasonCrashed},
	} {
		t.Run(tc.name, func(t *testing.T) {
			d, r := ownDocker(t, tc.flags...)
			dir, mark := t.TempDir(), "MOYAI_TEST_MARK="+filepath.Base(d.Dir)
			limits := compute.Limits{MemoryBytes: 64 << 20, Timeout: 5 * time.Second, OutputBytes: 1 << 20}
			if tc.back {
				limits.Timeout = time.Minute
			}
			p, err := r.Prepare(context.Background(), compute.Spec{Dir: dir, Program: probeImage(t), Args: strings.Fields(tc.args), Env: []string{mark}, Limits: limits})
			if err != nil {
				t.Fatal(err)
			}
			defer p.Close()
			run := compute.Run{ID: "x", Dir: filepath.Join(dir, "x")}
			task, err := r.Start(context.Background(), p, run)
			if err != nil {
				t.Fatal(err)
			}
			d.Kill()
			for end := time.Now().Add(time.Minute); !tc.back && alive(t, mark); time.Sleep(20 * time.Millisecond) {
				if time.Now().After(end) {
					t.Fatal("its limit did not hold")
				}
			}
			if err := d.Start(); err != nil {
				t.Fatal(err)
			}
			got := ended(t, task)
			if got.Reason != tc.want {
				t.Errorf("result %+v, want %v", got, tc.want)
			}
			nothingLeft(t, r, run)
		})
	}
}

// alive reports that a container's first process runs, by what is in its environment.
func alive(t *testing.T, mark string) bool {
	t.Helper()
	found, err := filepath.Glob("/proc/[0-9]*/environ")
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range found {
		if b, err := os.ReadFile(path); err == nil && strings.Contains(string(b), mark) {
			return true
		}
	}
	return false
}

// TestStopWithoutDocker: a task is stopped although the daemon is gone, and Docker
// forgets it when the next provider starts.
func TestStopWithoutDocker(t *testing.T) {
	d, r := ownDocker(t)
	task, run := begin(t, r, probeImage(t), "sleep", "1h")
	says(t, run, "sleeping")
	d.Kill()
	if err := task.Stop(context.Background(), 0); err != nil {
		t.Fatal(err)
	}
	if got := ended(t, task); got.Reason != compute.ReasonStopped {
		t.Errorf("result %+v", got)
	}
	if err := d.Start(); err != nil {
		t.Fatal(err)
	}
	again, err := New(r.config)
	if err != nil {
		t.Fatal(err)
	}
	defer again.Close()
	nothingLeft(t, again, run)
}

// TestDockerStopped: an owner who stops the service ends containers with it, and that
// is the owner's doing.
func TestDockerStopped(t *testing.T) {
	d, r := ownDocker(t)
	task, run := begin(t, r, probeImage(t), "sleep", "1h")
	says(t, run, "sleeping")
	if err := d.Stop(); err != nil {
		t.Fatal(err)
	}
	if err := d.Start(); err != nil {
		t.Fatal(err)
	}
	if got := ended(t, task); got.Reason != compute.ReasonCrashed {
		t.Errorf("result %+v", got)
	}
	nothingLeft(t, r, run)
}

// TestRefusals: what a user can mend is said in words that mend it.
func TestRefusals(t *testing.T) {
	need(t)
	c := config(t, t.TempDir())
	c.Socket = filepath.Join(t.TempDir(), "none.sock")
	if _, err := New(c); !errors.Is(err, compute.ErrUnavailable) || !strings.Contains(err.Error(), "systemctl start docker") {
		t.Errorf("no daemon: %v", err)
	}
	for words, change := range map[string]func(*engine){
		"filters no system calls": func(e *engine) { e.info.SecurityOptions = []string{"name=apparmor"} },
		"SELinux":                 func(e *engine) { e.info.SecurityOptions = append(e.info.SecurityOptions, "name=selinux") },
		"cannot limit":            func(e *engine) { e.info.PidsLimit = false },
		"windows containers":      func(e *engine) { e.info.OSType = "windows" },
		"as root":                 func(e *engine) { e.info.SecurityOptions = append(e.info.SecurityOptions, "name=userns") },
	} {
		e := &engine{}
		e.info.OSType, e.info.MemoryLimit, e.info.PidsLimit, e.info.CPUCfsQuota = "linux", true, true, true
		e.info.SecurityOptions = []string{"name=seccomp,profile=default"}
		if err := e.judge(1000); err != nil {
			t.Fatal(err)
		}
		change(e)
		if err := e.judge(1000); !errors.Is(err, compute.ErrUnavailable) || !strings.Contains(err.Error(), words) {
			t.Errorf("%s: %v", words, err)
		}
	}
}

// TestElsewhere: a Docker whose containers are in another machine is found out. Another
// space of process numbers is what this one can have of that.
func TestElsewhere(t *testing.T) {
	need(t)
	if os.Getenv(elsewhereEnv) != "" {
		r := newIn(t, t.TempDir())
		defer r.Close()
		if c, err := r.Probe(context.Background()); !errors.Is(err, compute.ErrUnavailable) || !strings.Contains(err.Error(), "machine of its own") {
			t.Errorf("%+v, %v", c, err)
		}
		list, err := r.engine.ContainerList(context.Background(), client.ContainerListOptions{All: true, Filters: make(client.Filters).Add("label", stand.LabelHome+"="+r.config.Home)})
		if err != nil || len(list.Items) > 0 {
			t.Errorf("left behind: %+v, %v", list.Items, err)
		}
		return
	}
	unshare, err := exec.LookPath("unshare")
	if err != nil || os.Geteuid() != 0 {
		t.Skip("needs root and unshare(1)")
	}
	cmd := exec.Command(unshare, "--pid", "--fork", "--mount-proc", os.Args[0], "-test.run=^TestElsewhere$")
	cmd.Env = append(os.Environ(), elsewhereEnv+"=yes", socketEnv+"="+daemon.Socket)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
}

const elsewhereEnv = "MOYAI_TEST_ELSEWHERE"

// TestMappedUsers: where Docker maps users, an image has its own, and root is nobody.
func TestMappedUsers(t *testing.T) {
	need(t)
	if os.Getenv(elsewhereEnv) != "" {
		r := newIn(t, t.TempDir())
		defer r.Close()
		c, err := r.Probe(context.Background())
		if err != nil || !slices.Contains(c.Enforced, "user-namespace") || !slices.Contains(c.Enforced, "own-user") {
			t.Errorf("%+v, %v", c, err)
		}
		for user, host := range map[string]uint32{"": 700000, "app": 700000 + 1234} {
			program := guestImage(t, ocispec.ImageConfig{User: user, Entrypoint: []string{"/probe"}}, text("etc/passwd", "root:x:0:0::/:/x\napp:x:1234:99::/:/x\n"))
			task, run := begin(t, r, program, "write", "/out/mine", "x")
			if got := ended(t, task); !got.OK() {
				t.Errorf("as %q: %+v", user, got)
			}
			var st syscall.Stat_t
			if err := syscall.Stat(filepath.Join(run.Out(), "mine"), &st); err != nil || st.Uid != host {
				t.Errorf("as %q, it belongs to %d (%v)", user, st.Uid, err)
			}
		}
		return
	}
	unshare, err := exec.LookPath("unshare")
	if err != nil || os.Geteuid() != 0 {
		t.Skip("needs root and unshare(1)")
	}
	// The daemon reads whom it maps to from /etc, which is another's: it gets one of
	// its own, in a space of mounts of its own.
	dir, err := os.MkdirTemp("", "moyai-d-")
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(dir)
	if err := os.Chmod(dir, 0o711); err != nil {
		t.Fatal(err)
	}
	ids := filepath.Join(dir, "ids")
	if err := os.WriteFile(ids, []byte("daemon:700000:65536\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	for _, file := range []string{"/etc/subuid", "/etc/subgid"} {
		if _, err := os.Stat(file); err != nil {
			t.Skipf("needs %s to put another in its place", file)
		}
	}
	script := "mount --bind " + ids + " /etc/subuid && mount --bind " + ids + ` /etc/subgid && exec "$@"`
	d, err := runtimetest.StartDockerBy([]string{unshare, "--mount", "sh", "-c", script, "sh"}, filepath.Join(dir, "d"), 0, "--userns-remap=daemon")
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := d.Remove(); err != nil {
			t.Error(err)
		}
	}()
	tests := "^(TestMappedUsers|TestConformance)$"
	if testing.Short() {
		tests = "^TestMappedUsers$"
	}
	cmd := exec.Command(os.Args[0], "-test.run="+tests)
	cmd.Env = append(os.Environ(), elsewhereEnv+"=yes", socketEnv+"="+d.Socket)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
}
