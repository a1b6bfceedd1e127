// Command bench measures everything the README claims about speed, in one run,
// and writes bench/out.json: name → {value, unit, n}. Processes are real and
// speak libp2p; nothing is warm but the compiled module.
//
//	go run ./bench                        everything, under eight minutes on two cores
//	go run ./bench -only dev,lan          some parts of it
//	go run ./bench -only lease-ops -profile DIR
//
// It measures; it asserts nothing and fails only if something could not be
// measured. README.md tells what the figures mean and what moved them.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime/pprof"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/moyai-network/moyai/bench/load"
	"github.com/moyai-network/moyai/bench/measure"
	"github.com/moyai-network/moyai/bench/nat"
	"github.com/moyai-network/moyai/devnet/homes"
)

// promised are the figures that a whole run must have.
var promised = []string{
	"order_to_output_dev_ms", "order_to_output_lan_ms", "wasm_ratio",
	"lease_ops_single_per_s", "lease_ops_batched_per_s", "bank_sends_per_s",
	"txs_per_lease", "bytes_per_lease",
}

// bench is one run.
type bench struct {
	bin      string // folder with moyai and moyai-worker
	out      string
	only     string
	profiles string
	keep     bool

	dir    string // everything this run makes
	begin  time.Time
	report measure.Report
}

// part is a piece that can be run by itself.
type part struct {
	name string
	run  func(*bench, context.Context) error
}

// parts in the order in which they run: what is sensitive to a warm machine
// first, what leaves most behind last.
var parts = []part{
	{"bare", (*bench).bareStart},
	{"dev", (*bench).dev},
	{"lan", (*bench).lan},
	{"kernels", (*bench).compute},
	{"nat", (*bench).nat},
	{"containers", (*bench).containers},
	{"enter", (*bench).enter},
	{"lease-ops", (*bench).leaseOps},
}

func main() {
	if len(os.Args) == 3 && os.Args[1] == nat.Argument { // this program, in another place
		os.Exit(nat.Main(os.Args[2]))
	}
	b := &bench{begin: time.Now()}
	flag.StringVar(&b.bin, "bin", "bin", "folder with the executables moyai and moyai-worker")
	flag.StringVar(&b.out, "out", "bench/out.json", "file for the figures")
	flag.StringVar(&b.only, "only", "", "run these parts only, separated by commas: "+strings.Join(partNames(), ", "))
	flag.StringVar(&b.profiles, "profile", "", "folder for CPU profiles of the loaded validator (they cost some speed)")
	flag.BoolVar(&b.keep, "keep", false, "keep the networks' folders and logs")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := b.run(ctx); err != nil {
		fmt.Fprintf(os.Stderr, "bench: %v\n", err)
		os.Exit(1)
	}
}

func partNames() []string {
	names := make([]string, len(parts))
	for i, p := range parts {
		names[i] = p.name
	}
	return names
}

func (b *bench) run(ctx context.Context) (err error) {
	chosen, err := b.chosen()
	if err != nil {
		return err
	}
	for _, path := range []*string{&b.bin, &b.out, &b.profiles} {
		if *path == "" {
			continue
		}
		if *path, err = filepath.Abs(*path); err != nil {
			return err
		}
	}
	if _, err := exec.LookPath(b.moyai()); err != nil {
		return fmt.Errorf("no executable %s: run `make build` first", b.moyai())
	}
	if b.dir, err = os.MkdirTemp("", "moyai-bench-"); err != nil {
		return err
	}
	defer func() {
		if b.keep || err != nil && ctx.Err() == nil {
			b.say("logs are in %s", b.dir)
			return
		}
		_ = os.RemoveAll(b.dir)
	}()
	stopProfile, err := b.profileSelf()
	if err != nil {
		return err
	}
	defer stopProfile()
	var failed []error
	for _, p := range chosen {
		b.say("== %s", p.name)
		if err := p.run(b, ctx); err != nil {
			failed = append(failed, fmt.Errorf("%s: %w", p.name, err))
		}
		if ctx.Err() != nil {
			return errors.New("interrupted; " + b.out + " has what was measured until then")
		}
		if err := b.store(false); err != nil {
			return err
		}
	}
	return errors.Join(append(failed, b.finish(len(chosen) == len(parts)))...)
}

// chosen are the parts named by -only, in the order in which they run.
func (b *bench) chosen() ([]part, error) {
	if b.only == "" {
		return parts, nil
	}
	wanted := strings.Split(b.only, ",")
	for _, w := range wanted {
		if !slices.Contains(partNames(), w) {
			return nil, fmt.Errorf("no part %q: there are %s", w, strings.Join(partNames(), ", "))
		}
	}
	return slices.DeleteFunc(slices.Clone(parts), func(p part) bool { return !slices.Contains(wanted, p.name) }), nil
}

// store writes the figures. What this run has not measured stays as an earlier
// one found it, unless the run is over and was a whole one.
func (b *bench) store(whole bool) error {
	if err := os.MkdirAll(filepath.Dir(b.out), 0o755); err != nil {
		return err
	}
	if whole {
		return b.report.WriteFile(b.out)
	}
	return b.report.UpdateFile(b.out)
}

// finish prints the figures and stores them for the last time.
func (b *bench) finish(whole bool) error {
	if err := b.report.Print(os.Stdout); err != nil {
		return err
	}
	if err := b.store(whole); err != nil {
		return err
	}
	b.say("wrote %s", b.out)
	if missing := b.report.Missing(promised); whole && len(missing) > 0 {
		return fmt.Errorf("not measured: %s", strings.Join(missing, ", "))
	}
	return nil
}

// profileSelf profiles this process, which generates the load, if profiles are
// wanted.
func (b *bench) profileSelf() (stop func(), err error) {
	if b.profiles == "" {
		return func() {}, nil
	}
	if err := os.MkdirAll(b.profiles, 0o755); err != nil {
		return nil, err
	}
	f, err := os.Create(filepath.Join(b.profiles, "bench.pprof"))
	if err != nil {
		return nil, err
	}
	if err := pprof.StartCPUProfile(f); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return func() {
		pprof.StopCPUProfile()
		_ = f.Close()
	}, nil
}

// say prints a line of progress with the time since the start.
func (b *bench) say(format string, args ...any) {
	fmt.Printf("[%5.1fs] %s\n", time.Since(b.begin).Seconds(), fmt.Sprintf(format, args...))
}

func (b *bench) programs() programs { return programs{b.dir} }

func (b *bench) moyai() string { return filepath.Join(b.bin, "moyai") }

// nat measures machines behind routers, where a small internet can be built.
func (b *bench) nat(ctx context.Context) error {
	err := nat.Run(ctx, &b.report, b.say)
	if errors.Is(err, homes.ErrUnavailable) {
		b.say("skipped: %v", err)
		return nil
	}
	return err
}

// leaseOps loads a chain with lease operations and bank sends.
func (b *bench) leaseOps(ctx context.Context) error {
	cfg := load.Defaults()
	cfg.Bin, cfg.Profiles, cfg.Say = b.moyai(), b.profiles, b.say
	cfg.Dir = filepath.Join(b.dir, "lease-ops")
	if err := os.MkdirAll(cfg.Dir, 0o755); err != nil {
		return err
	}
	return load.Run(ctx, cfg, &b.report)
}
