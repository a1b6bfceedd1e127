package demo

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/moyai-network/moyai/compute/container"
	"github.com/moyai-network/moyai/devnet"
	"github.com/moyai-network/moyai/provider/leasing"
)

// ExampleOptions say which example to play. An example is a folder of examples/
// with two files: "image", a recipe for examples/debimage, and "run.sh", which a
// tenant could type on any network. run.sh finds moyai in PATH, the image's path in
// IMAGE, and the folder for its results in OUT.
type ExampleOptions struct {
	Name   string
	Binary string // the moyai executable
	Source string // root of the source tree
	Dir    string // receives the results and the network's folder
	// Kill has a provider lose its power in the middle of the work.
	Kill bool
	// Out and Err are where the script speaks. Files are handed on as they are.
	Out, Err io.Writer
	Say      func(text string)
	Logger   *slog.Logger
}

// Example is an example that was played; its network is gone.
type Example struct {
	Bill *Bill
	Took time.Duration // of run.sh
	// Killed is the provider that lost its power; "" if none did.
	Killed string
}

const (
	imageRecipe = "image"
	script      = "run.sh"

	// A provider that has worked so long on a single task is in the middle of it.
	middle = 30 * time.Second
	// dark is how long a provider is without power: longer than a tenant waits for
	// it before somebody else gets its tasks.
	dark = 30 * time.Second
)

// Examples are the names of those in a source tree.
func Examples(source string) []string {
	scripts, _ := filepath.Glob(filepath.Join(source, "examples", "*", script)) // the pattern is valid
	names := make([]string, len(scripts))
	for i, s := range scripts {
		names[i] = filepath.Base(filepath.Dir(s))
	}
	return names
}

func exampleProviders() []devnet.ProviderSpec {
	specs := providers()
	for i := range specs {
		specs[i].MemoryBytes, specs[i].Containers = 3<<30, true
	}
	return specs
}

// RunExample makes the image, brings a network of three providers up, runs the
// script as its tenant, and reads the bill from the chain.
func RunExample(ctx context.Context, o ExampleOptions) (*Example, error) {
	folder := filepath.Join(o.Source, "examples", o.Name)
	if _, err := os.Stat(filepath.Join(folder, script)); err != nil || o.Name != filepath.Base(o.Name) {
		return nil, fmt.Errorf("no example is called %q: there are %s", o.Name, strings.Join(Examples(o.Source), ", "))
	}
	worker := filepath.Join(filepath.Dir(o.Binary), "moyai-worker") // where the providers find it too
	if err := container.Missing(container.Config{Worker: worker}); err != nil {
		return nil, err
	}
	var err error
	if o.Dir, err = filepath.Abs(o.Dir); err != nil {
		return nil, err
	}
	image, err := exampleImage(ctx, o, filepath.Join(folder, imageRecipe))
	if err != nil {
		return nil, err
	}
	if err := os.RemoveAll(o.Dir); err != nil {
		return nil, fmt.Errorf("clear the last results: %w", err)
	}
	if err := os.MkdirAll(o.Dir, 0o755); err != nil {
		return nil, err
	}
	o.Say("starting a chain and three providers that lend containers")
	s, err := raise(ctx, filepath.Join(o.Dir, "net"), o.Binary, exampleProviders(), o.Logger)
	if err != nil {
		return nil, err
	}
	defer s.net.Stop()
	return playExample(ctx, o, s, image, filepath.Join(folder, script))
}

func exampleImage(ctx context.Context, o ExampleOptions, recipe string) (string, error) {
	cmd := exec.CommandContext(ctx, "go", "run", "./examples/debimage", recipe)
	cmd.Dir, cmd.Stderr = o.Source, o.Err
	cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) }
	cmd.WaitDelay = time.Minute // it unmounts and removes what it made
	out, err := cmd.Output()
	if err != nil {
		return "", fmt.Errorf("the image of %s cannot be made: %w", o.Name, err)
	}
	return strings.TrimSpace(string(out)), nil
}

func playExample(ctx context.Context, o ExampleOptions, s *stage, image, script string) (*Example, error) {
	cmd := exec.Command("/bin/sh", script)
	cmd.Dir, cmd.Stdout, cmd.Stderr = o.Source, o.Out, o.Err
	cmd.Env = append(os.Environ(), "IMAGE="+image, "OUT="+o.Dir,
		"PATH="+filepath.Dir(o.Binary)+string(os.PathListSeparator)+os.Getenv("PATH"))
	begin := time.Now()
	cut := make(chan string, 1)
	over, done := context.WithCancel(ctx)
	defer done()
	go func() {
		defer close(cut)
		if o.Kill {
			cut <- powerCut(over, o, s.net)
		}
	}()
	err := s.net.Do(ctx, cmd)
	e := &Example{Took: time.Since(begin)}
	done()
	e.Killed = <-cut
	if err != nil {
		return nil, fmt.Errorf("examples/%s/run.sh: %w (logs are in %s)", o.Name, err, filepath.Join(s.net.Dir(), "logs"))
	}
	if o.Kill && e.Killed == "" {
		return nil, errors.New("the work was over before a provider could be killed in its middle")
	}
	e.Bill, err = s.bill(ctx)
	return e, err
}

// powerCut kills the first provider that is in the middle of its work, and starts
// it again when others have had the time to take over.
func powerCut(ctx context.Context, o ExampleOptions, n *devnet.Network) string {
	p := atWork(ctx, n)
	if p == nil {
		return ""
	}
	p.CutPower()
	o.Say(fmt.Sprintf("killed %s and all its containers in the middle of the work; it comes back in %s", p.Name, dark))
	select {
	case <-time.After(dark):
	case <-ctx.Done(): // it must come back all the same, to settle
	}
	if err := p.Start(); err != nil {
		o.Say(fmt.Sprintf("%s does not come back: %v", p.Name, err))
		return p.Name
	}
	ready, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Minute)
	defer cancel()
	if err := p.AwaitReady(ready); err != nil {
		o.Say(err.Error())
		return p.Name
	}
	o.Say(p.Name + " is back")
	return p.Name
}

// atWork waits for a provider that runs its second task, or has been long at its
// first; nil if ctx ends before.
func atWork(ctx context.Context, n *devnet.Network) *devnet.Provider {
	for {
		for _, p := range n.Providers {
			st, err := p.Status(ctx)
			if err != nil {
				continue
			}
			for _, l := range st.Leases {
				if l.Work == leasing.WorkRunning.String() && (l.Tasks > 0 || l.ElapsedMS > uint64(middle.Milliseconds())) {
					return p
				}
			}
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(200 * time.Millisecond):
		}
	}
}

// Write writes the bill as text.
func (e *Example) Write(w io.Writer) error { return e.Bill.write(w, "TASKS") }
