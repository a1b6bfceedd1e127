package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/moyai-network/moyai/client"
	"github.com/moyai-network/moyai/client/chain"
	"github.com/moyai-network/moyai/compute"
	"github.com/moyai-network/moyai/devnet"
	"github.com/moyai-network/moyai/devnet/audit"
	"github.com/moyai-network/moyai/mechanism/amount"
	"github.com/moyai-network/moyai/wire"
)

// rentTimeout is how long one order may take, from its signature to its close.
const rentTimeout = 2 * time.Minute

// market is a network of processes with three providers, and a tenant that is
// this process.
type market struct {
	net    *devnet.Network
	tenant *client.Client
	price  amount.Price
	from   int64 // height at which it was opened for business
}

// three rent out a core each, at prices of their own.
var three = []devnet.ProviderSpec{
	{Name: "alice", Prices: []string{"cpu=0.018MOY/h"}, CPUMilli: 1000, MemoryBytes: 1 << 30},
	{Name: "bob", Prices: []string{"cpu=0.02MOY/h"}, CPUMilli: 1000, MemoryBytes: 1 << 30},
	{Name: "carol", Prices: []string{"cpu=0.025MOY/h"}, CPUMilli: 1000, MemoryBytes: 1 << 30},
}

// boxer also takes containers.
var boxer = []devnet.ProviderSpec{{Name: "boxer", Prices: []string{"cpu=0.02MOY/h"}, CPUMilli: 1000, MemoryBytes: 1 << 30, Containers: true}}

// openMarket starts the network and waits until the tenant knows the providers.
func (b *bench) openMarket(ctx context.Context, name string, profile devnet.Profile, providers []devnet.ProviderSpec) (*market, error) {
	price, err := amount.ParsePrice("1MOY/h")
	if err != nil {
		return nil, err
	}
	net, err := devnet.Start(ctx, devnet.Config{
		Dir: filepath.Join(b.dir, name), Profile: profile, Binary: b.moyai(), Worker: filepath.Join(b.bin, "moyai-worker"),
		Providers: providers,
	})
	if err != nil {
		return nil, err
	}
	m := &market{net: net, price: price}
	m.tenant, err = client.New(ctx, client.Config{
		RPC: net.RPC, Home: net.TenantHome, KeyringBackend: chain.BackendTest, Key: "default", Listen: []string{"/ip4/127.0.0.1/udp/0/quic-v1"},
	})
	if err == nil {
		m.from, err = net.Chain().Height(ctx)
	}
	if err != nil {
		m.close()
		return nil, err
	}
	return m, nil
}

func (m *market) close() {
	if m.tenant != nil {
		_ = m.tenant.Close()
	}
	m.net.Stop()
}

// times are when the steps of one order happened, at the tenant.
type times struct {
	stretch
	announced, bid, opening, opened, started time.Time
}

// rent orders one run of a program on a fresh order and waits until its lease is
// settled.
func (m *market) rent(ctx context.Context, module string, args ...string) (t times, err error) {
	return m.rentAt(ctx, "", module, args...)
}

// atTier asks for an isolation tier, if it is not "".
func atTier(tier compute.Tier) []client.Constraint {
	if tier == "" {
		return nil
	}
	return []client.Constraint{{Attribute: "isolation", Op: wire.OpEqual, Value: string(tier)}}
}

// rentAt is rent at an isolation tier.
func (m *market) rentAt(ctx context.Context, tier compute.Tier, module string, args ...string) (t times, err error) {
	ctx, cancel := context.WithTimeout(ctx, rentTimeout)
	defer cancel()
	var mu sync.Mutex // events come from a goroutine of the client's
	note := func(e client.Event) {
		mu.Lock()
		defer mu.Unlock()
		t.note(e)
	}
	asked := time.Now()
	handle, err := m.tenant.Run(ctx, client.Job{
		Module: module, Args: args, MemoryBytes: 256 << 20, Timeout: 5 * time.Minute, MaxPrice: m.price, Events: note,
		Constraints: atTier(tier),
	})
	if err != nil {
		return times{}, err
	}
	result, err := handle.Wait(ctx)
	mu.Lock()
	defer mu.Unlock()
	t.asked = asked
	if err != nil {
		return t, fmt.Errorf("%w (lease %s)", err, strings.Join(handle.LeaseIDs(), ", "))
	}
	if code := result.ExitCode(); code != 0 {
		return t, fmt.Errorf("%s exited with %d", filepath.Base(module), code)
	}
	if t.first.IsZero() {
		return t, fmt.Errorf("%s printed nothing", filepath.Base(module))
	}
	return t, nil
}

// note records an event. Each kind is taken the first time, output every time.
func (t *times) note(e client.Event) {
	first := func(at *time.Time) {
		if at.IsZero() {
			*at = e.Time
		}
	}
	switch e.Kind {
	case client.EventAnnounced:
		first(&t.announced)
	case client.EventBid:
		first(&t.bid)
	case client.EventOpening:
		first(&t.opening)
	case client.EventOpened:
		first(&t.opened)
	case client.EventStarted:
		first(&t.started)
	case client.EventLog:
		t.output(e.Time)
	case client.EventTask:
		first(&t.ended)
	}
}

// books reads from the chain what became of every lease since the market opened.
func (m *market) books(ctx context.Context) (*audit.Audit, error) {
	to, err := m.net.Chain().Height(ctx)
	if err != nil {
		return nil, err
	}
	return audit.Read(ctx, m.net.Chain(), m.from, to)
}

// workers finds the job processes of a provider.
func workers(provider int) (pids []int) {
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return nil
	}
	for _, e := range entries {
		pid, err := strconv.Atoi(e.Name())
		if err != nil {
			continue
		}
		raw, err := os.ReadFile(filepath.Join("/proc", e.Name(), "stat"))
		if err != nil {
			continue // gone
		}
		_, rest, _ := strings.Cut(string(raw), ") ")
		if f := strings.Fields(rest); len(f) > 1 && f[1] == strconv.Itoa(provider) {
			pids = append(pids, pid)
		}
	}
	return pids
}
