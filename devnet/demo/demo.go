// Package demo shows the whole network at work: it brings one up, lets three
// providers render a picture for a tenant, and accounts for every unit of money
// from the chain.
//
// It orchestrates processes and reads the chain. It takes no part itself: the
// tenant is a `moyai run` like anybody's, and no figure in the report comes from
// this package's own bookkeeping.
package demo

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"

	"github.com/moyai-network/moyai/devnet"
)

// Options say where things are and what to show.
type Options struct {
	Binary  string // the moyai executable
	Source  string // root of the source tree, which has the example
	Dir     string // receives out.png, the tiles and the network's folder
	Program string // compiled path tracer; empty: built from Source
	// Progress is called when something a person should see happens.
	Progress func(Progress)
	Logger   *slog.Logger
}

// Progress is one step of the demo.
type Progress struct {
	Text  string // a line to show; empty if only the count moved
	Done  int    // tiles that came back
	Total int
}

// providers of the demo: three prices, one core each, so that none can take the
// whole job.
func providers() []devnet.ProviderSpec {
	return []devnet.ProviderSpec{
		{Name: "alice", Prices: []string{"cpu=0.018MOY/h"}, CPUMilli: 1000, MemoryBytes: 1 << 30},
		{Name: "bob", Prices: []string{"cpu=0.02MOY/h"}, CPUMilli: 1000, MemoryBytes: 1 << 30},
		{Name: "carol", Prices: []string{"cpu=0.025MOY/h"}, CPUMilli: 1000, MemoryBytes: 1 << 30},
	}
}

// Demo is a demo whose network still runs. Close it when done.
type Demo struct {
	Report  *Report
	Picture string // path of the assembled image
	net     *devnet.Network
}

// Close ends the network.
func (d *Demo) Close() { d.net.Stop() }

// Watch reports parts of the network that die, until ctx ends.
func (d *Demo) Watch(ctx context.Context, fn func(devnet.Failure)) { d.net.Watch(ctx, fn) }

// Run plays the demo and returns with the network still up. Errors mean that
// something did not work; a report whose job failed is such an error too.
func Run(ctx context.Context, o Options) (*Demo, error) {
	if o.Progress == nil {
		o.Progress = func(Progress) {}
	}
	say := func(format string, args ...any) { o.Progress(Progress{Text: fmt.Sprintf(format, args...)}) }
	var err error
	if o.Dir, err = filepath.Abs(o.Dir); err != nil {
		return nil, err
	}
	if err := os.MkdirAll(o.Dir, 0o755); err != nil {
		return nil, err
	}
	if o.Program == "" {
		say("compiling the path tracer to WebAssembly")
		if o.Program, err = build(ctx, o); err != nil {
			return nil, err
		}
	}
	if err := os.RemoveAll(filepath.Join(o.Dir, tilesDir)); err != nil {
		return nil, fmt.Errorf("clear the last demo: %w", err)
	}
	say("starting a chain and three providers")
	s, err := raise(ctx, filepath.Join(o.Dir, "net"), o.Binary, providers(), o.Logger)
	if err != nil {
		return nil, err
	}
	d, err := play(ctx, o, s, say)
	if err != nil {
		s.net.Stop()
		return nil, err
	}
	return d, nil
}

// play runs the job on a network that is up.
func play(ctx context.Context, o Options, s *stage, say func(string, ...any)) (*Demo, error) {
	say("chain %s answers at %s", s.net.ChainID, s.net.RPC)
	say("renting all three to render %d tiles", tileCount)
	job, err := render(ctx, o, s.net)
	if err != nil {
		return nil, err
	}
	bill, err := s.bill(ctx)
	if err != nil {
		return nil, err
	}
	d := &Demo{net: s.net, Picture: filepath.Join(o.Dir, "out.png")}
	if err := assemble(o, d.Picture); err != nil {
		return nil, err
	}
	d.Report = &Report{Bill: bill, Tiles: tileCount, TilesBack: job.done, OrderToOutputMS: job.firstOutput.Milliseconds()}
	return d, nil
}

// Write writes the report as text.
func (d *Demo) Write(w io.Writer) error { return d.Report.write(w, d.Picture) }
