package main

import (
	"io"
	"strconv"

	"github.com/spf13/cobra"

	"github.com/moyai-network/moyai/client"
)

func (a *app) psCommand() *cobra.Command {
	var all bool
	cmd := &cobra.Command{
		Use:   "ps",
		Short: "list your leases",
		Args:  args(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			ctx, stop := interruptible(cmd.Context())
			defer stop()
			c, err := a.client(ctx)
			if err != nil {
				return err
			}
			defer c.Close()
			leases, err := c.Leases(ctx, all)
			if err != nil {
				return a.explain(err)
			}
			return a.printLeases(leases)
		},
	}
	cmd.Flags().BoolVarP(&all, "all", "a", false, "those that are closed too")
	return cmd
}

func (a *app) printLeases(leases []client.LeaseReport) error {
	if leases == nil {
		leases = []client.LeaseReport{}
	}
	return a.print(leases, func(w io.Writer) error {
		t := newTable(w, "LEASE", "JOB", "PROVIDER", "PRICE", "STATE", "SECONDS", "TASKS", "PAID", "ENDED")
		for _, l := range leases {
			name := l.Moniker
			if name == "" {
				name = l.Provider
			}
			ms := l.AckedMS
			if l.BilledMS > 0 {
				ms = l.BilledMS
			}
			t.row(short(l.ID), short(l.JobID), name, l.Price, l.State, formatMS(ms),
				strconv.FormatUint(l.Tasks, 10), formatUnits(l.Paid, l.Denom), l.CloseReason)
		}
		return t.flush()
	})
}
