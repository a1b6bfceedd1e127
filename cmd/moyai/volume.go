package main

import (
	"io"
	"time"

	"github.com/spf13/cobra"

	"github.com/moyai-network/moyai/client"
)

func (a *app) volumeCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "volume",
		Short: "look at, bring home and delete what jobs left at providers",
		Long: `A volume is a folder that outlives the job that made it (moyai run --volume
NAME:/PATH). It stays at the machine that ran the job, for as long as --keep-volume
said; a later job with the same name finds it there.`,
		Args: args(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	with := func(do func(cmd *cobra.Command, c *client.Client, given []string) error) func(*cobra.Command, []string) error {
		return func(cmd *cobra.Command, given []string) error {
			ctx, stop := interruptible(cmd.Context())
			defer stop()
			cmd.SetContext(ctx)
			c, err := a.client(ctx)
			if err != nil {
				return err
			}
			defer c.Close()
			return a.explain(do(cmd, c, given))
		}
	}
	forget := false
	remove := &cobra.Command{
		Use: "rm NAME…", Short: "delete volumes at their providers", Args: args(cobra.MinimumNArgs(1)),
		RunE: with(func(cmd *cobra.Command, c *client.Client, given []string) error {
			for _, name := range given {
				if err := c.RemoveVolume(cmd.Context(), name, forget); err != nil {
					return err
				}
			}
			return nil
		}),
	}
	remove.Flags().BoolVar(&forget, "forget", false, "only forget where they are; the provider deletes them when their time is over")
	cmd.AddCommand(remove,
		&cobra.Command{
			Use: "ls", Short: "list volumes, where they are and for how long", Args: args(cobra.NoArgs),
			RunE: with(func(cmd *cobra.Command, c *client.Client, _ []string) error {
				volumes, err := c.Volumes(cmd.Context())
				if err != nil {
					return err
				}
				return a.printVolumes(volumes)
			}),
		},
		&cobra.Command{
			Use: "export NAME DIR", Short: "bring what a volume holds into a folder", Args: args(cobra.ExactArgs(2)),
			RunE: with(func(cmd *cobra.Command, c *client.Client, given []string) error {
				files, skipped, err := c.ExportVolume(cmd.Context(), given[0], given[1])
				if err != nil {
					return err
				}
				a.say("%d files are in %s", files, given[1])
				if skipped > 0 {
					a.say("%d links and special files would lead out of it, and were left out", skipped)
				}
				return nil
			}),
		})
	return cmd
}

func (a *app) printVolumes(volumes []client.VolumeReport) error {
	if volumes == nil {
		volumes = []client.VolumeReport{}
	}
	return a.print(volumes, func(w io.Writer) error {
		t := newTable(w, "VOLUME", "SIZE", "PROVIDER", "LAST USED", "KEPT")
		for _, v := range volumes {
			who := v.Moniker
			if who == "" {
				who = v.Provider
			}
			kept := "while its lease has it"
			switch {
			case v.Problem != "":
				kept = printable(v.Problem)
			case !v.KeepUntil.IsZero():
				kept = "until " + v.KeepUntil.Format(time.DateTime)
			}
			t.row(v.Name, formatBytes(v.Bytes), printable(who), v.Used.Format(time.DateTime), kept)
		}
		return t.flush()
	})
}
