package main

import (
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/moyai-network/moyai/client"
)

func (a *app) eventsCommand() *cobra.Command {
	var follow bool
	cmd := &cobra.Command{
		Use:   "events [-f] LEASE",
		Short: "tell what happened to a lease, as you, the chain and the provider have it",
		Args:  args(cobra.ExactArgs(1)),
		RunE: func(cmd *cobra.Command, given []string) error {
			if err := checkRunning(given[0]); err != nil {
				return err
			}
			ctx, stop := interruptible(cmd.Context())
			defer stop()
			c, err := a.visitor(ctx)
			if err != nil {
				return err
			}
			defer c.Close()
			return a.explain(c.LeaseEvents(ctx, given[0], follow, a.happening))
		},
	}
	cmd.Flags().BoolVarP(&follow, "follow", "f", false, "go on until the lease is closed")
	return cmd
}

func (a *app) happening(h client.Happening) {
	if a.json {
		_ = a.line(h)
		return
	}
	fmt.Fprintf(a.out, "%s  %-8s  %-10s  %s\n", h.Time.Local().Format(time.DateTime), h.Source, printable(h.Kind), printable(h.Text))
}
