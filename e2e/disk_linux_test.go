package e2e

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/moyai-network/moyai/client"
	"github.com/moyai-network/moyai/client/chain"
	"github.com/moyai-network/moyai/compute"
	"github.com/moyai-network/moyai/compute/wasm"
	"github.com/moyai-network/moyai/devnet"
	"github.com/moyai-network/moyai/p2p"
	"github.com/moyai-network/moyai/provider"
)

// smallDisk mounts a file system of so many bytes, or skips the test.
func smallDisk(t testing.TB, options string) string {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("a small file system can be mounted by root only")
	}
	dir := t.TempDir()
	if err := syscall.Mount("moyai-e2e", dir, "tmpfs", 0, options); err != nil {
		t.Skipf("no small file system can be mounted here: %v", err)
	}
	t.Cleanup(func() {
		if err := syscall.Unmount(dir, syscall.MNT_DETACH); err != nil {
			t.Errorf("unmount: %v", err)
		}
	})
	return dir
}

// lend runs one more provider inside this process, until the test ends.
func lend(t testing.TB, n *devnet.Network, home, moniker, cpu string, change func(*provider.Config)) *provider.Provider {
	t.Helper()
	operatorHome, _, err := n.NewTenant(deadline(t, patience), uniqueName(), 100*moy)
	if err != nil {
		t.Fatal(err)
	}
	keys, err := chain.OpenKeys(operatorHome, chain.BackendTest, nil)
	if err != nil {
		t.Fatal(err)
	}
	node, err := p2p.NewKey()
	if err != nil {
		t.Fatal(err)
	}
	prices, err := provider.ParsePrices([]string{"cpu=" + cpu + "MOY/h"})
	if err != nil {
		t.Fatal(err)
	}
	c, err := chain.Dial(deadline(t, patience), n.RPC)
	if err != nil {
		t.Fatal(err)
	}
	rt, err := wasm.New(wasm.Config{Worker: binary(t, "moyai-worker"), CacheDir: filepath.Join(scratch, "lend-cache")})
	if err != nil {
		t.Fatal(err)
	}
	log, err := os.Create(filepath.Join(scratch, moniker+".log"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = log.Close() })
	cfg := provider.Config{
		Logger: slog.New(slog.NewTextHandler(log, &slog.HandlerOptions{Level: slog.LevelDebug})),
		Home:   home, Chain: c, Keys: keys, Operator: "default", NodeKey: node, Listen: loopback(), Moniker: moniker,
		Runtimes: []compute.Runtime{rt}, Prices: prices,
		Capacity: provider.Capacity{CPUMilli: 2000, MemoryBytes: 1 << 30, StorageBytes: 16 << 30},
	}
	change(&cfg)
	p, err := provider.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- p.Run(ctx) }()
	t.Cleanup(func() {
		operator, err := c.Sender(keys, "default")
		if err == nil {
			_, err = provider.Leave(context.Background(), c, operator)
		}
		cancel()
		if err := errors.Join(err, <-ended, c.Close()); err != nil {
			t.Errorf("end of provider %s: %v", moniker, err)
		}
	})
	select {
	case <-p.Ready():
	case err := <-ended:
		ended <- err
		t.Fatalf("provider %s: %v", moniker, err)
	case <-deadline(t, patience).Done():
		t.Fatalf("provider %s is not ready", moniker)
	}
	return p
}

// TestFullDisk rents the cheapest machine, whose disk is too small for the
// results. The task ends there with that reason and is done elsewhere; the
// provider goes on, with its journal whole.
func TestFullDisk(t *testing.T) {
	home := smallDisk(t, "size=48m")
	n := network(t)
	p := lend(t, n, home, "tiny", "0.001", func(c *provider.Config) { c.ReserveBytes = 16 << 20 })
	x := newTenant(t, n, 10*moy)
	var d diary
	defer func() {
		if t.Failed() {
			d.dump(t)
		}
	}()
	job := x.job(t, "fill", "/out/big", "100000000")
	job.Output = filepath.Join(t.TempDir(), "result")
	job.Events = d.take
	x.mustRun(t, job)
	if st, err := os.Stat(filepath.Join(job.Output, "big")); err != nil || st.Size() != 100_000_000 {
		t.Errorf("the result from elsewhere: %v, %v", st, err)
	}
	retry, ok := d.find(func(e client.Event) bool { return e.Kind == client.EventRetry })
	if !ok || !strings.Contains(retry.Text, "disk is full") {
		t.Errorf("retried because of %q, want the full disk", retry.Text)
	}
	free(t, n, x.address)
	s, err := p.Status(deadline(t, patience))
	if err != nil {
		t.Fatalf("the provider with the full disk: %v", err)
	}
	t.Logf("alerts: %+v", s.Alerts)
	if len(s.Leases) == 0 || s.Leases[0].Chain != "closed" {
		t.Errorf("its leases: %+v", s.Leases)
	}
	// What failed is gone from its disk, so it serves again.
	eventually(t, patience, "it to bid again", func() bool {
		s, err := p.Status(context.Background())
		return err == nil && s.Bidding
	})
	y := newTenant(t, n, moy)
	res := y.mustRun(t, y.job(t, "say", "hello"))
	if res.Leases[0].Moniker != "tiny" {
		t.Errorf("%s got the next job, tiny is the cheapest", res.Leases[0].Moniker)
	}
	free(t, n, y.address)
}
