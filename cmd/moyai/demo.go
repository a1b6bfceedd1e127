package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"
	"github.com/vbauerster/mpb/v8"
	"github.com/vbauerster/mpb/v8/decor"

	"github.com/moyai-network/moyai/devnet"
	"github.com/moyai-network/moyai/devnet/demo"
)

func (a *app) demoCommand() *cobra.Command {
	var o demo.Options
	var report string
	var keep bool
	cmd := &cobra.Command{
		Use:   "demo",
		Short: "bring up a whole network and render a picture on it",
		Long: `Bring up a chain, three providers with different prices and a tenant, as separate
processes; render a picture in tiles on all three; put it together; and account
for every unit of money from the chain. Run it in the source tree.`,
		Args: args(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			ctx, stop := interruptible(cmd.Context())
			defer stop()
			return a.demo(ctx, o, report, keep)
		},
	}
	// Here --json takes a file: the table is for people at any rate.
	f := cmd.Flags()
	f.StringVar(&report, "json", "", "write the report as JSON to this file")
	f.StringVar(&o.Dir, "dir", "demo", "folder for the picture and the network")
	f.StringVar(&o.Source, "source", "", "root of the source tree (default: found from here)")
	f.StringVar(&o.Program, "program", "", "compiled path tracer (default: compiled now)")
	f.BoolVar(&keep, "keep", false, "keep the network running afterwards, until Ctrl-C")
	return cmd
}

func (a *app) demo(ctx context.Context, o demo.Options, report string, keep bool) error {
	var err error
	if o.Binary, err = os.Executable(); err != nil {
		return fmt.Errorf("find the moyai executable: %w", err)
	}
	if o.Source == "" {
		if o.Source, err = sourceTree(); err != nil {
			return err
		}
	}
	view := a.newDemoView()
	o.Progress = view.progress
	d, err := demo.Run(ctx, o)
	view.close()
	if err != nil {
		return err
	}
	defer d.Close()
	if err := d.Write(a.out); err != nil {
		return err
	}
	if report != "" {
		if err := d.Report.Save(report); err != nil {
			return err
		}
	}
	if !d.Report.Conserved {
		return errors.New(d.Report.NotConserved)
	}
	if keep {
		a.say("the network stays up; Ctrl-C ends it")
		d.Watch(ctx, func(f devnet.Failure) { a.say("%s died: %v", f.Name, f.Err) })
	}
	return nil
}

// sourceTree finds the root of the source tree from the working folder, or from
// where the executable lies.
func sourceTree() (string, error) {
	var starts []string
	if wd, err := os.Getwd(); err == nil {
		starts = append(starts, wd)
	}
	if self, err := os.Executable(); err == nil {
		starts = append(starts, filepath.Dir(self))
	}
	for _, dir := range starts {
		for {
			if _, err := os.Stat(filepath.Join(dir, "examples", "pathtracer")); err == nil {
				return dir, nil
			}
			up := filepath.Dir(dir)
			if up == dir {
				break
			}
			dir = up
		}
	}
	return "", withHint(errors.New("the demo needs the source tree, for its example"), "run it where you cloned the repository, or give --source")
}

// demoView shows the demo's progress: a bar on a terminal, lines in a pipe.
type demoView struct {
	a    *app
	bars *mpb.Progress
	bar  *mpb.Bar
	done int
}

func (a *app) newDemoView() *demoView {
	v := &demoView{a: a}
	if terminal(a.err) {
		v.bars = mpb.New(mpb.WithOutput(a.err), mpb.WithWidth(48))
	}
	return v
}

func (v *demoView) progress(p demo.Progress) {
	w := v.a.err
	if v.bars != nil {
		w = v.bars
	}
	if p.Text != "" {
		fmt.Fprintln(w, printable(p.Text))
	}
	if p.Total == 0 {
		return
	}
	switch {
	case v.bars == nil && p.Done != v.done:
		fmt.Fprintf(w, "%d of %d tiles\n", p.Done, p.Total)
	case v.bars != nil && v.bar == nil:
		v.bar = v.bars.AddBar(int64(p.Total), mpb.PrependDecorators(decor.CountersNoUnit("%d of %d tiles ")),
			mpb.AppendDecorators(decor.Percentage(), decor.Elapsed(decor.ET_STYLE_GO, decor.WC{W: 6})))
	}
	if v.bar != nil {
		v.bar.SetCurrent(int64(p.Done))
	}
	v.done = p.Done
}

// close lets the bar draw itself for the last time.
func (v *demoView) close() {
	if v.bars == nil {
		return
	}
	if v.bar != nil && !v.bar.Completed() {
		v.bar.Abort(false)
	}
	v.bars.Wait()
}
