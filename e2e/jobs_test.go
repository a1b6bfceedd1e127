package e2e

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/moyai-network/moyai/client"
	"github.com/moyai-network/moyai/mechanism/amount"
	"github.com/moyai-network/moyai/provider"
	"github.com/moyai-network/moyai/provider/leasing"
)

// job runs the guest with some arguments under ordinary terms.
func (x *tenant) job(t testing.TB, args ...string) client.Job {
	t.Helper()
	return client.Job{
		Module: guest(t), Args: args, MemoryBytes: 128 << 20, Timeout: 5 * time.Minute, MaxPrice: price(t, "0.05MOY/h"),
	}
}

// mustRun runs a job to its end; it must succeed.
func (x *tenant) mustRun(t testing.TB, job client.Job) *client.Result {
	t.Helper()
	h, err := x.Run(deadline(t, 2*patience), job)
	if err != nil {
		t.Fatalf("run: %v", err)
	}
	res, err := h.Wait(deadline(t, 2*patience))
	if err != nil {
		t.Fatalf("wait: %v (%+v)", err, res)
	}
	return res
}

// output runs a job and returns what it wrote to its standard streams together.
func (x *tenant) output(t testing.TB, job client.Job) (string, *client.Result, error) {
	t.Helper()
	var out strings.Builder
	var mu sync.Mutex
	job.Events = func(e client.Event) {
		if e.Kind == client.EventLog {
			mu.Lock()
			defer mu.Unlock()
			out.Write(e.Data)
		}
	}
	h, err := x.Run(deadline(t, 2*patience), job)
	if err != nil {
		t.Fatalf("run: %v", err)
	}
	res, err := h.Wait(deadline(t, 2*patience))
	mu.Lock()
	defer mu.Unlock()
	return out.String(), res, err
}

// collect writes warnings into a builder and every event into the test's log.
func collect(t testing.TB, warnings *strings.Builder) func(client.Event) {
	return func(e client.Event) {
		if e.Kind == client.EventWarning {
			fmt.Fprintln(warnings, e.Text)
		}
		if e.Kind != client.EventReceipt && e.Kind != client.EventLog {
			t.Logf("%s %s %s %s", e.Kind, e.Moniker, e.Lease, e.Text)
		}
	}
}

// settledAt tells whether a provider counts a lease among those that are over.
func settledAt(s *provider.Status, id string) bool {
	for _, l := range s.Leases {
		if l.ID == id {
			return l.Chain == leasing.ChainClosed.String()
		}
	}
	return false
}

func writeFile(t testing.TB, path, content string) string {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
		t.Fatal(err)
	}
	return path
}

func readFile(t testing.TB, path string) string {
	t.Helper()
	raw, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(raw)
}

// TestJob runs a program on a stranger's machine with everything a program can
// be given, and looks where the money went.
func TestJob(t *testing.T) {
	n := network(t)
	x := newTenant(t, n, 10*moy)
	before := x.balance(t)
	dir := t.TempDir()
	writeFile(t, filepath.Join(dir, "data", "a.txt"), "one")
	writeFile(t, filepath.Join(dir, "data", "sub", "b.txt"), "two")
	single := writeFile(t, filepath.Join(dir, "single"), "three")
	job := x.job(t, "tree", "/in")
	job.Inputs = []client.Input{{Name: "folder", Path: filepath.Join(dir, "data")}, {Name: "file", Path: single}}
	out, res, err := x.output(t, job)
	if err != nil {
		t.Fatal(err)
	}
	if want := "/in/file: three\n/in/folder/a.txt: one\n/in/folder/sub/b.txt: two\n"; out != want {
		t.Errorf("the program saw %q, want %q", out, want)
	}
	if len(res.Leases) != 1 || res.Leases[0].State != "closed" || res.Leases[0].CloseReason != "completed" {
		t.Fatalf("leases: %+v", res.Leases)
	}
	// The cheapest was chosen: alice.
	l := res.Leases[0]
	if l.Moniker != "alice" {
		t.Errorf("%s got the job, alice is cheaper", l.Moniker)
	}
	// What was locked was paid out to the last unit.
	parts := []string{l.Paid, l.Burned, l.Pool, l.Refunded}
	sum := amount.Amount{}
	for _, p := range parts {
		a, err := amount.Parse(p)
		if err != nil {
			t.Fatalf("amount %q: %v", p, err)
		}
		if sum, err = sum.Add(a); err != nil {
			t.Fatal(err)
		}
	}
	if hold, err := amount.Parse(l.Hold); err != nil || sum != hold {
		t.Errorf("%v add up to %s, the hold was %s (%v)", parts, sum, l.Hold, err)
	}
	free(t, n, x.address)
	if after := x.balance(t); after.Cmp(before) >= 0 {
		t.Errorf("owned %s, now %s: nothing was paid", before, after)
	}
}

// TestJobStreams passes standard input in, environment in, results out and exit
// codes through.
func TestJobStreams(t *testing.T) {
	n := network(t)
	x := newTenant(t, n, 10*moy)
	t.Run("stdin", func(t *testing.T) {
		job := x.job(t, "cat")
		text := strings.Repeat("a line of input\n", 10_000)
		job.Stdin = strings.NewReader(text)
		out, _, err := x.output(t, job)
		if err != nil {
			t.Fatal(err)
		}
		if out != text {
			t.Errorf("%d bytes came back of %d", len(out), len(text))
		}
	})
	t.Run("environment", func(t *testing.T) {
		job := x.job(t, "env", "COLOUR", "HOME", "MOYAI_INDEX")
		job.Env = map[string]string{"COLOUR": "green"}
		out, _, err := x.output(t, job)
		if err != nil {
			t.Fatal(err)
		}
		if !strings.HasPrefix(out, "COLOUR=green\nHOME=\n") {
			t.Errorf("environment: %q", out)
		}
	})
	t.Run("exit code", func(t *testing.T) {
		_, res, err := x.output(t, x.job(t, "exit", "42"))
		if !errors.Is(err, client.ErrFailed) {
			t.Errorf("error %v, want ErrFailed", err)
		}
		if res.ExitCode() != 42 || res.Tasks[0].Attempts != 1 {
			t.Errorf("exit code %d after %d attempts, want 42 after one: a program's own failure is not the provider's", res.ExitCode(), res.Tasks[0].Attempts)
		}
	})
	t.Run("results", func(t *testing.T) {
		job := x.job(t, "copy", "/in/in", "/out/copy")
		dir := t.TempDir()
		job.Inputs = []client.Input{{Name: "in", Path: writeFile(t, filepath.Join(dir, "in"), "content")}}
		job.Output = filepath.Join(dir, "result")
		res := x.mustRun(t, job)
		if got := readFile(t, filepath.Join(job.Output, "copy")); got != "content" {
			t.Errorf("result %q", got)
		}
		if !res.Tasks[0].Fetched {
			t.Error("the result says that nothing was fetched")
		}
	})
	free(t, n, x.address)
}

// TestJobLimits runs programs that take more than they may. Each ends alone,
// with a reason that the tenant reads, and is paid for what it used.
func TestJobLimits(t *testing.T) {
	n := network(t)
	x := newTenant(t, n, 10*moy)
	for _, tc := range []struct {
		name, reason string
		args         []string
		change       func(*client.Job)
	}{
		{"memory", "memory", []string{"hog"}, func(j *client.Job) { j.MemoryBytes = 32 << 20 }},
		{"output", "output-limit", []string{"fill", "/out/big", "10000000"}, func(j *client.Job) { j.OutputBytesMax = 1 << 20 }},
		{"log", "log-limit", []string{"say", strings.Repeat("x", 4000)}, func(j *client.Job) { j.LogBytesMax = 1000 }},
		{"time", "deadline", []string{"spin"}, func(j *client.Job) { j.TaskTimeout = 1500 * time.Millisecond }},
	} {
		t.Run(tc.name, func(t *testing.T) {
			job := x.job(t, tc.args...)
			tc.change(&job)
			_, res, err := x.output(t, job)
			if !errors.Is(err, client.ErrFailed) {
				t.Errorf("error %v, want ErrFailed", err)
			}
			k := res.Tasks[0]
			t.Logf("%s: %s", k.Reason, k.Error)
			if k.Reason != tc.reason || k.Error == "" {
				t.Errorf("ended as %q (%q), want %q with an explanation", k.Reason, k.Error, tc.reason)
			}
		})
	}
	free(t, n, x.address)
}

// TestArrayJob deals parts to two providers and brings all of them home.
func TestArrayJob(t *testing.T) {
	n := network(t)
	x := newTenant(t, n, 10*moy)
	job := x.job(t, "part", "50ms", "2")
	job.Array = &client.Array{First: 5, Last: 16, Parallel: 3}
	job.Output = filepath.Join(t.TempDir(), "parts")
	res := x.mustRun(t, job)
	if len(res.Tasks) != 12 {
		t.Fatalf("%d tasks", len(res.Tasks))
	}
	for i := 5; i <= 16; i++ {
		if got := readFile(t, filepath.Join(job.Output, fmt.Sprint(i), "part")); got != fmt.Sprintf("%d\n", i) {
			t.Errorf("part %d says %q", i, got)
		}
	}
	used := map[string]bool{}
	for _, l := range res.Leases {
		used[l.Provider] = true
	}
	if len(res.Leases) != 3 || len(used) != 2 {
		t.Errorf("%d leases with %d providers, want 3 with 2", len(res.Leases), len(used))
	}
	free(t, n, x.address)
}

// TestDetach leaves a job to itself and comes back as another process.
func TestDetach(t *testing.T) {
	n := network(t)
	x := newTenant(t, n, 10*moy)
	job := x.job(t, "tick", "30", "100ms")
	job.Output = filepath.Join(t.TempDir(), "result")
	h, err := x.Run(deadline(t, patience), job)
	if err != nil {
		t.Fatal(err)
	}
	id := h.JobID()
	if err := h.Detach(deadline(t, patience)); err != nil {
		t.Fatalf("detach: %v", err)
	}
	if _, err := h.Wait(deadline(t, patience)); !errors.Is(err, client.ErrDetached) {
		t.Errorf("wait after detach: %v, want ErrDetached", err)
	}
	later := newClient(t, n, x.home)
	leases, err := later.Leases(deadline(t, patience), true)
	if err != nil || len(leases) != 1 {
		t.Fatalf("leases of the home: %+v, %v", leases, err)
	}
	var out strings.Builder
	err = later.Logs(deadline(t, patience), id[:8], true, func(e client.Event) {
		if e.Kind == client.EventLog {
			out.Write(e.Data)
		}
	})
	if err != nil {
		t.Errorf("logs: %v", err)
	}
	if !strings.Contains(out.String(), "tick 0\n") || !strings.Contains(out.String(), "tick 29\n") {
		t.Errorf("logs from elsewhere have %q", out.String())
	}
	res, err := later.Wait(deadline(t, patience), id, nil)
	if err != nil {
		t.Fatalf("wait from elsewhere: %v", err)
	}
	if got := readFile(t, filepath.Join(job.Output, "ticks")); got != "30\n" {
		t.Errorf("result %q", got)
	}
	if len(res.Leases) != 1 {
		t.Errorf("%d leases", len(res.Leases))
	}
	free(t, n, x.address)
}

// TestStop ends a job early: what was used is paid, the rest comes back.
func TestStop(t *testing.T) {
	n := network(t)
	x := newTenant(t, n, 10*moy)
	started := make(chan struct{})
	var once sync.Once
	job := x.job(t, "tick", "6000", "100ms")
	job.Events = func(e client.Event) {
		if e.Kind == client.EventLog {
			once.Do(func() { close(started) })
		}
	}
	h, err := x.Run(deadline(t, patience), job)
	if err != nil {
		t.Fatal(err)
	}
	select {
	case <-started:
	case <-time.After(patience):
		t.Fatal("it did not start")
	}
	res, err := stop(t, h)
	if err != nil && !errors.Is(err, client.ErrFailed) {
		t.Fatalf("stop: %v", err)
	}
	free(t, n, x.address)
	if len(res.Leases) != 1 {
		t.Fatalf("leases: %+v", res.Leases)
	}
	if l, err := x.Lease(context.Background(), res.Leases[0].ID); err != nil || l.Refunded == "0" || l.BilledMS == 0 {
		t.Errorf("lease after stop: %+v, %v", l, err)
	}
}
