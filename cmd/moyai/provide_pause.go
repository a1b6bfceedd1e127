package main

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/moyai-network/moyai/provider"
)

func (a *app) providePauseCommand() *cobra.Command {
	var end bool
	cmd := &cobra.Command{
		Use:   "pause",
		Short: "take no new work for now",
		Long: `Take no new work until ` + "`moyai provide resume`" + `. What runs goes on; with --end its
tenants get the notice that their bids promised, and it is ended then.`,
		Args: args(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if end {
				return a.steer(cmd.Context(), "no new work; what runs is ended after its notice", (*provider.Control).PauseAndEnd)
			}
			return a.steer(cmd.Context(), "no new work; what runs goes on", (*provider.Control).Pause)
		},
	}
	cmd.Flags().BoolVar(&end, "end", false, "end running work too, after the notice that was promised")
	return cmd
}

func (a *app) provideResumeCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "resume",
		Short: "take work again after a pause",
		Args:  args(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			return a.steer(cmd.Context(), "takes work again", (*provider.Control).Resume)
		},
	}
}

// steer tells the daemon of this home something.
func (a *app) steer(ctx context.Context, done string, what func(*provider.Control, context.Context) error) error {
	ctx, stop := interruptible(ctx)
	defer stop()
	home, err := filepath.Abs(a.home)
	if err != nil {
		return err
	}
	if err := what(provider.Dial(home), ctx); errors.Is(err, provider.ErrNotRunning) {
		return a.notProviding()
	} else if err != nil {
		return err
	}
	a.say("%s", done)
	return nil
}

func (a *app) notProviding() error {
	return withHint(fmt.Errorf("no provider runs in %s", a.home), "start it with `moyai provide --home %s`", a.home)
}
