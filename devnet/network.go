package devnet

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/moyai-network/moyai/client/chain"
)

// How long the parts of a network may take to come up on a slow machine.
const (
	chainStart    = 60 * time.Second
	providerStart = 60 * time.Second
	pollEvery     = 25 * time.Millisecond
)

// Network is a running network.
type Network struct {
	RPC        string // address of the first validator's RPC
	ChainID    string
	FaucetURL  string
	TenantHome string // home of the funded tenant, key "default", keyring "test"
	Tenant     string // the tenant's address
	Validators []*Validator
	Providers  []*Provider

	dir     string
	cfg     Config
	state   *state
	log     *slog.Logger
	spawner *spawner // Processes
	chain   *chain.Client
	bank    bank
	faucet  *faucet
	stop    sync.Once
}

// Start brings a network up and returns when every provider is registered and
// answers orders. If it fails, nothing is left running. ctx bounds the start
// only; Stop ends the network.
func Start(ctx context.Context, cfg Config) (*Network, error) {
	cfg.ensureDefaults()
	if err := cfg.validate(); err != nil {
		return nil, err
	}
	dir, err := filepath.Abs(cfg.Dir)
	if err != nil {
		return nil, err
	}
	if err := os.MkdirAll(filepath.Join(dir, "logs"), 0o755); err != nil {
		return nil, fmt.Errorf("devnet folder: %w", err)
	}
	n := &Network{dir: dir, cfg: cfg, log: cfg.Logger, TenantHome: filepath.Join(dir, "tenant")}
	if cfg.Mode == Processes {
		n.spawner = newSpawner()
	}
	if err := n.start(ctx); err != nil {
		n.Stop()
		return nil, err
	}
	return n, nil
}

func (n *Network) start(ctx context.Context) error {
	if err := n.prepare(); err != nil {
		return err
	}
	for _, v := range n.Validators {
		if err := v.Start(); err != nil {
			return err
		}
	}
	if err := n.awaitChain(ctx); err != nil {
		return err
	}
	from, err := sender(n.chain, filepath.Join(n.dir, "faucet"))
	if err != nil {
		return err
	}
	n.bank = bank{from}
	if n.faucet, err = newFaucet(fmt.Sprintf("127.0.0.1:%d", n.state.FaucetPort), n.bank, n.log); err != nil {
		return err
	}
	n.FaucetURL = n.faucet.url
	for _, p := range n.Providers {
		if err := p.Start(); err != nil {
			return err
		}
	}
	for _, p := range n.Providers {
		if err := p.AwaitReady(ctx); err != nil {
			return err
		}
	}
	return nil
}

// prepare reads or makes the folder: state, keys, genesis.
func (n *Network) prepare() error {
	st, err := loadState(n.dir)
	if err != nil {
		return err
	}
	fresh := st == nil
	if fresh {
		st, err = newState(n.cfg)
	} else {
		err = st.merge(n.cfg)
	}
	if err != nil {
		return err
	}
	n.state, n.ChainID = st, st.ChainID
	n.RPC = fmt.Sprintf("http://127.0.0.1:%d", st.Validators[0].RPC)

	tenant, err := ensureKey(n.TenantHome)
	if err != nil {
		return err
	}
	n.Tenant = tenant.Address
	faucetKey, err := ensureKey(filepath.Join(n.dir, "faucet"))
	if err != nil {
		return err
	}
	accounts := []funded{{tenant.Address, tenantFunds}, {faucetKey.Address, faucetFunds}}
	for _, p := range st.Providers {
		home := filepath.Join(n.dir, "providers", p.Name)
		key, err := ensureKey(home)
		if err != nil {
			return err
		}
		accounts = append(accounts, funded{key.Address, providerFunds})
		n.Providers = append(n.Providers, n.newProvider(p, home, key.Address))
	}
	if fresh {
		if err := initChain(n.dir, st, accounts, n.cfg.Genesis); err != nil {
			return fmt.Errorf("make genesis: %w", err)
		}
	}
	for i, v := range st.Validators {
		n.Validators = append(n.Validators, n.newValidator(i, v))
	}
	// Last, so that a folder whose making was interrupted is made again.
	return st.save(n.dir)
}

// awaitChain waits until the first validator has committed some blocks: RPC
// reports a height before genesis itself is committed.
func (n *Network) awaitChain(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, chainStart)
	defer cancel()
	var last error
	for {
		if err := n.failed(); err != nil {
			return err
		}
		if n.chain == nil {
			n.chain, last = chain.Dial(ctx, n.RPC)
		}
		if n.chain != nil {
			var h int64
			if h, last = n.chain.Height(ctx); last == nil && h >= 3 {
				return nil
			}
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("the chain made no blocks: %w", errors.Join(ctx.Err(), last))
		case <-time.After(pollEvery):
		}
	}
}

// failed returns how a role died, if one did.
func (n *Network) failed() error {
	for _, v := range n.Validators {
		if err := v.role.failure(); err != nil {
			return err
		}
	}
	for _, p := range n.Providers {
		if err := p.role.failure(); err != nil {
			return err
		}
	}
	return nil
}

// Chain is the network's own connection to the first validator.
func (n *Network) Chain() *chain.Client { return n.chain }

// Dir is the network's folder, absolute.
func (n *Network) Dir() string { return n.dir }

// Env is what a shell exports to use the network as its tenant.
func (n *Network) Env() []string {
	return []string{
		"MOYAI_NODE=" + n.RPC,
		"MOYAI_HOME=" + n.TenantHome,
		"MOYAI_FAUCET=" + n.FaucetURL,
		"MOYAI_KEYRING_BACKEND=" + chain.BackendTest,
	}
}

// Stop ends every role, providers first, and returns when all are gone. The
// folder stays.
func (n *Network) Stop() {
	n.stop.Do(func() {
		if n.faucet != nil {
			n.faucet.close()
		}
		var wg sync.WaitGroup
		for _, p := range n.Providers {
			wg.Go(p.Stop)
		}
		wg.Wait()
		if n.chain != nil {
			_ = n.chain.Close()
		}
		for _, v := range n.Validators {
			wg.Go(v.Stop)
		}
		wg.Wait()
		if n.spawner != nil {
			n.spawner.close()
		}
	})
}

// Failure is a role that ended without being told to.
type Failure struct {
	Name    string
	Err     error
	Command string // starts it again by hand; empty inside one process
}

// Watch calls fn once for every role that dies, until ctx ends. The others go
// on: a network must live with the loss of a part.
func (n *Network) Watch(ctx context.Context, fn func(Failure)) {
	roles := map[string]role{}
	for _, v := range n.Validators {
		roles[v.Name] = v.role
	}
	for _, p := range n.Providers {
		roles["provider "+p.Name] = p.role
	}
	tick := time.NewTicker(200 * time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		for name, r := range roles {
			if err := r.failure(); err != nil {
				delete(roles, name)
				fn(Failure{name, err, r.command()})
			}
		}
	}
}
