package main

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/moyai-network/moyai/client"
	"github.com/moyai-network/moyai/client/chain"
	"github.com/moyai-network/moyai/compute/egress"
	"github.com/moyai-network/moyai/mechanism/amount"
)

// client opens the tenant: keys, journal and transport.
func (a *app) client(ctx context.Context) (*client.Client, error) {
	if _, err := a.keys(); err != nil {
		return nil, err
	}
	return a.open(ctx, client.Config{KeyringBackend: a.keyring, Key: a.key, Passphrase: a.in})
}

// visitor opens the tenant without its keys, for what spends nothing: it must not ask
// for a passphrase on an input that belongs to a program.
func (a *app) visitor(ctx context.Context) (*client.Client, error) {
	return a.open(ctx, client.Config{Keyless: true})
}

func (a *app) open(ctx context.Context, cfg client.Config) (*client.Client, error) {
	cfg.RPC, cfg.Home, cfg.Bootstrap = a.node, a.home, a.bootstrap
	c, err := client.New(ctx, cfg)
	switch {
	case errors.Is(err, chain.ErrUnreachable):
		return nil, a.noChain()
	case errors.Is(err, chain.ErrNoKey):
		return nil, a.noKey(a.key, err)
	}
	return c, err
}

// wants are the flags that say what is rented; quote and run share them.
type wants struct {
	cpu      cpuValue
	memory   bytesValue
	gpus     uint64
	slices   uint64
	timeout  time.Duration
	maxPrice string
	minBond  string
	require  []string
	egress   []string
	outbound bytesValue
}

func (w *wants) flags(cmd *cobra.Command) {
	w.cpu, w.memory = 1000, 256<<20
	f := cmd.Flags()
	f.Var(&w.cpu, "cpu", "cores, such as 1, 0.5 or 500m")
	f.Var(&w.memory, "memory", "memory of the program, such as 512Mi")
	f.Uint64Var(&w.gpus, "gpu", 0, "graphics cards for a container, each to itself; --require gpu.model=…, gpu.memory>=…")
	f.Uint64Var(&w.slices, "gpu-slice", 0, "parts of graphics cards (MIG) for a container")
	f.DurationVar(&w.timeout, "timeout", 10*time.Minute, "longest time each lease is paid for")
	f.StringVar(&w.maxPrice, "max-price", "0.05MOY/h", "the most you pay per lease")
	f.StringVar(&w.minBond, "min-bond", "0MOY", "what a provider must stake on each lease")
	f.StringArrayVar(&w.egress, "egress", nil, "where a container may speak to, such as 'pypi.org:443,*.debian.org', or * for the web (repeatable; default: nowhere)")
	f.Var(&w.outbound, "egress-bytes", "budget for that, both directions (default: 1Gi)")
	f.StringArrayVar(&w.require, "require", nil, "attribute of the machine, such as region=eu or cpu.cores>=8 (repeatable)")
}

// job fills the part of a job that the flags describe.
func (w *wants) job() (client.Job, error) {
	price, err := amount.ParsePrice(w.maxPrice)
	if err != nil {
		return client.Job{}, usagef("--max-price: %w", err)
	}
	bond, err := amount.ParseCoin(w.minBond)
	if err != nil {
		return client.Job{}, usagef("--min-bond: %w", err)
	}
	if bond.Denom != chain.BaseDenom {
		return client.Job{}, usagef("--min-bond: bonds are in MOY")
	}
	if w.timeout <= 0 {
		return client.Job{}, usagef("--timeout: a lease needs some time, such as 10m")
	}
	constraints, err := parseConstraints(w.require)
	if err != nil {
		return client.Job{}, err
	}
	policy, err := egress.ParsePolicy(w.egress)
	if err != nil {
		return client.Job{}, usagef("--egress: %w", err)
	}
	if len(policy) == 0 && w.outbound > 0 {
		return client.Job{}, usagef("--egress-bytes: say where to as well, with --egress")
	}
	return client.Job{
		Egress: policy.Texts(), EgressBytes: uint64(w.outbound),
		CPUMilli: uint64(w.cpu), MemoryBytes: uint64(w.memory), GPUs: w.gpus, GPUSlices: w.slices, Timeout: w.timeout,
		MaxPrice: price, MinBond: bond.Amount, Constraints: constraints,
	}, nil
}

// parseConstraints reads conditions such as region=eu; the longer operators
// first, or ">=" would be read as "=".
func parseConstraints(texts []string) ([]client.Constraint, error) {
	var out []client.Constraint
next:
	for _, text := range texts {
		for _, op := range []string{">=", "<=", "!=", "="} {
			attribute, value, ok := strings.Cut(text, op)
			if ok && attribute != "" && value != "" {
				out = append(out, client.Constraint{Attribute: attribute, Op: op, Value: value})
				continue next
			}
		}
		return nil, usagef("--require %q: write it like region=eu, region!=eu or cpu.cores>=8", text)
	}
	return out, nil
}

// parseInputs reads NAME=PATH pairs.
func parseInputs(texts []string) ([]client.Input, error) {
	var out []client.Input
	for _, text := range texts {
		name, path, ok := strings.Cut(text, "=")
		if !ok || name == "" || path == "" {
			return nil, usagef("--input %q: write it like in=./data; the program finds it at /in/in", text)
		}
		out = append(out, client.Input{Name: name, Path: path})
	}
	return out, nil
}

// parseEnv reads KEY=VALUE pairs.
func parseEnv(texts []string) (map[string]string, error) {
	out := map[string]string{}
	for _, text := range texts {
		key, value, ok := strings.Cut(text, "=")
		if !ok || key == "" {
			return nil, usagef("--env %q: write it like KEY=VALUE", text)
		}
		out[key] = value
	}
	return out, nil
}

// maxTasks bounds an array job: each index is dealt and retried one by one.
const maxTasks = 100_000

// parseArray reads FIRST-LAST.
func parseArray(text string, parallel int) (*client.Array, error) {
	if text == "" {
		return nil, nil
	}
	bad := usagef("--array %q: write it like 0-99, both ends included", text)
	from, to, ok := strings.Cut(text, "-")
	if !ok {
		return nil, bad
	}
	first, err1 := strconv.ParseUint(from, 10, 64)
	last, err2 := strconv.ParseUint(to, 10, 64)
	if err1 != nil || err2 != nil || last < first {
		return nil, bad
	}
	if last-first >= maxTasks {
		return nil, usagef("--array %q: at most %d tasks in one job", text, maxTasks)
	}
	if parallel < 1 {
		return nil, usagef("--parallel %d: at least one lease is needed", parallel)
	}
	return &client.Array{First: first, Last: last, Parallel: parallel}, nil
}

// explain adds what to do next to errors of the SDK.
func (a *app) explain(err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, client.ErrNoProviders):
		return withHint(err, "lend a machine yourself with `moyai provide`, or look at `moyai providers`")
	case errors.Is(err, client.ErrNoBid):
		return withHint(err, "ask for less, or see what there is with `moyai quote`")
	case errors.Is(err, client.ErrFunds):
		return withHint(err, "`moyai account` shows what you have")
	case errors.Is(err, client.ErrNotStarted):
		return withHint(err, "`moyai events -f` shows when it starts")
	case errors.Is(err, client.ErrEnded):
		return withHint(err, "`moyai ps` lists what runs, `moyai events` tells what happened")
	case errors.Is(err, client.ErrNotOurs):
		return withHint(err, "use the home it was opened from (--home or MOYAI_HOME)")
	case errors.Is(err, chain.ErrUnreachable):
		return a.noChain()
	}
	return err
}

// explainRun is explain for a job that could not be bought. Providers do not
// answer accounts that own nothing, so silence has a likelier reason than theirs.
func (a *app) explainRun(ctx context.Context, c *client.Client, err error) error {
	if !errors.Is(err, client.ErrNoBid) {
		return a.explain(err)
	}
	s, keyErr := c.Sender()
	if keyErr != nil {
		return a.explain(err)
	}
	have, balErr := c.Chain().Balance(ctx, s.Address(), chain.BaseDenom)
	if balErr != nil || !have.IsZero() {
		return a.explain(err)
	}
	return withHint(fmt.Errorf("not enough balance: account %s owns nothing, so no provider answers its orders", s.Address()),
		"send it some MOY; `moyai account` shows what it has")
}

func (a *app) noChain() error {
	return withHint(fmt.Errorf("no chain answers at %s", a.node),
		"start one with `moyai devnet --dir ./net`, or name another with --node or MOYAI_NODE")
}
