//go:build linux

package container

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/moyai-network/moyai/compute"
	"github.com/moyai-network/moyai/compute/container/supervise"
	"github.com/moyai-network/moyai/compute/internal/filelock"
	"github.com/moyai-network/moyai/compute/internal/taskrecord"
	"github.com/moyai-network/moyai/compute/runtimetest"
)

// helperEnv makes the test binary a provider that starts a task and waits to be
// killed.
const helperEnv = "MOYAI_TEST_PROVIDER"

func provider(dir string) error {
	timeout, err := time.ParseDuration(os.Getenv("MOYAI_TEST_TIMEOUT"))
	if err != nil {
		return err
	}
	r, err := New(Config{Home: os.Getenv("MOYAI_TEST_HOME"), Worker: os.Getenv("MOYAI_TEST_WORKER"), Tier: compute.Tier(os.Getenv("MOYAI_TEST_TIER")), Runsc: runsc()})
	if err != nil {
		return err
	}
	p, err := r.Prepare(context.Background(), compute.Spec{
		Dir: dir, Program: os.Getenv("MOYAI_TEST_IMAGE"), Args: strings.Fields(os.Getenv("MOYAI_TEST_ARGS")),
		Limits: compute.Limits{Timeout: timeout, LogBytes: 1 << 20, OutputBytes: 8 << 20, OutputFiles: 1000, MemoryBytes: 64 << 20},
	})
	if err != nil {
		return err
	}
	if _, err := r.Start(context.Background(), p, compute.Run{ID: "orphan", Dir: filepath.Join(dir, "task")}); err != nil {
		return err
	}
	fmt.Println("started")
	select {}
}

// orphan lets a provider start a task and kills it with SIGKILL.
func orphan(t *testing.T, image, args, timeout string) compute.Run {
	t.Helper()
	dir := t.TempDir()
	killAfterStart(t, helperEnv+"="+dir, "MOYAI_TEST_IMAGE="+image, "MOYAI_TEST_ARGS="+args, "MOYAI_TEST_TIMEOUT="+timeout)
	return compute.Run{ID: "orphan", Dir: filepath.Join(dir, "task")}
}

// killAfterStart runs this binary as a provider until it says that it has
// started what it was for, and kills it.
func killAfterStart(t *testing.T, env ...string) {
	t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(append(os.Environ(), "MOYAI_TEST_HOME="+home, "MOYAI_TEST_WORKER="+runtimetest.BuildWorker(t), "MOYAI_TEST_TIER="+string(tier)), env...)
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	line, err := bufio.NewReader(out).ReadString('\n')
	if killErr := cmd.Process.Signal(syscall.SIGKILL); err != nil || killErr != nil {
		t.Fatal(line, err, killErr)
	}
	_ = cmd.Wait()
}

func recovered(t *testing.T, r compute.Runtime, run compute.Run) compute.Result {
	t.Helper()
	task, err := r.Recover(context.Background(), run)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	result, err := task.Wait(ctx)
	if err != nil {
		t.Fatal(err, task.Stop(context.Background(), 0))
	}
	return result
}

// gone waits until nobody stands over a task any more: until its lock is free. A
// process table may show its first thread as ended while another still holds it.
func gone(t *testing.T, run compute.Run) {
	t.Helper()
	s, err := readState(run)
	if err != nil {
		t.Fatal(err)
	}
	for end := time.Now().Add(time.Minute); time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
		if _, err := os.Stat(s.Lock); err != nil {
			return
		}
		if held := filelock.Try(s.Lock); held != nil {
			held.Close()
			return
		}
	}
	t.Fatal("the supervisor still runs")
}

// TestProviderKilled: every limit holds while nobody looks, and the result is
// found afterwards.
func TestProviderKilled(t *testing.T) {
	need(t)
	image := probeImage(t)
	for _, tc := range []struct {
		name, args, timeout string
		late                bool // look only after it has ended
		want                compute.Reason
	}{
		{"the task runs on", "sleep 700ms", "30s", false, compute.ReasonExited},
		{"it ended meanwhile", "hello", "30s", true, compute.ReasonExited},
		{"the deadline", "spin", "500ms", true, compute.ReasonDeadline},
		{"logs", "shout", "30s", true, compute.ReasonLogLimit},
		{"output", "litter /out", "30s", true, compute.ReasonOutputLimit},
		{"hidden output", "hoard /out", "30s", true, compute.ReasonOutputLimit},
		{"memory", "eat", "30s", true, compute.ReasonMemory},
	} {
		t.Run(tc.name, func(t *testing.T) {
			run := orphan(t, image, tc.args, tc.timeout)
			if tc.late {
				gone(t, run)
			}
			r := newRuntime(t)
			defer r.Close()
			if got := recovered(t, r, run); got.Reason != tc.want {
				t.Errorf("result %+v, want %v", got, tc.want)
			}
			nothingLeft(t, run)
		})
	}
}

// nothingLeft looks for what a container leaves when it is not cleared away.
func nothingLeft(t *testing.T, run compute.Run) {
	t.Helper()
	s, err := readState(run)
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{filepath.Join(s.OCI.Root, s.Container), s.Cgroup.Memory, s.Cgroup.CPU, filepath.Join(run.Dir, supervise.BundleDir)} {
		if _, err := os.Lstat(path); err == nil {
			t.Errorf("%s is left behind", path)
		}
	}
	mounts, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil || strings.Contains(string(mounts), run.Dir) || strings.Contains(string(mounts), supervise.Box) {
		t.Errorf("a mount is left behind (%v)", err)
	}
}

func begin(t testing.TB, r compute.Runtime, program string, args ...string) (compute.Task, compute.Run) {
	t.Helper()
	return beginWith(t, r, 64<<20, program, args...)
}

func beginWith(t testing.TB, r compute.Runtime, memory uint64, program string, args ...string) (compute.Task, compute.Run) {
	t.Helper()
	dir := t.TempDir()
	p, err := r.Prepare(context.Background(), compute.Spec{Dir: dir, Program: program, Args: args, Limits: compute.Limits{MemoryBytes: memory, Timeout: time.Minute}})
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

// TestContainerdKilled: a task neither ends nor starts again with containerd, and
// the next image brings a new one up.
func TestContainerdKilled(t *testing.T) {
	need(t)
	own := t.TempDir()
	r := newIn(t, own)
	defer os.RemoveAll(r.engine.run)
	defer r.StopEngine()
	task, run := begin(t, r, probeImage(t), "sleep", "1s")
	b, err := os.ReadFile(r.engine.pidFile())
	if err != nil {
		t.Fatal(err)
	}
	pid, err := strconv.Atoi(string(b))
	if err != nil {
		t.Fatal(err)
	}
	if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	result, err := task.Wait(context.Background())
	if err != nil || !result.OK() {
		t.Fatalf("result %+v, %v", result, err)
	}
	if got, err := os.ReadFile(run.Stdout()); err != nil || string(got) != "sleeping\nawake\n" {
		t.Errorf("it said %q (%v)", got, err)
	}
	nothingLeft(t, run)
	again := newIn(t, own) // as after a restart of the provider as well
	defer again.Close()
	if c, err := again.Probe(context.Background()); err != nil || len(c.Missing) > 0 {
		t.Errorf("after the kill: %+v, %v", c, err)
	}
	if now, err := os.ReadFile(r.engine.pidFile()); err != nil || string(now) == string(b) {
		t.Errorf("containerd is still %s (%v)", now, err)
	}
}

// TestSupervisorKilled: without its supervisor a container's limits do not hold,
// so it must not run: whoever looks first ends it.
func TestSupervisorKilled(t *testing.T) {
	need(t)
	r := newRuntime(t)
	defer r.Close()
	task, run := begin(t, r, probeImage(t), "stubborn")
	s, err := readState(run)
	if err != nil {
		t.Fatal(err)
	}
	if err := syscall.Kill(s.PID, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	first, err := task.Wait(context.Background())
	if err != nil || first.Reason != compute.ReasonCrashed || !first.Reason.ProvidersFault() {
		t.Errorf("result %+v, %v", first, err)
	}
	nothingLeft(t, run)
	if again := recovered(t, newRuntime(t), run); again.Reason != first.Reason || again.Message != first.Message {
		t.Errorf("looked at again: %+v", again)
	}
}

// TestSweep: the same while no provider lives; the next one ends it.
func TestSweep(t *testing.T) {
	need(t)
	run := orphan(t, probeImage(t), "stubborn", "1m")
	s, err := readState(run)
	if err != nil {
		t.Fatal(err)
	}
	if err := syscall.Kill(s.PID, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	gone(t, run)
	r := newRuntime(t)
	defer r.Close()
	if _, err := os.Stat(filepath.Join(s.OCI.Root, s.Container)); err == nil {
		t.Error("the container is still there")
	}
	if got := recovered(t, r, run); got.Reason != compute.ReasonCrashed {
		t.Errorf("result %+v", got)
	}
	nothingLeft(t, run)
}

// TestStartCancelled: wherever a start is interrupted, nothing runs and nothing
// is left.
func TestStartCancelled(t *testing.T) {
	need(t)
	r := newRuntime(t).(*Runtime)
	defer r.Close()
	dir := t.TempDir()
	p, err := r.Prepare(context.Background(), compute.Spec{Dir: dir, Program: probeImage(t), Args: []string{"spin"}})
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	started := 0
	for i := range 25 {
		ctx, cancel := context.WithTimeout(context.Background(), time.Duration(i)*5*time.Millisecond)
		run := compute.Run{ID: "x", Dir: filepath.Join(dir, strconv.Itoa(i))}
		task, err := r.Start(ctx, p, run)
		cancel()
		if err == nil {
			started++
			if err := task.Stop(context.Background(), 0); err != nil {
				t.Fatal(err)
			}
			continue
		}
		if !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("after %d steps: %v", i, err)
		}
		if _, err := r.Recover(context.Background(), run); !errors.Is(err, compute.ErrNotFound) {
			t.Errorf("after %d steps there is a task: %v", i, err)
		}
	}
	t.Logf("%d of 25 were quick enough to start", started)
	left, err := os.ReadDir(r.oci.Root)
	if err != nil || len(left) > 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
	locks, err := os.ReadDir(r.engine.locks())
	if err != nil || len(locks) > 0 {
		t.Errorf("locks left behind: %v, %v", locks, err)
	}
}

// TestLost: a task whose machine went down says so, and claims no process that
// has its number now.
func TestLost(t *testing.T) {
	need(t)
	r := newRuntime(t).(*Runtime)
	defer r.Close()
	me, err := taskrecord.Identify(os.Getpid())
	if err != nil {
		t.Fatal(err)
	}
	for name, s := range map[string]state{
		"reboot":     {Process: taskrecord.Process{PID: me.PID, Boot: "another boot"}},
		"pid reused": {Process: taskrecord.Process{PID: me.PID, Boot: me.Boot, Born: 1}},
	} {
		t.Run(name, func(t *testing.T) {
			s.ID, s.Container, s.OCI, s.Started = "x", "moyai-none", r.oci, time.Now()
			run := compute.Run{ID: "x", Dir: t.TempDir()}
			if err := taskrecord.Write(run.Dir, supervise.StateFile, s); err != nil {
				t.Fatal(err)
			}
			if got := recovered(t, r, run); !got.Reason.ProvidersFault() || got.Message == "" {
				t.Errorf("result %+v", got)
			}
		})
	}
}
