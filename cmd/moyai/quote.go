package main

import (
	"io"
	"strings"

	"github.com/spf13/cobra"

	"github.com/moyai-network/moyai/client"
)

func (a *app) quoteCommand() *cobra.Command {
	var w wants
	cmd := &cobra.Command{
		Use:     "quote",
		Short:   "ask what a machine would cost; reserves nothing and costs nothing",
		Example: `  moyai quote --cpu 1 --memory 512Mi`,
		Args:    args(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			ctx, stop := interruptible(cmd.Context())
			defer stop()
			job, err := w.job()
			if err != nil {
				return err
			}
			c, err := a.client(ctx)
			if err != nil {
				return err
			}
			defer c.Close()
			quotes, err := c.Quote(ctx, job)
			if err != nil {
				return a.explain(err)
			}
			return a.printQuotes(quotes)
		},
	}
	w.flags(cmd)
	return cmd
}

func (a *app) printQuotes(quotes []client.Quote) error {
	if quotes == nil {
		quotes = []client.Quote{}
	}
	return a.print(quotes, func(w io.Writer) error {
		t := newTable(w, "PROVIDER", "PRICE", "STARTS", "REFUSES BECAUSE")
		for _, q := range quotes {
			name := q.Moniker
			if name == "" {
				name = q.Provider
			}
			if q.New {
				name += " (new)"
			}
			if len(q.Refusals) > 0 {
				t.row(name, "-", "-", strings.Join(q.Refusals, "; "))
				continue
			}
			start := "at once"
			if q.EstimatedStartMS > 0 {
				start = formatMS(q.EstimatedStartMS)
			}
			t.row(name, q.Price, start, "")
		}
		return t.flush()
	})
}
