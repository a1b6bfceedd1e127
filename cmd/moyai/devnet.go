package main

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/moyai-network/moyai/compute/container"
	"github.com/moyai-network/moyai/devnet"
)

// defaultPrices are what the providers of a devnet ask for a core, so that
// there is something to choose from.
var defaultPrices = []string{"0.018MOY/h", "0.02MOY/h", "0.025MOY/h"}

// providerNames are what they are called; further ones are numbered.
var providerNames = []string{"alice", "bob", "carol"}

func (a *app) devnetCommand() *cobra.Command {
	var dir, profile string
	var validators, providers int
	var containers bool
	cmd := &cobra.Command{
		Use:   "devnet",
		Short: "keep a whole network running on this machine",
		Long: `Bring up a chain, providers and a faucet, one process each, and keep them until
Ctrl-C. Everything is in one folder: the same command continues the same chain.`,
		Example: `  moyai devnet --dir ./net --validators 1 --providers 2`,
		Args:    args(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			ctx, stop := interruptible(cmd.Context())
			defer stop()
			specs, err := providerSpecs(providers)
			if err != nil {
				return err
			}
			if err := a.lendContainers(specs, cmd.Flags().Changed("containers"), containers); err != nil {
				return err
			}
			return a.devnet(ctx, devnet.Config{
				Dir: dir, Profile: devnet.Profile(profile), Validators: validators, Providers: specs, RPCPort: 26657,
			})
		},
	}
	f := cmd.Flags()
	f.StringVar(&dir, "dir", "./net", "folder of the network")
	f.StringVar(&profile, "profile", string(devnet.Dev), "dev (50 ms blocks) or lan (four validators, 200 ms)")
	f.IntVar(&validators, "validators", 0, "how many validators (default: those of the profile)")
	f.IntVar(&providers, "providers", 2, "how many providers")
	f.BoolVar(&containers, "containers", false, "providers run container images too (default: where this machine can)")
	return cmd
}

// lendContainers has the providers lend containers if that is wanted, or possible
// and not refused.
func (a *app) lendContainers(specs []devnet.ProviderSpec, said, wanted bool) error {
	if said && !wanted {
		return nil
	}
	missing := container.Missing(container.Config{})
	if missing != nil && said {
		return withHint(missing, "`moyai provide doctor` tells what is missing")
	}
	if missing != nil {
		a.say("WebAssembly alone is lent: %v", missing)
		return nil
	}
	for i := range specs {
		specs[i].Containers = true
	}
	return nil
}

func providerSpecs(n int) ([]devnet.ProviderSpec, error) {
	if n < 0 {
		return nil, usagef("--providers %d: at least none", n)
	}
	specs := make([]devnet.ProviderSpec, n)
	for i := range specs {
		specs[i].Prices = []string{"cpu=" + defaultPrices[i%len(defaultPrices)]}
		if i < len(providerNames) {
			specs[i].Name = providerNames[i]
		}
	}
	return specs, nil
}

func (a *app) devnet(ctx context.Context, cfg devnet.Config) error {
	self, err := os.Executable()
	if err != nil {
		return fmt.Errorf("find the moyai executable: %w", err)
	}
	cfg.Binary, cfg.Logger = self, slog.New(slog.NewTextHandler(a.err, &slog.HandlerOptions{Level: slog.LevelWarn}))
	a.say("starting a network in %s", cfg.Dir)
	n, err := devnet.Start(ctx, cfg)
	if err != nil {
		return err
	}
	defer n.Stop()
	if err := a.print(viewDevnet(n), func(w io.Writer) error { return printDevnet(w, n) }); err != nil {
		return err
	}
	n.Watch(ctx, func(f devnet.Failure) {
		a.say("%s died: %v\nto start it again: %s", f.Name, f.Err, f.Command)
	})
	a.say("stopping; the same command continues this network")
	return nil
}

type devnetView struct {
	Dir       string            `json:"dir"`
	Chain     string            `json:"chain"`
	ChainID   string            `json:"chain_id"`
	Faucet    string            `json:"faucet"`
	Tenant    string            `json:"tenant"`
	Env       []string          `json:"env"`
	Providers []devnetRoleView  `json:"providers"`
	Logs      map[string]string `json:"logs"`
}

type devnetRoleView struct {
	Name    string   `json:"name"`
	Address string   `json:"address"`
	Home    string   `json:"home"`
	Prices  []string `json:"prices"`
	PID     int      `json:"pid"`
}

func viewDevnet(n *devnet.Network) devnetView {
	v := devnetView{Dir: n.Dir(), Chain: n.RPC, ChainID: n.ChainID, Faucet: n.FaucetURL, Tenant: n.Tenant, Env: n.Env(),
		Providers: []devnetRoleView{}, Logs: map[string]string{}}
	for _, p := range n.Providers {
		v.Providers = append(v.Providers, devnetRoleView{p.Name, p.Address, p.Home, p.Prices, p.PID()})
		v.Logs[p.Name] = p.Log()
	}
	for _, val := range n.Validators {
		v.Logs[val.Name] = val.Log()
	}
	return v
}

func printDevnet(w io.Writer, n *devnet.Network) error {
	fmt.Fprintf(w, "%s runs: %s, %s\n\n", n.ChainID, plural(len(n.Validators), "validator", "validators"), plural(len(n.Providers), "provider", "providers"))
	t := newTable(w, "PROVIDER", "PRICE", "HOME")
	for _, p := range n.Providers {
		t.row(p.Name, fmt.Sprint(p.Prices[0]), p.Home)
	}
	if err := t.flush(); err != nil {
		return err
	}
	fmt.Fprintln(w, "\nin another terminal:")
	for _, e := range n.Env() {
		fmt.Fprintf(w, "  export %s\n", e)
	}
	_, err := fmt.Fprintf(w, `
then, for example:
  moyai quote --cpu 1 --memory 512Mi
  moyai run --max-price 0.05MOY/h prog.wasm
  moyai provide --home ./p3 --price cpu=0.02MOY/h

logs are in %s; Ctrl-C stops the network
`, filepath.Join(n.Dir(), "logs"))
	return err
}
