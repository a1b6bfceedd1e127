package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"
	"github.com/vbauerster/mpb/v8"
	"github.com/vbauerster/mpb/v8/decor"

	"github.com/moyai-network/moyai/compute"
	"github.com/moyai-network/moyai/devnet"
	"github.com/moyai-network/moyai/devnet/demo"
)

func (a *app) demoCommand() *cobra.Command {
	var o demo.Options
	var report string
	var keep, kill bool
	cmd := &cobra.Command{
		Use:   "demo [EXAMPLE]",
		Short: "bring up a whole network and do some work on it",
		Long: `Bring up a chain, three providers with different prices and a tenant, as separate
processes; render a picture in tiles on all three; put it together; and account
for every unit of money from the chain. Run it in the source tree.

With an EXAMPLE, the work is that of examples/EXAMPLE/run.sh, in containers whose
image is made from Debian's packages (Debian, as root, with mmdebstrap, containerd
and runc).`,
		Example: `  moyai demo
  moyai demo blender
  moyai demo transcode --kill      # a provider loses its power in the middle`,
		Args: args(cobra.MaximumNArgs(1)),
		RunE: func(cmd *cobra.Command, given []string) error {
			ctx, stop := interruptible(cmd.Context())
			defer stop()
			if o.Source == "" {
				var err error
				if o.Source, err = sourceTree(); err != nil {
					return err
				}
			}
			if len(given) == 0 {
				if kill {
					return usagef("--kill: name an example, such as transcode")
				}
				return a.demo(ctx, o, report, keep)
			}
			if keep || o.Program != "" {
				return usagef("--keep and --program belong to the demo without an example")
			}
			e := demo.ExampleOptions{Name: given[0], Source: o.Source, Dir: o.Dir, Kill: kill}
			if !cmd.Flags().Changed("dir") {
				e.Dir = filepath.Join(o.Dir, e.Name)
			}
			return a.example(ctx, e, report)
		},
	}
	// Here --json takes a file: the table is for people at any rate.
	f := cmd.Flags()
	f.StringVar(&report, "json", "", "write the report as JSON to this file")
	f.StringVar(&o.Dir, "dir", "demo", "folder for the results and the network (of an example: demo/EXAMPLE, cleared first)")
	f.StringVar(&o.Source, "source", "", "root of the source tree (default: found from here)")
	f.StringVar(&o.Program, "program", "", "compiled path tracer (default: compiled now)")
	f.BoolVar(&keep, "keep", false, "keep the network running afterwards, until Ctrl-C")
	f.BoolVar(&kill, "kill", false, "kill a provider and its containers in the middle of an example")
	return cmd
}

func (a *app) demo(ctx context.Context, o demo.Options, report string, keep bool) error {
	var err error
	if o.Binary, err = os.Executable(); err != nil {
		return fmt.Errorf("find the moyai executable: %w", err)
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
		if err := demo.Save(d.Report, report); err != nil {
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

// example plays one of examples/.
func (a *app) example(ctx context.Context, o demo.ExampleOptions, report string) error {
	var err error
	if o.Binary, err = os.Executable(); err != nil {
		return fmt.Errorf("find the moyai executable: %w", err)
	}
	o.Out, o.Err = a.out, a.err
	o.Say = func(text string) { a.say("%s", printable(text)) }
	e, err := demo.RunExample(ctx, o)
	if err != nil {
		if errors.Is(err, compute.ErrUnavailable) {
			return withHint(err, "scripts/container-deps.sh mmdebstrap installs what the examples need; `moyai provide doctor` tells more")
		}
		return err
	}
	fmt.Fprintln(a.out)
	if err := e.Write(a.out); err != nil {
		return err
	}
	fmt.Fprintf(a.out, "%s took %s\n", o.Name, e.Took.Round(time.Second))
	if report != "" {
		if err := demo.Save(e.Bill, report); err != nil {
			return err
		}
	}
	if !e.Bill.Conserved {
		return errors.New(e.Bill.NotConserved)
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
