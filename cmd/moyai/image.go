package main

import (
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"

	"github.com/moyai-network/moyai/client"
)

func (a *app) imageCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "image",
		Short: "images that go straight to providers, without a registry",
		Long: `Give an image archive (as docker save writes it) a name. moyai run NAME then hands it
to whichever machine runs it, block by block and verified; a machine that has had
it before is sent nothing.`,
		Args: args(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	var name string
	push := &cobra.Command{
		Use: "push FILE", Short: "give an image archive a name to run it by", Args: args(cobra.ExactArgs(1)),
		Example: "  docker save app | gzip > app.tar.gz; moyai image push app.tar.gz; moyai run app",
		RunE: func(cmd *cobra.Command, given []string) error {
			ctx, stop := interruptible(cmd.Context())
			defer stop()
			p, err := client.PushImage(ctx, a.home, given[0], name)
			if err != nil {
				return err
			}
			return a.print(p, func(w io.Writer) error {
				_, err := fmt.Fprintf(w, "%s  %s  %s\n", p.Name, formatBytes(p.Bytes), p.ID)
				return err
			})
		},
	}
	push.Flags().StringVar(&name, "name", "", "the name (default: the file's)")
	cmd.AddCommand(push,
		&cobra.Command{
			Use: "ls", Short: "list pushed images", Args: args(cobra.NoArgs),
			RunE: func(*cobra.Command, []string) error {
				all, err := client.PushedImages(a.home)
				if err != nil {
					return err
				}
				return a.print(all, func(w io.Writer) error {
					t := newTable(w, "IMAGE", "SIZE", "PUSHED", "ID")
					for _, p := range all {
						t.row(p.Name, formatBytes(p.Bytes), p.Time.Format(time.DateTime), p.ID)
					}
					return t.flush()
				})
			},
		},
		&cobra.Command{
			Use: "rm NAME…", Short: "forget pushed images", Args: args(cobra.MinimumNArgs(1)),
			RunE: func(_ *cobra.Command, given []string) error {
				for _, n := range given {
					if err := client.RemovePushed(a.home, n); err != nil {
						return err
					}
				}
				return nil
			},
		})
	return cmd
}
