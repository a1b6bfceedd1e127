package doctor

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	registryv1 "github.com/moyai-network/moyai/api/moyai/registry/v1"
	"github.com/moyai-network/moyai/client/chain"
	"github.com/moyai-network/moyai/compute"
	"github.com/moyai-network/moyai/mechanism/amount"
	"github.com/moyai-network/moyai/p2p"
	"github.com/moyai-network/moyai/provider"
	"github.com/moyai-network/moyai/provider/machine"
	"github.com/moyai-network/moyai/provider/probe"
)

// rolls is what the chain says. e2e asks a real one.
type rolls struct {
	now      time.Time
	balance  amount.Amount
	provider *registryv1.Provider
	nodes    []registryv1.Node
	down     bool
}

func (r *rolls) Now() time.Time { return r.now }

func (r *rolls) err() error {
	if r.down {
		return chain.ErrUnreachable
	}
	return nil
}

func (r *rolls) Balance(context.Context, string, string) (amount.Amount, error) {
	return r.balance, r.err()
}

func (r *rolls) Provider(context.Context, string) (registryv1.Provider, []registryv1.Unbonding, error) {
	if r.provider == nil {
		return registryv1.Provider{}, nil, errors.Join(chain.ErrNotFound, r.err())
	}
	return *r.provider, nil, r.err()
}

func (r *rolls) Nodes(context.Context, string, bool) ([]registryv1.Node, error) {
	return r.nodes, r.err()
}

// healthy is a patient that lacks nothing.
func healthy(t *testing.T) (Patient, *rolls) {
	t.Helper()
	home := t.TempDir()
	key, err := p2p.LoadOrCreateKey(filepath.Join(home, "node.key"))
	if err != nil {
		t.Fatal(err)
	}
	now := time.Unix(1_800_000_000, 0)
	r := &rolls{
		now: now, balance: amount.New(5_000_000), provider: &registryv1.Provider{Operator: "moyai1op", Bond: "5000000"},
		nodes: []registryv1.Node{{Node: make([]byte, 32)}, {Node: key.Public()}},
	}
	return Patient{
		Home: home, Start: "moyai provide", Node: "http://node:26657", OpenFiles: 20000, Clock: func() time.Time { return now },
		Machine:  machine.Machine{Disk: machine.Disk{Path: home, Size: 1 << 40, Free: 1 << 39}},
		Runtimes: []probe.Runtime{{Name: "wasm", Runs: "WebAssembly programs", Tier: compute.TierSandbox, Found: true, Version: "wazero"}},
		Walls:    []probe.Wall{{Name: "seccomp", Held: true}, {Name: "landlock", Held: true}},
		Status: &provider.Status{
			Bidding: true, Addresses: []string{"/ip4/127.0.0.1/tcp/1", "/ip4/8.8.8.8/tcp/4001"}, Reach: p2p.ReachDirect, Members: 3,
			Capacity: []provider.Use{{Dimension: "cpu.milli", Total: 4000, Free: 1000}},
		},
		Operator: "moyai1op", Ledger: r,
	}, r
}

func TestHealthy(t *testing.T) {
	p, _ := healthy(t)
	r := Examine(t.Context(), p)
	if !r.Earns || slices.ContainsFunc(r.Checks, func(c Check) bool { return c.Level != OK || c.Text == "" || c.Fix != "" }) {
		t.Errorf("%+v", r)
	}
}

// ailments each make one check of a healthy provider say something else.
var ailments = map[string]struct {
	harm  func(t *testing.T, p *Patient, r *rolls)
	check string
	level Level
	says  string
	fix   string
}{
	"no worker": {func(_ *testing.T, p *Patient, _ *rolls) {
		p.Runtimes = []probe.Runtime{probe.WebAssembly(context.Background(), nil, errors.New("no moyai-worker"))}
	}, "WebAssembly programs", Problem, "no moyai-worker", "make build"},
	"half a sandbox": {func(_ *testing.T, p *Patient, _ *rolls) { p.Runtimes[0].Why = "landlock: no" }, "WebAssembly programs", Warning, "landlock", ""},
	"no containerd": {func(_ *testing.T, p *Patient, _ *rolls) {
		p.Runtimes = append(p.Runtimes, probe.Runtime{Runs: "containers", Tier: compute.TierContainer, Why: "not running"})
	}, "containers", OK, "not needed yet", ""},
	"an open wall": {func(_ *testing.T, p *Patient, _ *rolls) {
		p.Walls[1] = probe.Wall{Name: "landlock", Why: "old kernel", Fix: "boot a newer one"}
	}, "not enforced", Warning, "landlock (old kernel)", "boot"},
	"a card without its driver": {func(_ *testing.T, p *Patient, _ *rolls) {
		p.Machine.GPUs = []machine.GPU{{Vendor: "NVIDIA", Model: "RTX 4090", Use: machine.UseCompute, Problem: "no driver holds the card", Fix: "apt install nvidia-driver"}}
	}, "GPU", Warning, "RTX 4090 cannot compute: no driver", "apt install"},
	"a library without a driver": {func(_ *testing.T, p *Patient, _ *rolls) {
		p.Machine.NVML = machine.NVMLAnswer{Error: "driver not loaded"}
	}, "GPU", Warning, "driver not loaded", "nvidia-smi"},
	"a card that works": {func(_ *testing.T, p *Patient, _ *rolls) {
		p.Machine.GPUs = []machine.GPU{{Vendor: "AMD", Model: "MI210", Use: machine.UseCompute}}
	}, "GPU", OK, "not offered yet", ""},
	"a full disk":      {func(_ *testing.T, p *Patient, _ *rolls) { p.Machine.Disk.Free = 1 << 20 }, "disk", Problem, "1 MiB", "--home"},
	"a small disk":     {func(_ *testing.T, p *Patient, _ *rolls) { p.Machine.Disk.Free = 1 << 30 }, "disk", Warning, "1 GiB", "--home"},
	"an unknown disk":  {func(_ *testing.T, p *Patient, _ *rolls) { p.Machine.Disk.Size = 0 }, "disk", Warning, "cannot tell", "df"},
	"hardly any files": {func(_ *testing.T, p *Patient, _ *rolls) { p.OpenFiles = 256 }, "open files", Problem, "256", "ulimit"},
	"few files":        {func(_ *testing.T, p *Patient, _ *rolls) { p.OpenFiles = 1024 }, "open files", Warning, "1024", "ulimit"},
	"no node key": {func(t *testing.T, p *Patient, _ *rolls) { must(t, os.Remove(p.Home+"/node.key")) },
		"node key", Problem, "no provider was started", "moyai provide"},
	"a key for everybody": {func(t *testing.T, p *Patient, _ *rolls) { must(t, os.Chmod(p.Home+"/node.key", 0o644)) },
		"node key", Problem, "0644", "chmod 600 "},
	"a damaged key": {func(t *testing.T, p *Patient, _ *rolls) {
		must(t, os.WriteFile(p.Home+"/node.key", []byte("zz"), 0o600))
	},
		"node key", Problem, "damaged", "backup"},
	"no chain": {func(_ *testing.T, p *Patient, _ *rolls) { p.Ledger, p.LedgerErr = nil, chain.ErrUnreachable },
		"chain", Problem, "http://node:26657", "MOYAI_NODE"},
	"a late clock":         {func(_ *testing.T, _ *Patient, r *rolls) { r.now = r.now.Add(time.Minute) }, "clock", Problem, "1m0s behind", "timedatectl"},
	"a chain that stands":  {func(_ *testing.T, _ *Patient, r *rolls) { r.now = r.now.Add(-time.Hour) }, "clock", Warning, "1h0m0s after", "timedatectl"},
	"an empty account":     {func(_ *testing.T, _ *Patient, r *rolls) { r.balance = amount.Amount{} }, "account", Problem, "0 MOY", "moyai1op"},
	"a poor account":       {func(_ *testing.T, _ *Patient, r *rolls) { r.balance = amount.New(99_999) }, "account", Warning, "0.099999 MOY", "moyai1op"},
	"no account":           {func(_ *testing.T, p *Patient, _ *rolls) { p.Operator, p.OperatorErr = "", chain.ErrNoKey }, "account", Problem, "no account key", "moyai provide"},
	"a locked keyring":     {func(_ *testing.T, p *Patient, _ *rolls) { p.Operator, p.OperatorErr = "", errors.New("passphrase") }, "account", Skipped, "passphrase", ""},
	"not registered":       {func(_ *testing.T, _ *Patient, r *rolls) { r.provider = nil }, "registration", Problem, "not a provider yet", "moyai provide"},
	"leaving":              {func(_ *testing.T, _ *Patient, r *rolls) { r.provider.Leaving = true }, "registration", Problem, "leaving", "wait"},
	"another machine":      {func(_ *testing.T, _ *Patient, r *rolls) { r.nodes = r.nodes[:1] }, "registration", Problem, "this machine is not", "moyai provide"},
	"revoked":              {func(_ *testing.T, _ *Patient, r *rolls) { r.nodes[1].RevokedAt = 1 }, "registration", Problem, "revoked", "node.key"},
	"a chain that fails":   {func(_ *testing.T, _ *Patient, r *rolls) { r.down = true }, "registration", Skipped, "cannot be asked", ""},
	"no bond":              {func(_ *testing.T, _ *Patient, r *rolls) { r.provider.Bond = "0" }, "bond", Warning, "none", "registry bond"},
	"no daemon":            {func(_ *testing.T, p *Patient, _ *rolls) { p.Status, p.StatusErr = nil, provider.ErrNotRunning }, "provider", Problem, "does not run", "moyai provide"},
	"a daemon that hangs":  {func(_ *testing.T, p *Patient, _ *rolls) { p.Status, p.StatusErr = nil, errors.New("timeout") }, "provider", Problem, "timeout", "start it again"},
	"paused":               {silent(provider.CausePaused), "provider", Problem, "bids on nothing: because", "resume"},
	"no room":              {silent(provider.CauseDisk), "provider", Problem, "bids on nothing: because", "make room"},
	"blind":                {silent(provider.CauseChain), "provider", Problem, "bids on nothing: because", "http://node:26657"},
	"not as it should be":  {silent(provider.CauseMembership), "provider", Problem, "bids on nothing: because", "log"},
	"everything rented":    {func(_ *testing.T, p *Patient, _ *rolls) { p.Status.Capacity[0].Free = 0 }, "capacity", OK, "no cpu.milli is free", ""},
	"behind a router":      {reach(p2p.ReachNearby, 3), "reach", Warning, "no relay is found yet", "--announce"},
	"knows nobody":         {reach(p2p.ReachNearby, 0), "reach", Warning, "no other member", "--bootstrap"},
	"mapped":               {reach(p2p.ReachMapped, 3), "reach", OK, "the router forwards a port because it was asked", ""},
	"relayed":              {reach(p2p.ReachRelayed, 3, "/ip4/5.5.0.1/tcp/1/p2p/A/p2p-circuit", "/ip4/5.5.0.1/udp/1/quic-v1/p2p/A/p2p-circuit", "/ip4/5.5.0.2/tcp/1/p2p/B/p2p-circuit"), "reach", OK, "2 relays carry", ""},
	"listening nowhere":    {func(_ *testing.T, p *Patient, _ *rolls) { p.Status.Addresses, p.Status.Members = nil, 0 }, "reach", Warning, "nobody can connect", "--relay"},
	"an alert":             {alert("error"), "alert", Warning, "look here", ""},
	"something to tell of": {alert("info"), "alert", OK, "look here", ""},
}

func silent(c provider.Cause) func(*testing.T, *Patient, *rolls) {
	return func(_ *testing.T, p *Patient, _ *rolls) {
		p.Status.Bidding, p.Status.NotBidding = false, &provider.Silence{Cause: c, Text: "because"}
	}
}

func reach(r p2p.Reach, members int, addrs ...string) func(*testing.T, *Patient, *rolls) {
	return func(_ *testing.T, p *Patient, _ *rolls) {
		p.Status.Reach, p.Status.Members = r, members
		p.Status.Addresses = append(p.Status.Addresses[:1], addrs...)
	}
}

func alert(severity string) func(*testing.T, *Patient, *rolls) {
	return func(_ *testing.T, p *Patient, _ *rolls) {
		p.Status.Alerts = []provider.Alert{{Severity: severity, Text: "look here"}}
	}
}

func TestAilments(t *testing.T) {
	for name, a := range ailments {
		t.Run(name, func(t *testing.T) {
			p, r := healthy(t)
			a.harm(t, &p, r)
			report := Examine(t.Context(), p)
			i := slices.IndexFunc(report.Checks, func(c Check) bool { return c.Name == a.check })
			if i < 0 {
				t.Fatalf("no check %q in %+v", a.check, report.Checks)
			}
			c := report.Checks[i]
			if c.Level != a.level || !strings.Contains(c.Text, a.says) || !strings.Contains(c.Fix, a.fix) {
				t.Errorf("%+v", c)
			}
			if a.level == Problem && c.Fix == "" {
				t.Errorf("a problem without a fix: %+v", c)
			}
			if report.Earns != (a.level != Problem) {
				t.Errorf("earns: %v, %+v", report.Earns, report.Checks)
			}
		})
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
