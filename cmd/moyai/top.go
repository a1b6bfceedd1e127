package main

import (
	"context"
	"fmt"
	"io"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"github.com/moyai-network/moyai/client"
)

func (a *app) topCommand() *cobra.Command {
	every := 2 * time.Second
	var once bool
	cmd := &cobra.Command{
		Use:   "top LEASE",
		Short: "show the processes that run on a lease, and what they use",
		Args:  args(cobra.ExactArgs(1)),
		RunE: func(cmd *cobra.Command, given []string) error {
			if err := checkRunning(given[0]); err != nil {
				return err
			}
			if every < time.Second/2 || every > time.Minute {
				return usagef("--every %s: from 500ms to 1m", every)
			}
			live := terminal(a.out) && !a.json && !once
			if live || cmd.Flags().Changed("every") && !once {
				return a.top(cmd.Context(), given[0], every, live)
			}
			return a.top(cmd.Context(), given[0], 0, false)
		},
	}
	cmd.Flags().DurationVar(&every, "every", every, "how often it is shown anew; in a pipe and with --json: once, unless this is given")
	cmd.Flags().BoolVarP(&once, "once", "1", false, "show it once, on a terminal too")
	return cmd
}

func (a *app) top(ctx context.Context, lease string, every time.Duration, clear bool) error {
	ctx, stop := interruptible(ctx)
	defer stop()
	c, err := a.visitor(ctx)
	if err != nil {
		return err
	}
	defer c.Close()
	return a.explain(c.Top(ctx, lease, every, func(t client.Top) error {
		if a.json {
			return a.line(t)
		}
		if clear {
			fmt.Fprint(a.out, "\x1b[H\x1b[2J")
		}
		return printTop(a.out, t)
	}))
}

func printTop(w io.Writer, t client.Top) error {
	cpu, memory := formatShare(t.CPU), "at most "+formatBytes(t.MemoryPeak)
	if t.CPULimit > 0 {
		cpu += " of " + formatShare(t.CPULimit)
	}
	if t.MemoryLimit > 0 {
		memory += " of " + formatBytes(t.MemoryLimit)
	}
	fmt.Fprintf(w, "lease %s  up %s  cpu %s  memory %s  output %s\n", short(t.Lease), formatMS(t.WallMS), cpu, memory, formatBytes(t.OutputBytes))
	table := newTable(w, "PID", "CPU", "TIME", "MEMORY", "THREADS", "UP", "COMMAND")
	for _, p := range t.Processes {
		table.row(strconv.FormatUint(p.PID, 10), formatShare(p.CPU), formatMS(p.CPUMS), formatBytes(p.MemoryBytes),
			strconv.FormatUint(p.Threads, 10), formatMS(p.SinceMS), p.Command)
	}
	return table.flush()
}

// formatShare shows thousandths of a core.
func formatShare(milli uint64) string { return fmt.Sprintf("%.1f%%", float64(milli)/10) }
