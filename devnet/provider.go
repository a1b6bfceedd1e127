package devnet

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"github.com/moyai-network/moyai/client/chain"
	"github.com/moyai-network/moyai/compute"
	"github.com/moyai-network/moyai/compute/container"
	"github.com/moyai-network/moyai/compute/wasm"
	"github.com/moyai-network/moyai/mechanism/amount"
	"github.com/moyai-network/moyai/p2p"
	"github.com/moyai-network/moyai/provider"
)

// imageGrace is how long images may take to load, as `moyai provide` has it.
const imageGrace = 10 * time.Minute

// providerBond is what each provider puts up: the governed floor, so that all it
// earns is paid out.
const providerBond = "1MOY"

// nodeKeyName is the file with a provider's node key, in its home.
const nodeKeyName = "node.key"

// Provider is one provider of a network.
type Provider struct {
	Name    string
	Home    string
	Address string // operator account
	Prices  []string

	role role
	n    *Network
}

func (n *Network) newProvider(st providerState, home, address string) *Provider {
	p := &Provider{Name: st.Name, Home: home, Address: address, Prices: st.Prices, n: n}
	name := "provider-" + st.Name
	listen := []string{
		fmt.Sprintf("/ip4/127.0.0.1/udp/%d/quic-v1", st.Port),
		fmt.Sprintf("/ip4/127.0.0.1/tcp/%d", st.Port),
	}
	if n.cfg.Mode == InProcess {
		p.role = &funcRole{name: name, log: n.logFile(name), run: func(ctx context.Context, log io.Writer) error {
			return n.runProvider(ctx, st, home, listen, slog.New(slog.NewTextHandler(log, &slog.HandlerOptions{Level: slog.LevelDebug})))
		}}
		return p
	}
	args := []string{"provide", "--home", home, "--node", n.RPC, "--keyring-backend", chain.BackendTest, "--key", keyName,
		"--moniker", st.Name, "--cpu", strconv.FormatUint(st.CPUMilli, 10) + "m", "--memory", strconv.FormatUint(st.MemoryBytes, 10),
		"--bond", providerBond, "--log-level", "debug"}
	for _, price := range st.Prices {
		args = append(args, "--price", price)
	}
	for _, l := range listen {
		args = append(args, "--listen", l)
	}
	if st.Containers {
		args = append(args, "--containers")
	}
	args = append(args, "--cache", n.cache())
	if n.cfg.Worker != "" {
		args = append(args, "--worker", n.cfg.Worker)
	}
	p.role = n.newProcessRole(name, args, nil)
	return p
}

// runProvider is one provider inside this process.
func (n *Network) runProvider(ctx context.Context, st providerState, home string, listen []string, log *slog.Logger) error {
	prices, err := provider.ParsePrices(st.Prices)
	if err != nil {
		return err
	}
	bond, err := amount.ParseCoin(providerBond)
	if err != nil {
		return err
	}
	c, err := chain.Dial(ctx, n.RPC)
	if err != nil {
		return err
	}
	defer c.Close()
	keys, err := chain.OpenKeys(home, chain.BackendTest, nil)
	if err != nil {
		return err
	}
	nodeKey, err := p2p.LoadOrCreateKey(filepath.Join(home, nodeKeyName))
	if err != nil {
		return err
	}
	rt, err := wasm.New(wasm.Config{Worker: n.cfg.Worker, CacheDir: n.cache()})
	if err != nil {
		return err
	}
	runtimes, grace := []compute.Runtime{rt}, time.Duration(0)
	if st.Containers {
		boxes, err := container.New(container.Config{Worker: n.cfg.Worker, Home: filepath.Join(n.cache(), "containers")})
		if err != nil {
			return errors.Join(err, rt.Close())
		}
		runtimes = append(runtimes, boxes)
		grace = imageGrace
		defer func() { _ = boxes.StopEngine() }()
	}
	p, err := provider.New(provider.Config{
		Home: home, Chain: c, Keys: keys, Operator: keyName, NodeKey: nodeKey,
		Listen: listen, Moniker: st.Name, Runtimes: runtimes, Prices: prices, Bond: bond, Logger: log,
		Capacity: provider.Capacity{CPUMilli: st.CPUMilli, MemoryBytes: st.MemoryBytes, StorageBytes: 16 << 30},
		Grace:    grace,
	})
	if err != nil {
		for _, rt := range runtimes {
			err = errors.Join(err, rt.Close())
		}
		return err
	}
	return p.Run(ctx)
}

// cache holds compiled programs and unpacked images, which the network's
// providers share: it is the same machine.
func (n *Network) cache() string { return filepath.Join(n.dir, "cache") }

// Start runs the provider; it is an error if it runs already.
func (p *Provider) Start() error { return p.role.start() }

// Stop ends the provider in an orderly way.
func (p *Provider) Stop() { p.role.stop() }

// Kill ends the provider's process at once; its jobs outlive it. Inside one
// process it is the same as Stop.
func (p *Provider) Kill() { p.role.kill() }

// CutPower ends the provider and its jobs at once. Inside one process it is the
// same as Stop.
func (p *Provider) CutPower() {
	p.role.kill()
	if p.n.cfg.Mode == Processes {
		killJobs(p.Home)
	}
}

// PID is the process that runs the provider.
func (p *Provider) PID() int { return p.role.pid() }

// Log is the provider's log file.
func (p *Provider) Log() string { return p.role.logPath() }

// AwaitReady returns once the provider is registered and answers orders.
func (p *Provider) AwaitReady(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, providerStart)
	defer cancel()
	control := provider.Dial(p.Home)
	var last error
	for {
		if err := p.role.failure(); err != nil {
			return err
		}
		status, err := control.Status(ctx)
		switch {
		case err != nil:
			last = err
		case status.Bidding:
			return nil
		case len(status.Alerts) > 0:
			last = errors.New(status.Alerts[0].Text)
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("provider %s is not ready after %s: %w (log: %s)", p.Name, providerStart, last, p.Log())
		case <-time.After(pollEvery):
		}
	}
}

// Status is what `moyai provide status` shows for this provider.
func (p *Provider) Status(ctx context.Context) (*provider.Status, error) {
	return provider.Dial(p.Home).Status(ctx)
}

// ResidentBytes is how much memory a process holds now, and at most so far.
// Zero where /proc does not exist.
func ResidentBytes(pid int) (now, peak uint64) {
	raw, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0, 0
	}
	return statusKiB(raw, "VmRSS:"), statusKiB(raw, "VmHWM:")
}
