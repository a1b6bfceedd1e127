package main

import (
	"context"
	"os"
	"os/signal"
	"time"

	"github.com/spf13/cobra"

	"github.com/moyai-network/moyai/client"
)

func (a *app) attachCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "attach ID",
		Short: "return to a job that was left running: its logs, its progress, its results",
		Long: `Return to a job from any terminal of the same home, whether it still runs or has
ended: its output is shown from the beginning, an array job's progress as a bar,
and results are fetched to where "moyai run --output" said. Ctrl-C leaves it
again. What a job leaves is kept by its provider for as long as its
--keep-results said, an hour by default.`,
		Args: args(cobra.ExactArgs(1)),
		RunE: func(cmd *cobra.Command, given []string) error {
			if err := checkID(given[0]); err != nil {
				return err
			}
			return a.attach(cmd.Context(), given[0])
		},
	}
}

func (a *app) attach(ctx context.Context, name string) error {
	c, err := a.client(ctx)
	if err != nil {
		return err
	}
	defer c.Close()
	state, err := c.Job(ctx, name)
	if err != nil {
		return a.explain(err)
	}
	view := a.viewOf(state)
	defer view.close()
	interrupts := make(chan os.Signal, 4)
	signal.Notify(interrupts, os.Interrupt)
	defer signal.Stop(interrupts)
	h, err := c.Attach(ctx, name, view.event)
	if err != nil {
		return a.explain(err)
	}
	return a.attend(ctx, h, view, interrupts)
}

// viewOf shows a job that another process began, from where that left off.
func (a *app) viewOf(s *client.JobState) *jobView {
	v := a.newJobView(s.Array, false)
	v.resume(s.Done)
	if until := s.KeptUntil(); !until.IsZero() && until.After(time.Now()) && !a.json {
		v.say("job %s ended at %s; its results are kept until %s", short(s.ID),
			s.Ended.Local().Format(time.DateTime), until.Local().Format(time.DateTime))
	}
	return v
}
