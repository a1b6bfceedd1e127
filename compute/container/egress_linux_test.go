package container

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/moyai-network/moyai/compute"
	"github.com/moyai-network/moyai/compute/egress"
	"github.com/moyai-network/moyai/compute/runtimetest"
)

// withEgress starts a task with egress and returns the pids of its supervisor and
// of its gateway.
func withEgress(t *testing.T, r compute.Runtime) (task compute.Task, run compute.Run, supervisor, gateway int) {
	t.Helper()
	dir := t.TempDir()
	p, err := r.Prepare(context.Background(), compute.Spec{
		Dir: dir, Program: probeImage(t), Args: []string{"sleep", "1h"}, Limits: compute.Limits{MemoryBytes: 64 << 20, Timeout: time.Hour},
		Egress: &compute.Egress{Policies: make([]egress.Policy, 1), Bytes: 1, Ledger: filepath.Join(dir, "ledger"), Log: filepath.Join(dir, "log"), LogBytes: compute.MinEgressLog},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { p.Close() })
	run = compute.Run{ID: "x", Dir: filepath.Join(dir, "x")}
	if task, err = r.Start(context.Background(), p, run); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = task.Stop(context.Background(), 0) })
	s, err := readState(run)
	if err != nil {
		t.Fatal(err)
	}
	for _, pid := range childrenOf(t, s.PID) {
		if name, err := os.ReadFile(fmt.Sprintf("/proc/%d/comm", pid)); err == nil && string(name) == "moyai-egress\n" {
			return task, run, s.PID, pid
		}
	}
	t.Fatal("no gateway beside the container")
	return nil, run, 0, 0
}

func childrenOf(t *testing.T, pid int) (out []int) {
	t.Helper()
	threads, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", pid))
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range threads {
		b, _ := os.ReadFile(path)
		for word := range strings.FieldsSeq(string(b)) {
			if n, err := strconv.Atoi(word); err == nil {
				out = append(out, n)
			}
		}
	}
	return out
}

// network names the network namespace of a process.
func network(t *testing.T, pid int) string {
	t.Helper()
	name, err := os.Readlink(fmt.Sprintf("/proc/%d/ns/net", pid))
	if err != nil {
		t.Fatal(err)
	}
	return name
}

// inNetwork lists the processes of a network namespace.
func inNetwork(t *testing.T, name string) (out []string) {
	t.Helper()
	links, err := filepath.Glob("/proc/[0-9]*/ns/net")
	if err != nil {
		t.Fatal(err)
	}
	for _, link := range links {
		if got, err := os.Readlink(link); err == nil && got == name {
			out = append(out, link)
		}
	}
	return out
}

func gonePID(t *testing.T, pid int) {
	t.Helper()
	for end := time.Now().Add(time.Minute); time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
		if stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid)); err != nil || strings.Contains(string(stat), ") Z ") {
			return
		}
	}
	t.Fatalf("process %d still runs", pid)
}

// TestEgressKilled: whoever is killed, nothing is left: no gateway, no namespace,
// no device.
func TestEgressKilled(t *testing.T) {
	need(t)
	for _, tc := range []struct {
		name string
		kill func(supervisor, gateway int) error
		want string // part of the result's message
	}{
		{"the gateway", func(_, gateway int) error { return syscall.Kill(gateway, syscall.SIGKILL) }, "what carried the container's network ended"},
		{"the supervisor", func(supervisor, _ int) error { return syscall.Kill(supervisor, syscall.SIGKILL) }, "what stood over the container was killed"},
		{"both", func(supervisor, gateway int) error {
			_ = syscall.Kill(supervisor, syscall.SIGSTOP) // so that it cannot clear up
			_ = syscall.Kill(gateway, syscall.SIGKILL)
			return syscall.Kill(supervisor, syscall.SIGKILL)
		}, "what stood over the container was killed"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			r := newRuntime(t)
			defer r.Close()
			task, run, supervisor, gateway := withEgress(t, r)
			s, err := readState(run)
			if err != nil {
				t.Fatal(err)
			}
			inside := network(t, s.Init.PID)
			if inside == network(t, gateway) {
				t.Fatalf("the container is in %q, the gateway too", inside)
			}
			if err := tc.kill(supervisor, gateway); err != nil {
				t.Fatal(err)
			}
			result, err := task.Wait(context.Background())
			if err != nil || result.Reason != compute.ReasonCrashed || !strings.Contains(result.Message, tc.want) {
				t.Errorf("result %+v, %v, want %q", result, err, tc.want)
			}
			gonePID(t, gateway)
			nothingLeft(t, run)
			if left := inNetwork(t, inside); len(left) > 0 {
				t.Errorf("left in the container's network: %v", left)
			}
		})
	}
}

// TestEgressGatewayWalls looks at a gateway from outside: it is nobody, without
// powers, behind a filter.
func TestEgressGatewayWalls(t *testing.T) {
	need(t)
	r := newRuntime(t)
	defer r.Close()
	_, _, supervisor, gateway := withEgress(t, r)
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", gateway))
	if err != nil {
		t.Fatal(err)
	}
	field := func(pid int, name string) string {
		b, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
		if err != nil {
			t.Fatal(err)
		}
		for line := range strings.Lines(string(b)) {
			if key, value, _ := strings.Cut(line, ":"); key == name {
				return strings.TrimSpace(value)
			}
		}
		return ""
	}
	uids := strings.Fields(field(gateway, "Uid"))
	if uid, err := strconv.Atoi(uids[0]); err != nil || uid < 1<<30 || len(slices.Compact(uids)) != 1 {
		t.Errorf("it is user %v (%v)", uids, err)
	}
	for name, want := range map[string]string{"CapEff": "0000000000000000", "CapPrm": "0000000000000000", "Seccomp": "2", "NoNewPrivs": "1", "Groups": ""} {
		if got := field(gateway, name); got != want {
			t.Errorf("%s is %q, want %q: %s", name, got, want, status)
		}
	}
	t.Logf("resident: supervisor %s, gateway %s", field(supervisor, "VmRSS"), field(gateway, "VmRSS"))
	_, _, plain := plainTask(t, r)
	t.Logf("resident: supervisor of a container without egress %s", field(plain, "VmRSS"))
}

func plainTask(t *testing.T, r compute.Runtime) (compute.Task, compute.Run, int) {
	t.Helper()
	task, run := begin(t, r, probeImage(t), "sleep", "1h")
	s, err := readState(run)
	if err != nil {
		t.Fatal(err)
	}
	return task, run, s.PID
}

// TestEgressWithoutGateway: what cannot be given is refused by name.
func TestEgressWithoutGateway(t *testing.T) {
	need(t)
	r := newIn(t, home)
	defer r.Close()
	r.config.Gateway = ""
	dir := t.TempDir()
	_, err := r.Prepare(context.Background(), compute.Spec{Dir: dir, Program: probeImage(t),
		Egress: &compute.Egress{Policies: make([]egress.Policy, 1), Bytes: 1, Ledger: dir + "/l", Log: dir + "/e", LogBytes: compute.MinEgressLog}})
	if err == nil || !strings.Contains(err.Error(), "moyai-egress") {
		t.Errorf("got %v", err)
	}
	c, err := r.Probe(context.Background())
	if err != nil || slices.Contains(c.Enforced, Egress) || !slices.ContainsFunc(c.Missing, func(s string) bool { return strings.Contains(s, "moyai-egress") }) {
		t.Errorf("%+v, %v", c, err)
	}
	r.config.Gateway = runtimetest.BuildGateway(t)
	if c, err = r.Probe(context.Background()); err != nil || !slices.Contains(c.Enforced, Egress) {
		t.Errorf("%+v, %v", c, err)
	}
}
