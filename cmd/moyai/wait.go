package main

import (
	"github.com/spf13/cobra"
)

func (a *app) waitCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "wait ID",
		Short: "wait for a job's end, fetch its results and pass on its exit code",
		Args:  args(cobra.ExactArgs(1)),
		RunE: func(cmd *cobra.Command, given []string) error {
			if err := checkID(given[0]); err != nil {
				return err
			}
			ctx, stop := interruptible(cmd.Context())
			defer stop()
			c, err := a.client(ctx)
			if err != nil {
				return err
			}
			defer c.Close()
			state, err := c.Job(ctx, given[0])
			if err != nil {
				return a.explain(err)
			}
			view := a.viewOf(state)
			defer view.close()
			res, err := c.Wait(ctx, given[0], view.event)
			if res == nil {
				return a.explain(err)
			}
			return a.finish(res, err, view)
		},
	}
}
