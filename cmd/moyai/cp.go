package main

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/moyai-network/moyai/client"
)

func (a *app) cpCommand() *cobra.Command {
	limit := bytesValue(64 << 30)
	var quiet bool
	cmd := &cobra.Command{
		Use:   "cp SRC LEASE:PATH | cp LEASE:PATH DST",
		Short: "copy files and folders into a running lease, or out of it",
		Long: `Copy a file or folder into what runs on a lease, or out of it. As cp has it: into
the destination if that is a folder, else under its name. A lone - is a tar on
standard input or output.`,
		Example: `  moyai cp ./data 4f2c:/work/
  moyai cp 4f2c:/out/model.pt .
  tar c src | moyai cp - 4f2c:/work`,
		Args: args(cobra.ExactArgs(2)),
		RunE: func(cmd *cobra.Command, given []string) error {
			from, to := parsePlace(given[0]), parsePlace(given[1])
			switch {
			case from.lease != "" && to.lease != "":
				return usagef("both are inside a lease: copy out of one first, then into the other")
			case from.lease == "" && to.lease == "":
				return usagef("neither is inside a lease: write one like 4f2c:/work; %s takes files that have a colon in their name as ./NAME", "moyai cp")
			}
			for _, p := range []place{from, to} {
				if p.lease == "" {
					continue
				}
				if err := checkRunning(p.lease); err != nil {
					return err
				}
				if p.path == "" {
					return usagef("no path inside: write it like %s:/work", p.lease)
				}
			}
			ctx, stop := interruptible(cmd.Context())
			defer stop()
			return a.copy(ctx, from, to, int64(limit), quiet)
		},
	}
	cmd.Flags().Var(&limit, "limit", "most that may come out")
	cmd.Flags().BoolVarP(&quiet, "quiet", "q", false, "show no progress")
	return cmd
}

// place is a path here, or inside a lease.
type place struct{ lease, path string }

// parsePlace reads LEASE:PATH; what has a slash before the colon is a path here.
func parsePlace(text string) place {
	lease, path, ok := strings.Cut(text, ":")
	if !ok || strings.HasPrefix(lease, ".") || strings.HasPrefix(lease, "/") || strings.Contains(lease, "\\") || len(lease) < 2 {
		return place{path: text}
	}
	return place{lease, path}
}

func (a *app) copy(ctx context.Context, from, to place, limit int64, quiet bool) error {
	c, err := a.visitor(ctx)
	if err != nil {
		return err
	}
	defer c.Close()
	if from.path == "-" && from.lease == "" {
		return a.explain(c.PutTar(ctx, to.lease, to.path, a.in))
	}
	if to.path == "-" && to.lease == "" {
		return a.explain(c.GetTar(ctx, from.lease, from.path, a.out))
	}
	p := &copyProgress{a: a, live: !quiet && terminal(a.err), began: time.Now()}
	o := client.Copying{MaxBytes: limit, Progress: p.moved, Warn: func(text string) { p.clear(); a.say("warning: %s", printable(text)) }}
	if from.lease != "" {
		err = c.CopyOut(ctx, from.lease, from.path, to.path, o)
	} else {
		err = c.CopyIn(ctx, to.lease, from.path, to.path, o)
	}
	p.clear()
	if err != nil {
		return a.explain(err)
	}
	if a.json {
		return a.line(map[string]any{"bytes": p.bytes, "ms": time.Since(p.began).Milliseconds()})
	}
	if !quiet {
		a.say("copied %s in %s", formatBytes(uint64(p.bytes)), time.Since(p.began).Round(10*time.Millisecond))
	}
	return nil
}

// copyProgress is one line on a terminal that says how far a copy has come.
type copyProgress struct {
	a     *app
	live  bool
	began time.Time
	shown time.Time
	bytes int64
}

func (p *copyProgress) moved(bytes int64) {
	const every = 100 * time.Millisecond
	p.bytes = bytes
	if now := time.Now(); p.live && now.Sub(p.shown) > every {
		p.shown = now
		rate := float64(bytes) / now.Sub(p.began).Seconds()
		fmt.Fprintf(p.a.err, "\r\x1b[K%s, %s/s", formatBytes(uint64(bytes)), formatBytes(uint64(rate)))
	}
}

func (p *copyProgress) clear() {
	if !p.shown.IsZero() {
		fmt.Fprint(p.a.err, "\r\x1b[K")
		p.shown = time.Time{}
	}
}
