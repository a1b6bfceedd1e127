package main

import (
	"time"

	"context"

	"github.com/spf13/cobra"
)

func (a *app) stopCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "stop ID",
		Short: "end a job early and settle what was used",
		Args:  args(cobra.ExactArgs(1)),
		RunE: func(cmd *cobra.Command, given []string) error {
			if err := checkID(given[0]); err != nil {
				return err
			}
			ctx, stop := interruptible(cmd.Context())
			defer stop()
			ctx, cancel := context.WithTimeout(ctx, 2*time.Minute)
			defer cancel()
			c, err := a.client(ctx)
			if err != nil {
				return err
			}
			defer c.Close()
			if err := c.Stop(ctx, given[0]); err != nil {
				return a.explain(err)
			}
			a.say("stopped; `moyai lease show %s` tells where the money went", given[0])
			return nil
		},
	}
}
