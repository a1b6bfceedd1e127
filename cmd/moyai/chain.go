package main

import (
	"context"
	"fmt"
	"io"
	"path/filepath"
	"time"

	"cosmossdk.io/log/v2"
	"github.com/rs/zerolog"
	"github.com/spf13/cobra"

	"github.com/moyai-network/moyai/chain/node"
)

func (a *app) chainCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "chain",
		Short: "run a validator, look at the chain",
		Args:  args(cobra.NoArgs),
		RunE:  func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(a.chainInitCommand(), a.chainStartCommand(), a.chainStatusCommand(),
		a.chainModuleCommand("query", "ask any module of the chain anything"),
		a.chainModuleCommand("tx", "send a transaction of any module, such as a vote"))
	return cmd
}

func (a *app) chainInitCommand() *cobra.Command {
	var profile string
	spec := node.Spec{}
	v := node.Validator{}
	var fund []string
	cmd := &cobra.Command{
		Use:     "init CHAIN-ID",
		Short:   "found a chain with one validator in --home",
		Example: `  moyai chain init moyai-dev-7 --home ./v1 --rpc 127.0.0.1:26657 --fund moyai1…`,
		Args:    args(cobra.ExactArgs(1)),
		RunE: func(_ *cobra.Command, given []string) error {
			home, err := filepath.Abs(a.home)
			if err != nil {
				return err
			}
			v.Home = home
			spec.ChainID, spec.Profile, spec.Validators = given[0], node.Profile(profile), []node.Validator{v}
			for _, address := range fund {
				spec.Accounts = append(spec.Accounts, node.Account{Address: address, Amount: foundersFunds})
			}
			if err := node.Init(spec); err != nil {
				return err
			}
			a.say("founded %s in %s; run it with `moyai chain start --home %s`", spec.ChainID, a.home, a.home)
			return nil
		},
	}
	f := cmd.Flags()
	f.StringVar(&profile, "profile", string(node.Dev), "dev (50 ms blocks) or lan (200 ms)")
	f.StringVar(&v.Moniker, "moniker", "", "name of the validator (default: the home's)")
	f.StringVar(&v.RPC, "rpc", "127.0.0.1:26657", "where RPC listens")
	f.StringVar(&v.P2P, "p2p", "127.0.0.1:26656", "where consensus listens")
	f.StringVar(&v.GRPC, "grpc", "", "where gRPC listens (default: off)")
	f.StringVar(&v.REST, "rest", "", "where REST listens (default: off)")
	f.StringArrayVar(&fund, "fund", nil, "account that owns 1,000,000 MOY from the first block (repeatable)")
	return cmd
}

// foundersFunds is what `chain init --fund` gives, in umoy.
const foundersFunds = 1_000_000_000_000

func (a *app) chainStartCommand() *cobra.Command {
	var level string
	cmd := &cobra.Command{
		Use:   "start",
		Short: "run the validator of --home",
		Args:  args(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			ctx, stop := interruptible(cmd.Context())
			defer stop()
			home, err := filepath.Abs(a.home)
			if err != nil {
				return err
			}
			l, err := zerolog.ParseLevel(level)
			if err != nil {
				return usagef("--log-level %q: use debug, info, warn or error", level)
			}
			opts := []log.Option{log.LevelOption(l), log.ColorOption(terminal(a.err))}
			if a.json {
				opts = append(opts, log.OutputJSONOption())
			}
			return node.Run(ctx, node.Config{Home: home, Logger: log.NewLogger(a.err, opts...)})
		},
	}
	cmd.Flags().StringVar(&level, "log-level", "info", "debug, info, warn or error")
	return cmd
}

type chainView struct {
	ChainID   string    `json:"chain_id"`
	RPC       string    `json:"rpc"`
	Height    int64     `json:"height"`
	BlockTime time.Time `json:"block_time"`
	MeterMS   uint64    `json:"meter_ms"`
	Burned    string    `json:"burned"`
	Paid      string    `json:"paid"`
}

func (a *app) chainStatusCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "status",
		Short: "show the chain's height, clocks and totals",
		Args:  args(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			ctx, stop := interruptible(cmd.Context())
			defer stop()
			return a.chainStatus(ctx)
		},
	}
}

func (a *app) chainStatus(ctx context.Context) error {
	c, err := a.dial(ctx)
	if err != nil {
		return err
	}
	defer c.Close()
	v := chainView{ChainID: c.ChainID(), RPC: c.RPC()}
	if v.Height, err = c.Height(ctx); err != nil {
		return err
	}
	block, err := c.Block(ctx, v.Height)
	if err != nil {
		return err
	}
	v.BlockTime = block.Time.UTC()
	clock, err := c.MeterClock(ctx)
	if err != nil {
		return err
	}
	v.MeterMS = clock.NowMs
	totals, err := c.Totals(ctx)
	if err != nil {
		return err
	}
	v.Burned, v.Paid = fmt.Sprint(totals.Burned), fmt.Sprint(totals.Paid)
	return a.print(v, func(w io.Writer) error {
		t := newTable(w, "chain", v.ChainID+" at "+v.RPC)
		t.row("height", fmt.Sprint(v.Height))
		t.row("block time", v.BlockTime.Format(time.RFC3339Nano))
		t.row("meter time", formatMS(v.MeterMS))
		t.row("paid to providers", v.Paid)
		t.row("burned", v.Burned)
		return t.flush()
	})
}
