package e2e

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/moyai-network/moyai/client"
	"github.com/moyai-network/moyai/client/chain"
	"github.com/moyai-network/moyai/devnet"
	"github.com/moyai-network/moyai/mechanism/amount"
)

// spec is a provider of a network that a test breaks.
func spec(name, cpu string) devnet.ProviderSpec {
	return devnet.ProviderSpec{Name: name, Prices: []string{"cpu=" + cpu + "MOY/h"}, CPUMilli: 2000, MemoryBytes: 1 << 30}
}

// diary collects a job's events; tests wait for one of them.
type diary struct {
	mu     sync.Mutex
	events []client.Event
	log    strings.Builder // standard output and error
}

func (d *diary) take(e client.Event) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if e.Kind == client.EventLog {
		d.log.Write(e.Data)
		return
	}
	d.events = append(d.events, e)
}

func (d *diary) text() string {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.log.String()
}

// find is the first event that fits; ok is false while there is none.
func (d *diary) find(fits func(client.Event) bool) (e client.Event, ok bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, e := range d.events {
		if fits(e) {
			return e, true
		}
	}
	return e, false
}

// dump logs what happened, for a test that failed.
func (d *diary) dump(t testing.TB) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, e := range d.events {
		if e.Kind != client.EventReceipt {
			t.Logf("%s %s %s %s task %d: %s", e.Time.Format("05.000"), e.Kind, e.Moniker, e.Lease, e.Task, e.Text)
		}
	}
}

func byName(t testing.TB, n *devnet.Network, name string) *devnet.Provider {
	t.Helper()
	for _, p := range n.Providers {
		if p.Name == name {
			return p
		}
	}
	t.Fatalf("no provider %s", name)
	return nil
}

// TestProviderKilledMidJob kills one of two providers, as a power cut would,
// while it works on an array job. The job finishes elsewhere with every part in
// place; the dead provider, when it comes back, finds its lease and settles.
func TestProviderKilledMidJob(t *testing.T) {
	slow(t, "kills a process")
	n := ownNetwork(t, spec("alice", "0.018"), spec("bob", "0.02"))
	x := newTenant(t, n, 100*moy)
	var d diary
	defer func() {
		if t.Failed() {
			d.dump(t)
		}
	}()
	job := x.job(t, "part", "100ms", "8")
	job.Array = &client.Array{First: 0, Last: 15, Parallel: 2}
	job.Output = filepath.Join(t.TempDir(), "parts")
	job.Events = d.take
	h, err := x.Run(deadline(t, 2*patience), job)
	if err != nil {
		t.Fatal(err)
	}
	alice := byName(t, n, "alice")
	eventually(t, 2*patience, "alice to have been paid for something and to work on", func() bool {
		paid, ok := d.find(func(e client.Event) bool {
			return e.Kind == client.EventReceipt && e.Moniker == "alice" && e.MS >= 1000
		})
		if !ok {
			return false
		}
		_, ok = d.find(func(e client.Event) bool {
			return e.Kind == client.EventDealt && e.Moniker == "alice" && e.Time.After(paid.Time)
		})
		return ok
	})
	alice.CutPower()
	t.Log("alice is dead")
	res, err := h.Wait(deadline(t, 5*patience))
	if err != nil {
		t.Fatalf("the job did not survive: %v", err)
	}
	for i := range 16 {
		if got := readFile(t, filepath.Join(job.Output, fmt.Sprint(i), "part")); got != fmt.Sprintf("%d\n", i) {
			t.Errorf("part %d says %q", i, got)
		}
	}
	if _, ok := d.find(func(e client.Event) bool { return e.Kind == client.EventRetry }); !ok {
		t.Error("no part was retried")
	}
	free(t, n, x.address)
	var lost client.LeaseReport
	for _, l := range res.Leases {
		if l.Provider == alice.Address {
			lost = l
		}
	}
	if lost.State != "closed" || lost.BilledMS == 0 {
		t.Errorf("the lease with alice: %+v", lost)
	}
	if err := alice.Start(); err != nil {
		t.Fatal(err)
	}
	if err := alice.AwaitReady(deadline(t, 2*patience)); err != nil {
		t.Fatal(err)
	}
	eventually(t, patience, "alice to find her lease settled", func() bool {
		s, err := alice.Status(context.Background())
		return err == nil && settledAt(s, lost.ID)
	})
	s, err := alice.Status(deadline(t, patience))
	if err != nil {
		t.Fatal(err)
	}
	if len(s.Totals) != 1 || s.Totals[0].Provider.String() != lost.Paid {
		t.Errorf("alice counts %+v as earned, the chain paid %s", s.Totals, lost.Paid)
	}
}

// TestProviderRestarts kills the only provider mid-job and starts it again. It
// finds the task, which ran on, and the job ends as if nothing had been.
func TestProviderRestarts(t *testing.T) {
	slow(t, "kills a process")
	n := ownNetwork(t, spec("alice", "0.018"))
	x := newTenant(t, n, 100*moy)
	var d diary
	defer func() {
		if t.Failed() {
			d.dump(t)
		}
	}()
	job := x.job(t, "tick", "150", "100ms")
	job.Output = filepath.Join(t.TempDir(), "result")
	job.Events = d.take
	h, err := x.Run(deadline(t, 2*patience), job)
	if err != nil {
		t.Fatal(err)
	}
	eventually(t, 2*patience, "the work to begin", func() bool { return strings.Contains(d.text(), "tick 10\n") })
	alice := byName(t, n, "alice")
	alice.Kill()
	if err := alice.Start(); err != nil {
		t.Fatal(err)
	}
	res, err := h.Wait(deadline(t, 5*patience))
	if err != nil {
		t.Fatalf("the job did not survive: %v", err)
	}
	if len(res.Leases) != 1 || res.Tasks[0].Attempts != 1 {
		t.Errorf("%d leases and %d attempts, want one of each: the task ran on", len(res.Leases), res.Tasks[0].Attempts)
	}
	var want strings.Builder
	for i := range 150 {
		fmt.Fprintln(&want, "tick", i)
	}
	if got := d.text(); got != want.String() {
		t.Errorf("the log has a gap, a repetition or is short: %q", got)
	}
	if got := readFile(t, filepath.Join(job.Output, "ticks")); got != "150\n" {
		t.Errorf("result %q", got)
	}
	if l := res.Leases[0]; l.CloseReason != "completed" {
		t.Errorf("closed because of %s", l.CloseReason)
	}
	free(t, n, x.address)
}

// TestChainHalts stops the chain for longer than money's clock may jump, while a
// job runs. Work goes on; nobody is billed for what was not worked.
func TestChainHalts(t *testing.T) {
	slow(t, "waits 35 s for a chain that stands")
	n := ownNetwork(t, spec("alice", "0.018"))
	x := newTenant(t, n, 100*moy)
	var d diary
	defer func() {
		if t.Failed() {
			d.dump(t)
		}
	}()
	job := x.job(t, "tick", "450", "100ms")
	job.Timeout = 3 * time.Minute
	job.Events = d.take
	started := time.Now()
	h, err := x.Run(deadline(t, 2*patience), job)
	if err != nil {
		t.Fatal(err)
	}
	eventually(t, 2*patience, "the work to begin", func() bool { return strings.Contains(d.text(), "tick 10\n") })
	before, err := n.Chain().MeterClock(deadline(t, patience))
	if err != nil {
		t.Fatal(err)
	}
	validator := n.Validators[0]
	validator.Kill()
	time.Sleep(35 * time.Second)
	if err := validator.Start(); err != nil {
		t.Fatal(err)
	}
	res, err := h.Wait(deadline(t, 5*patience))
	if err != nil {
		t.Fatalf("the job did not survive: %v", err)
	}
	took := time.Since(started)
	if len(res.Leases) != 1 || res.Leases[0].CloseReason != "completed" {
		t.Fatalf("leases: %+v", res.Leases)
	}
	l := res.Leases[0]
	if l.BilledMS < 40_000 || l.BilledMS > uint64(took.Milliseconds()) {
		t.Errorf("billed %d ms for some 45 s of work within %s", l.BilledMS, took)
	}
	if got := strings.Count(d.text(), "tick "); got != 450 {
		t.Errorf("%d of 450 lines came back", got)
	}
	after, err := n.Chain().MeterClock(deadline(t, patience))
	if err != nil {
		t.Fatal(err)
	}
	if after.NowMs <= before.NowMs {
		t.Errorf("the meter stood at %d and stands at %d", before.NowMs, after.NowMs)
	}
	free(t, n, x.address)
	// The network is as good as new.
	x.mustRun(t, x.job(t, "say", "hello"))
	free(t, n, x.address)
}

// TestDevnetRestart stops a network of processes and starts it again from its
// folder: the chain goes on, and so do accounts, providers and leases.
func TestDevnetRestart(t *testing.T) {
	slow(t, "starts a network twice")
	cfg := devnet.Config{
		Dir: t.TempDir(), Mode: devnet.Processes, Providers: []devnet.ProviderSpec{spec("alice", "0.018")}, Genesis: quick,
		Binary: binary(t, "moyai"), Worker: binary(t, "moyai-worker"),
	}
	first, err := devnet.Start(deadline(t, 3*patience), cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(first.Stop)
	home, address, err := first.NewTenant(deadline(t, patience), "keeper", 10*moy)
	if err != nil {
		t.Fatal(err)
	}
	var id string
	t.Run("before", func(t *testing.T) {
		x := &tenant{Client: newClient(t, first, home), n: first, home: home, address: address}
		res := x.mustRun(t, x.job(t, "tick", "20", "100ms"))
		id = res.Leases[0].ID
		free(t, first, address)
	})
	if t.Failed() {
		return
	}
	height, err := first.Chain().Height(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	owned, earned := balanceOf(t, first, address), earnings(t, byName(t, first, "alice"))
	first.Stop()

	cfg.Providers = nil
	second, err := devnet.Start(deadline(t, 3*patience), cfg)
	if err != nil {
		t.Fatalf("the network did not come back: %v", err)
	}
	t.Cleanup(second.Stop)
	audited(t, second)
	if second.RPC != first.RPC || second.ChainID != first.ChainID || second.FaucetURL != first.FaucetURL {
		t.Errorf("it came back as %s at %s, it was %s at %s", second.ChainID, second.RPC, first.ChainID, first.RPC)
	}
	if now, err := second.Chain().Height(context.Background()); err != nil || now < height {
		t.Errorf("height %d, it was %d (%v)", now, height, err)
	}
	if got := balanceOf(t, second, address); got != owned {
		t.Errorf("the tenant owns %s, it was %s", got, owned)
	}
	if got := earnings(t, byName(t, second, "alice")); got != earned || got.IsZero() {
		t.Errorf("alice earned %s, it was %s", got, earned)
	}
	x := &tenant{Client: newClient(t, second, home), n: second, home: home, address: address}
	if l, err := x.Lease(deadline(t, patience), id); err != nil || l.State != "closed" {
		t.Errorf("the old lease: %+v, %v", l, err)
	}
	x.mustRun(t, x.job(t, "say", "hello again"))
	free(t, second, address)
}

// earnings is what a provider says it was paid.
func earnings(t testing.TB, p *devnet.Provider) amount.Amount {
	t.Helper()
	s, err := p.Status(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range s.Totals {
		if e.Denom == chain.BaseDenom {
			return e.Provider
		}
	}
	return amount.Amount{}
}

// TestNoProvider asks on a chain where nobody lends anything.
func TestNoProvider(t *testing.T) {
	n, err := devnet.Start(deadline(t, 2*patience), devnet.Config{Dir: t.TempDir(), Mode: devnet.InProcess, Genesis: quick})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(n.Stop)
	x := newTenant(t, n, moy)
	_, err = x.Run(deadline(t, patience), x.job(t, "say", "hello"))
	if !errors.Is(err, client.ErrNoProviders) || !strings.Contains(err.Error(), "none is registered") {
		t.Errorf("run: %v", err)
	}
	if _, err := x.Quote(deadline(t, patience), x.job(t)); !errors.Is(err, client.ErrNoProviders) {
		t.Errorf("quote: %v", err)
	}
	if got := x.balance(t); got.String() != "1000000" {
		t.Errorf("it cost something: %s of 1000000 are left", got)
	}
}
