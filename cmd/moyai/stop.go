package main

import (
	"context"
	"io"
	"time"

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
			res, err := c.Stop(ctx, given[0])
			if err != nil {
				return a.explain(err)
			}
			return a.print(res, func(io.Writer) error {
				a.say("stopped")
				a.summary(res)
				return nil
			})
		},
	}
}
