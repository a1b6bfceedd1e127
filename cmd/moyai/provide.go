package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/moyai-network/moyai/client/chain"
	"github.com/moyai-network/moyai/compute"
	"github.com/moyai-network/moyai/compute/wasm"
	"github.com/moyai-network/moyai/devnet"
	"github.com/moyai-network/moyai/mechanism/amount"
	"github.com/moyai-network/moyai/p2p"
	"github.com/moyai-network/moyai/provider"
	"github.com/moyai-network/moyai/provider/idle"
	"github.com/moyai-network/moyai/provider/machine"
)

// joinFunds is what an operator should own before it joins: gas for some
// hundred transactions. Below it a devnet's faucet is asked.
const joinFunds = 1_000_000 // umoy

type provideFlags struct {
	ownerFlags
	prices     []string
	cpu        cpuValue
	memory     bytesValue
	disk       bytesValue
	moniker    string
	contact    string
	region     string
	attributes []string
	listen     []string
	announce   []string
	relays     []string
	keepPorts  bool
	up, down   bytesValue
	containers string
	allow      []string
	images     bytesValue
	volumes    bytesValue
	maxKeep    time.Duration
	bond       string
	operator   string
	hot        string
	worker     string
	cache      string
	keep       time.Duration
	grace      time.Duration
	egress     egressFlags
	logLevel   string
	dryRun     bool
}

func (a *app) provideCommand() *cobra.Command {
	var f provideFlags
	cmd := &cobra.Command{
		Use:   "provide",
		Short: "earn with this machine",
		Long: `Lend this machine: discover what it has, join the network, answer orders, run what
is rented in a sandbox, meter it and settle. Everything is journalled before it
is done, so stopping, killing or rebooting loses nothing.

The home keeps the account key that is paid, the machine's own key, the journal
and the work. A missing account key is made; on a development network the faucet
(MOYAI_FAUCET) fills it. An account that owns nothing joins all the same: its
first lease registers it, and part of what it earns becomes its bond.`,
		Example: `  moyai provide
  moyai provide --price cpu=0.02MOY/h
  moyai provide --home ./p3 --price cpu=0.02MOY/h --price memory=0.002MOY/h --cpu 4 --memory 8Gi
  moyai provide --power-price 0.3MOY --while-idle --schedule 'mon-fri 18:00-08:00, sat-sun'
  moyai provide --price cpu=0.02MOY/h --dry-run      # what would be offered; nothing is joined or written
  moyai provide doctor                               # what is wrong, and how to mend it`,
		Args: args(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			ctx, stop := interruptible(cmd.Context())
			defer stop()
			if f.dryRun {
				return a.preview(ctx, f)
			}
			return a.provide(ctx, f)
		},
	}
	f.flags(cmd)
	cmd.AddCommand(a.provideStatusCommand(), a.provideWithdrawCommand(), a.provideLeaveCommand(), a.provideHotCommand(), a.provideDoctorCommand(),
		a.providePauseCommand(), a.provideResumeCommand(), a.provideEgressLogCommand())
	return cmd
}

func (f *provideFlags) flags(cmd *cobra.Command) {
	fs := cmd.Flags()
	fs.StringArrayVar(&f.prices, "price", nil, "cpu=PRICE per core, memory=PRICE or disk=PRICE per GiB, egress=PRICE per GiB of a lease's budget, gpu=PRICE per card, gpu-slice=PRICE, min=PRICE per lease (repeatable; default: a core for what others ask now)")
	fs.Var(&f.cpu, "cpu", "cores to lend (default: all)")
	fs.Var(&f.memory, "memory", "memory to lend (default: three quarters of what is free)")
	fs.Var(&f.disk, "disk", "disk space to lend under --home (default: half of what is free)")
	fs.StringVar(&f.moniker, "moniker", "", "name shown to tenants (default: the host's)")
	fs.StringVar(&f.contact, "contact", "", "how people reach you, such as a mail address")
	fs.StringVar(&f.region, "region", "", "short name of where the machine is, such as eu")
	fs.StringArrayVar(&f.attributes, "attribute", nil, "KEY=VALUE that tenants may ask for (repeatable)")
	fs.StringArrayVar(&f.listen, "listen", nil, "multiaddress to listen on (repeatable; default: every interface, free ports)")
	fs.StringArrayVar(&f.announce, "announce", nil, "multiaddress to tell others, if a router forwards it (repeatable)")
	fs.StringArrayVar(&f.relays, "relay", nil, "address of a relay, as `moyai relay` prints it, for a machine behind a router (repeatable; default: found by itself)")
	fs.BoolVar(&f.keepPorts, "no-port-mapping", false, "do not ask the router to forward a port (UPnP, NAT-PMP)")
	fs.Var(&f.up, "upload", "most bytes a second that leave for tenants, such as 2Mi (default: as many as go)")
	fs.Var(&f.down, "download", "most bytes a second that come from tenants")
	fs.StringVar(&f.containers, "containers", "", "run container images (Linux): what holds here of gvisor and container (as root, with containerd) or else docker (a Docker that is there already), or those named, with a comma, or none (default: gvisor, where it holds)")
	fs.Lookup("containers").NoOptDefVal = containersAll
	f.images = 16 << 30
	fs.StringArrayVar(&f.allow, "registry-allow", nil, "HOST[:PORT] of an image registry that may be pulled from although it is not at a public address (repeatable)")
	fs.Var(&f.images, "image-cache", "disk for images and programs that the next lease may want again")
	fs.Var(&f.volumes, "volumes", "disk for tenants' volumes (default: a quarter of --disk; needs --containers)")
	fs.DurationVar(&f.maxKeep, "keep-volumes", 7*24*time.Hour, "longest time a volume is kept after its lease")
	f.egress.flags(fs)
	fs.StringVar(&f.bond, "bond", "0MOY", "stake put up when joining")
	fs.StringVar(&f.operator, "operator", "", "address that is paid and bonded while its key stays elsewhere; --hot acts for it")
	fs.StringVar(&f.hot, "hot", "", "account key that sends closes and, with --operator, acts for the machine")
	fs.StringVar(&f.worker, "worker", "", "path of moyai-worker (default: beside moyai)")
	fs.StringVar(&f.cache, "cache", "", "folder of compiled programs and unpacked images, which several providers of a machine may share (default: in --home)")
	fs.DurationVar(&f.keep, "keep-results", time.Hour, "longest time results are kept after a job's end, free of charge")
	f.ownerFlags.flags(cmd)
	fs.DurationVar(&f.grace, "grace", 0, "longest time to load a program, which is not paid (default 1m, with --containers 10m)")
	fs.StringVar(&f.logLevel, "log-level", "info", "debug, info, warn or error")
	fs.BoolVar(&f.dryRun, "dry-run", false, "show what would be offered, and join, make and write nothing")
}

func (a *app) provide(ctx context.Context, f provideFlags) error {
	cfg, err := a.provideConfig(ctx, f)
	if err != nil {
		return err
	}
	c, err := a.dial(ctx)
	if err != nil {
		return err
	}
	defer c.Close()
	cfg.Chain = c
	address := f.operator
	if address == "" {
		if address, err = a.ensureAccount(ctx, c, cfg.Keys, a.key); err != nil {
			return err
		}
	} else if _, err = a.ensureAccount(ctx, c, cfg.Keys, f.hot); err != nil {
		return err
	}
	cfg.Logger.Info("starting", "operator", address, "home", cfg.Home,
		"cpu", formatCPU(cfg.Capacity.CPUMilli), "memory", formatBytes(cfg.Capacity.MemoryBytes), "disk", formatBytes(cfg.Capacity.StorageBytes))
	p, err := provider.New(cfg)
	if err != nil {
		return err
	}
	go func() {
		select {
		case <-p.Ready():
			a.say("%s lends %s cores and %s of memory; `moyai provide status --home %s` tells what it earns",
				cfg.Moniker, formatCPU(cfg.Capacity.CPUMilli), formatBytes(cfg.Capacity.MemoryBytes), a.home)
			if p.Joining() {
				a.say("no token needed: the first lease registers this machine, at its tenant's expense; until then it serves orders that ask for no bond")
			}
		case <-ctx.Done():
		}
	}()
	return errors.Join(p.Run(ctx), stopEngines(cfg.Runtimes))
}

// terms are the flags that can be judged as they stand.
type terms struct {
	prices     provider.Prices // empty if none was given
	bond       amount.Coin
	attributes map[string]string
	owner      idle.Rules
	egress     *provider.EgressOffer
	logger     *slog.Logger
}

func (a *app) terms(f provideFlags) (t terms, err error) {
	if len(f.prices) > 0 {
		if t.prices, err = provider.ParsePrices(f.prices); err != nil {
			return t, usagef("--price: %w", err)
		}
	}
	if t.bond, err = amount.ParseCoin(f.bond); err != nil {
		return t, usagef("--bond: %w", err)
	}
	if t.egress, err = f.egress.offer(f.containers != "" && f.containers != containersNone, t.prices); err != nil {
		return t, err
	}
	if t.attributes, err = parseEnv(f.attributes); err != nil {
		return t, usagef("--attribute: write it like gpu.model=rtx4090")
	}
	if f.grace < 0 {
		return t, usagef("--grace %s: loading takes time", f.grace)
	}
	switch _, addressErr := chain.ParseAddress(f.operator); {
	case f.operator == "":
	case addressErr != nil:
		return t, usagef("--operator: %w", addressErr)
	case f.hot == "":
		return t, usagef("--operator leaves its key elsewhere: name with --hot a key of this home that acts for the machine")
	}
	if _, err := p2p.ParseRelays(f.relays); err != nil {
		return t, &usageError{err}
	}
	if _, err := p2p.ParseBootstrap(a.bootstrap); err != nil {
		return t, &usageError{err}
	}
	if err := (p2p.LineLimits{Up: uint64(f.up), Down: uint64(f.down)}).Validate(); err != nil {
		return t, usagef("--upload or --download: %w", err)
	}
	if t.owner, err = f.rules(); err != nil {
		return t, err
	}
	t.logger, err = a.logger(f.logLevel)
	return t, err
}

// provideConfig turns flags into the daemon's configuration, all but the chain.
func (a *app) provideConfig(ctx context.Context, f provideFlags) (provider.Config, error) {
	var cfg provider.Config
	t, err := a.terms(f)
	if err != nil {
		return cfg, err
	}
	if t.prices.Denom == "" {
		if t.prices, err = a.goingPrices(ctx); err != nil {
			return cfg, err
		}
	}
	home, err := filepath.Abs(a.home)
	if err != nil {
		return cfg, err
	}
	if err := os.MkdirAll(home, 0o700); err != nil {
		return cfg, fmt.Errorf("provider home: %w", err)
	}
	keys, err := a.keys()
	if err != nil {
		return cfg, err
	}
	nodeKey, err := p2p.LoadOrCreateKey(filepath.Join(home, "node.key"))
	if err != nil {
		return cfg, err
	}
	rt, err := wasm.New(wasm.Config{Worker: f.worker, CacheDir: f.programFolder(home)})
	if err != nil {
		return cfg, withHint(err, "moyai-worker lies beside moyai after `make build`; --worker names another")
	}
	runtimes := []compute.Runtime{rt}
	boxes, err := f.boxes(ctx, home)
	if err != nil {
		return cfg, err
	}
	if boxes.without != nil {
		t.logger.Info("no container images are run; --containers=none would not look", "why", boxes.without)
	}
	if t.egress != nil {
		if t.egress.Tiers = boxes.egress; len(boxes.egress) == 0 {
			return cfg, withHint(errors.Join(fmt.Errorf("egress cannot be offered: %s", strings.Join(boxes.missing, "; ")), stopEngines(boxes.runtimes)),
				"`moyai provide doctor` tells what is missing; without --egress containers are lent without a way to the internet")
		}
	}
	runtimes = append(runtimes, boxes.runtimes...)
	if f.grace == 0 && len(boxes.runtimes) > 0 {
		f.grace = imageGrace
	}
	found := machine.Discover(ctx, machine.Host(), home)
	capacity, err := provider.Lend(found, f.chosen())
	if err != nil {
		return cfg, err
	}
	cards, _ := lentGPUs(found, t.prices, boxes.devices)
	if t.prices, err = f.floor(a, t.prices, capacity.CPUMilli); err != nil {
		return cfg, err
	}
	return provider.Config{
		Home: home, Keys: keys, Operator: a.key, OperatorAddress: f.operator, Hot: f.hot, NodeKey: nodeKey,
		Listen: f.listen, Announce: f.announce, Relays: f.relays, Bootstrap: a.bootstrap, KeepPorts: f.keepPorts,
		Line: p2p.LineLimits{Up: uint64(f.up), Down: uint64(f.down)}, Region: f.region,
		Moniker: f.name(), Contact: f.contact, Attributes: t.attributes,
		Runtimes: runtimes, Capacity: capacity, GPUs: cards, Egress: t.egress, Prices: t.prices, Owner: t.owner, Bond: t.bond,
		KeepResults: f.keep, Grace: f.grace, Logger: t.logger,
		RegistryAllow: f.allow, ImageBytes: uint64(f.images), Volumes: f.volumePolicy(boxes.volumes, capacity),
	}, nil
}

// volumePolicy is what the owner takes of volumes, if their size can be held here.
func (f *provideFlags) volumePolicy(held bool, lent provider.Capacity) provider.VolumePolicy {
	if !held {
		return provider.VolumePolicy{}
	}
	p := provider.VolumePolicy{Bytes: uint64(f.volumes), MaxKeep: f.maxKeep}
	if p.Bytes == 0 {
		p.Bytes = lent.StorageBytes / 4
	}
	return p
}

func (f *provideFlags) name() string {
	if f.moniker != "" {
		return f.moniker
	}
	host, err := os.Hostname()
	if err != nil {
		return "provider"
	}
	return host
}

// chosen is what the owner lends by name; zero: what is found.
func (f *provideFlags) chosen() provider.Capacity {
	return provider.Capacity{CPUMilli: uint64(f.cpu), MemoryBytes: uint64(f.memory), StorageBytes: uint64(f.disk), EgressBytes: f.egress.lent()}
}

// ensureAccount makes an account key if there is none and, on a development
// network, fills an empty account.
func (a *app) ensureAccount(ctx context.Context, c *chain.Client, keys *chain.Keys, name string) (string, error) {
	key, err := keys.Show(name)
	if errors.Is(err, chain.ErrNoKey) {
		var words string
		if key, words, err = keys.Create(name); err == nil {
			a.say("made account %s; write these words down, they are the only way to restore it:\n\n  %s\n", key.Address, words)
		}
	}
	if err != nil {
		return "", err
	}
	faucet := os.Getenv("MOYAI_FAUCET")
	if faucet == "" {
		return key.Address, nil // with nothing, a first lease registers it
	}
	have, err := c.Balance(ctx, key.Address, chain.BaseDenom)
	if err != nil || have.Cmp(amount.New(joinFunds)) >= 0 {
		return key.Address, err
	}
	if err := devnet.AskFaucet(ctx, faucet, key.Address); err != nil {
		return "", err
	}
	a.say("the faucet filled %s", key.Address)
	return key.Address, nil
}

// logger writes to standard error: text for people, JSON with --json.
func (a *app) logger(level string) (*slog.Logger, error) {
	var l slog.Level
	if err := l.UnmarshalText([]byte(strings.ToUpper(level))); err != nil {
		return nil, usagef("--log-level %q: use debug, info, warn or error", level)
	}
	opts := &slog.HandlerOptions{Level: l}
	if a.json {
		return slog.New(slog.NewJSONHandler(a.err, opts)), nil
	}
	return slog.New(slog.NewTextHandler(a.err, opts)), nil
}
