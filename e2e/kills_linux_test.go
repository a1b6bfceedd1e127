package e2e

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/moyai-network/moyai/client"
	"github.com/moyai-network/moyai/client/chain"
	"github.com/moyai-network/moyai/devnet"
	"github.com/moyai-network/moyai/mechanism/amount"
	"github.com/moyai-network/moyai/provider"
)

// killsSeed fixes when what is killed: MOYAI_TEST_SEED does it again.
func killsSeed(t *testing.T) uint64 {
	t.Helper()
	seed := uint64(time.Now().UnixNano())
	if s := os.Getenv("MOYAI_TEST_SEED"); s != "" {
		var err error
		if seed, err = strconv.ParseUint(s, 10, 64); err != nil {
			t.Fatal(err)
		}
	}
	t.Logf("MOYAI_TEST_SEED=%d", seed)
	return seed
}

// TestKilledUnderLoad kills the only provider and its containerd, again and again
// and at random times, while three tenants have it run containers. Every job's
// result is right; no lease is billed for more than its job took, or twice; and
// when all is over nothing of a container is left.
func TestKilledUnderLoad(t *testing.T) {
	slow(t, "kills processes for a minute")
	if ok, why := containers(); !ok {
		t.Skip(why)
	}
	const (
		tenants = 3
		under   = time.Minute // the time of killing
	)
	rng := rand.New(rand.NewPCG(killsSeed(t), 0))
	archive := image(t)
	n := ownNetwork(t, devnet.ProviderSpec{
		Name: "alice", Prices: []string{"cpu=0.018MOY/h"}, CPUMilli: tenants * 1000, MemoryBytes: 1 << 30, Containers: true,
	})
	marks := &traces{n: n, seen: map[string]bool{}}
	alice := byName(t, n, "alice")
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Minute)
	defer cancel()
	calm := make(chan struct{})
	var l ledger
	var wg sync.WaitGroup
	xs := make([]*tenant, tenants)
	for i := range xs {
		xs[i] = newTenant(t, n, 100*moy)
		wg.Go(func() {
			for k := 0; ; k++ {
				l.run(ctx, t, xs[i], client.Job{
					Module: archive, Args: []string{"tick", "30", "100ms"}, MemoryBytes: 64 << 20, Timeout: time.Minute,
					MaxPrice: price(t, "0.05MOY/h"), Output: filepath.Join(t.TempDir(), fmt.Sprint(k)),
				})
				select {
				case <-calm:
					return
				case <-ctx.Done():
					return
				case <-time.After(200 * time.Millisecond): // nobody may bid just now
				}
			}
		})
	}
	kills := map[string]int{}
	for end := time.Now().Add(under); time.Now().Before(end); {
		time.Sleep(time.Duration(rng.Int64N(int64(5 * time.Second))))
		marks.look(t)
		if rng.IntN(3) == 0 {
			if killEngine(t, n) {
				kills["containerd"]++
			}
			continue
		}
		alice.Kill()
		kills["provider"]++
		time.Sleep(time.Duration(rng.Int64N(int64(time.Second))))
		if rng.IntN(2) == 0 && killEngine(t, n) {
			kills["both"]++
		}
		if err := alice.Start(); err != nil {
			t.Fatal(err)
		}
	}
	close(calm)
	wg.Wait()
	t.Logf("killed %v; %d jobs done, %d begun in vain", kills, l.done, l.vain)
	if l.done == 0 || kills["provider"] == 0 {
		t.Fatalf("nothing was tried")
	}
	for _, x := range xs {
		free(t, n, x.address)
	}
	compare(t, n, alice, xs)
	if len(marks.seen) == 0 {
		t.Fatal("no container was ever seen")
	}
	var left []string
	for end := time.Now().Add(patience); time.Now().Before(end); time.Sleep(100 * time.Millisecond) {
		if left = marks.left(t); len(left) == 0 {
			return
		}
	}
	t.Errorf("left of %d containers:\n%s", len(marks.seen), strings.Join(left, "\n"))
}

// ledger is what the tenants of a test were billed.
type ledger struct {
	mu         sync.Mutex
	done, vain int
	leases     map[string]bool
}

// run does a job and looks at what came of it. That nobody bids, or that a lease
// comes to nothing, is what a machine that was just killed must be forgiven.
func (l *ledger) run(ctx context.Context, t *testing.T, x *tenant, job client.Job) {
	begun := time.Now()
	var res *client.Result
	h, err := x.Run(ctx, job)
	if err == nil {
		res, err = h.Wait(ctx)
	}
	took := time.Since(begun)
	l.mu.Lock()
	defer l.mu.Unlock()
	if res != nil {
		l.book(t, res, took)
	}
	switch {
	case errors.Is(err, client.ErrNoBid), errors.Is(err, client.ErrNoProviders), errors.Is(err, client.ErrNotOpened):
		l.vain++
	case err != nil:
		t.Errorf("a job did not survive: %v", err)
	default:
		l.done++
		if got, err := os.ReadFile(filepath.Join(job.Output, "ticks")); err != nil || string(got) != "30\n" {
			t.Errorf("a result says %q (%v)", got, err)
		}
	}
}

// book adds up a job's leases.
func (l *ledger) book(t *testing.T, res *client.Result, took time.Duration) {
	if l.leases == nil {
		l.leases = map[string]bool{}
	}
	var billed uint64
	for _, lease := range res.Leases {
		if l.leases[lease.ID] {
			t.Errorf("lease %s was in two jobs", lease.ID)
		}
		l.leases[lease.ID] = true
		billed += lease.BilledMS
	}
	// One task at a time: all leases together cannot have had more than it took.
	if billed > uint64(took.Milliseconds()) {
		t.Errorf("a job of %s is billed %d ms: %+v", took, billed, res.Leases)
	}
}

// compare holds the provider's books against the chain's: each lease settled, and
// counted, once.
func compare(t *testing.T, n *devnet.Network, p *devnet.Provider, xs []*tenant) {
	t.Helper()
	var paid amount.Amount
	parts := map[string]string{} // of the provider, by lease
	for _, x := range xs {
		leases, err := n.Chain().Leases(deadline(t, patience), chain.LeaseFilter{Payer: x.address})
		if err != nil {
			t.Fatal(err)
		}
		for _, l := range leases {
			part, err := amount.Parse(settlement(t, n, l.Id).Provider)
			if err == nil {
				paid, err = paid.Add(part)
			}
			if err != nil {
				t.Fatal(err)
			}
			parts[hex.EncodeToString(l.Id)] = part.String()
		}
	}
	if err := p.AwaitReady(deadline(t, patience)); err != nil {
		t.Fatal(err)
	}
	var s *provider.Status
	for end := time.Now().Add(patience); time.Now().Before(end); time.Sleep(100 * time.Millisecond) {
		var err error
		if s, err = p.Status(deadline(t, patience)); err != nil {
			t.Fatal(err)
		}
		if len(s.Totals) == 1 && s.Totals[0].Leases == uint64(len(parts)) && s.Totals[0].Provider == paid {
			t.Logf("%d leases, %s umoy paid", len(parts), paid)
			return
		}
	}
	t.Errorf("the provider books %+v, the chain paid %s for %d leases", s.Totals, paid, len(parts))
	for _, l := range s.Leases {
		if parts[l.ID] != l.Earned.String() || !l.Paid {
			t.Errorf("lease %s: %+v, the chain paid %s", l.ID, l, parts[l.ID])
		}
		delete(parts, l.ID)
	}
	t.Errorf("not among those that the provider lists: %v", parts)
}

// traces remembers which containers there were.
type traces struct {
	n    *devnet.Network
	seen map[string]bool
}

// look notes the containers that are there now.
func (tr *traces) look(t *testing.T) {
	t.Helper()
	for _, kind := range []string{"runc", "tasks"} {
		list, err := os.ReadDir(filepath.Join(engineRun(t, tr.n), kind))
		if err != nil {
			continue // no engine yet
		}
		for _, e := range list {
			tr.seen[e.Name()] = true
		}
	}
}

// left is what there still is of them: states, locks, groups, mounts, processes.
func (tr *traces) left(t *testing.T) (left []string) {
	t.Helper()
	run := engineRun(t, tr.n)
	for id := range tr.seen {
		for _, pattern := range []string{filepath.Join(run, "runc", id), filepath.Join(run, "tasks", id), "/sys/fs/cgroup/*/moyai/" + id, "/sys/fs/cgroup/moyai/" + id} {
			found, err := filepath.Glob(pattern)
			if err != nil {
				t.Fatal(err)
			}
			left = append(left, found...)
		}
	}
	mounts, err := filepath.Glob("/proc/[0-9]*/mountinfo")
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range append(mounts, "/proc/self/mountinfo") {
		b, err := os.ReadFile(path)
		if err == nil && strings.Contains(string(b), tr.n.Dir()+"/") {
			left = append(left, "mounts in "+path)
		}
	}
	streams, err := filepath.Glob("/proc/[0-9]*/fd/2")
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range streams {
		if to, err := os.Readlink(path); err == nil && strings.HasPrefix(to, tr.n.Dir()+"/") && strings.HasSuffix(to, "/supervisor.log") {
			left = append(left, path+" → "+to)
		}
	}
	return left
}

// engineRun is the volatile folder of the network's containerd.
func engineRun(t *testing.T, n *devnet.Network) string {
	t.Helper()
	configs, err := filepath.Glob("/run/moyai/*/containerd.toml")
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range configs {
		b, err := os.ReadFile(path)
		if err == nil && strings.Contains(string(b), n.Dir()+"/") {
			return filepath.Dir(path)
		}
	}
	return ""
}

// killEngine kills the network's containerd, if one runs.
func killEngine(t *testing.T, n *devnet.Network) bool {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(engineRun(t, n), "containerd.pid"))
	if err != nil {
		return false
	}
	pid, err := strconv.Atoi(strings.TrimSpace(string(b)))
	if err != nil {
		return false // being written
	}
	line, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
	if err != nil || !strings.Contains(string(line), engineRun(t, n)) {
		return false
	}
	return syscall.Kill(pid, syscall.SIGKILL) == nil
}
