//go:build linux

package docker

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/moby/moby/client"

	"github.com/moyai-network/moyai/compute"
	"github.com/moyai-network/moyai/compute/internal/filelock"
)

// provider starts a task and waits to be killed.
func provider(dir string) error {
	timeout, err := time.ParseDuration(os.Getenv("MOYAI_TEST_TIMEOUT"))
	if err != nil {
		return err
	}
	r, err := New(Config{Home: os.Getenv("MOYAI_TEST_HOME"), Socket: os.Getenv(socketEnv), Worker: os.Getenv("MOYAI_TEST_WORKER"), Supervisor: os.Getenv("MOYAI_TEST_SUPERVISOR")})
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
	dir, c := t.TempDir(), config(t, filepath.Join(home, "images"))
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), helperEnv+"="+dir, socketEnv+"="+c.Socket, "MOYAI_TEST_HOME="+c.Home, "MOYAI_TEST_WORKER="+c.Worker, "MOYAI_TEST_SUPERVISOR="+c.Supervisor,
		"MOYAI_TEST_IMAGE="+image, "MOYAI_TEST_ARGS="+args, "MOYAI_TEST_TIMEOUT="+timeout)
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
	return compute.Run{ID: "orphan", Dir: filepath.Join(dir, "task")}
}

func recovered(t *testing.T, r compute.Runtime, run compute.Run) compute.Result {
	t.Helper()
	task, err := r.Recover(context.Background(), run)
	if err != nil {
		t.Fatal(err)
	}
	return ended(t, task)
}

func ended(t *testing.T, task compute.Task) compute.Result {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	result, err := task.Wait(ctx)
	if err != nil {
		t.Fatal(err, task.Stop(context.Background(), 0))
	}
	return result
}

// gone waits until nobody stands over a task any more.
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
			r := newIn(t, filepath.Join(home, "images"))
			defer r.Close()
			if got := recovered(t, r, run); got.Reason != tc.want {
				t.Errorf("result %+v, want %v", got, tc.want)
			}
			nothingLeft(t, r, run)
		})
	}
}

// nothingLeft looks for what a container leaves when it is not cleared away.
func nothingLeft(t *testing.T, r *Runtime, run compute.Run) {
	t.Helper()
	s, err := readState(run)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(s.Lock); err == nil {
		t.Errorf("%s is left behind", s.Lock)
	}
	if c, err := r.engine.ContainerInspect(context.Background(), s.Docker, client.ContainerInspectOptions{}); !notFound(err) {
		t.Errorf("the container is left behind: %+v, %v", c.Container.State, err)
	}
}
