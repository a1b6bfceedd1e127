package main

import (
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"

	"github.com/moyai-network/moyai/mechanism/amount"
	"github.com/moyai-network/moyai/provider"
)

func (a *app) provideStatusCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "status",
		Short: "show what this machine lends, runs and has earned",
		Args:  args(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			ctx, stop := interruptible(cmd.Context())
			defer stop()
			home, err := filepath.Abs(a.home)
			if err != nil {
				return err
			}
			s, err := provider.Dial(home).Status(ctx)
			if errors.Is(err, provider.ErrNotRunning) {
				return a.notProviding()
			}
			if err != nil {
				return err
			}
			return a.print(s, func(w io.Writer) error { return printStatus(w, s) })
		},
	}
}

func printStatus(w io.Writer, s *provider.Status) error {
	t := newTable(w, "provider", s.Moniker+" "+s.Operator)
	t.row("machine", s.Node)
	bidding := "yes"
	if s.NotBidding != nil {
		bidding = "no: " + s.NotBidding.Text
	}
	t.row("answers orders", bidding)
	t.row("reached", string(s.Reach))
	for _, c := range s.Capacity {
		t.row(c.Dimension, fmt.Sprintf("%s of %s free", formatQuantity(c.Dimension, c.Free), formatQuantity(c.Dimension, c.Total)))
	}
	for _, e := range s.Totals {
		t.row("earned", fmt.Sprintf("%s from %s, %s in all", amount.FormatAmount(e.Provider, e.Denom),
			plural(int(e.Leases), "lease", "leases"), formatMS(e.BilledMS)))
	}
	for _, al := range s.Alerts {
		t.row(al.Severity, al.Text)
	}
	if err := t.flush(); err != nil || len(s.Leases) == 0 {
		return err
	}
	fmt.Fprintln(w)
	t = newTable(w, "LEASE", "TENANT", "WORK", "CHAIN", "SERVED", "TASKS", "EARNED", "ENDED")
	for _, l := range s.Leases {
		earned := amount.FormatAmount(l.Earned, l.Denom)
		if !l.Paid {
			earned += " so far"
		}
		if l.EndsBy != 0 && l.Reason == "" {
			l.Reason = "notice: ends " + time.UnixMilli(l.EndsBy).Format(time.TimeOnly)
		}
		t.row(short(l.ID), l.Payer, l.Work, l.Chain, formatMS(l.ElapsedMS), fmt.Sprint(l.Tasks), earned, l.Reason)
	}
	return t.flush()
}

// formatQuantity shows an amount of a dimension as people say it.
func formatQuantity(dimension string, n uint64) string {
	switch dimension {
	case provider.DimCPU:
		return formatCPU(n) + " cores"
	case provider.DimMemory, provider.DimStorage, provider.DimEgress:
		return formatBytes(n)
	}
	return fmt.Sprint(n)
}
