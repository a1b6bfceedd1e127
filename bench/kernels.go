package main

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"time"

	"github.com/moyai-network/moyai/bench/measure"
	"github.com/moyai-network/moyai/devnet"
)

// kernels are the programs whose speed is compared, each with the size that
// takes a few seconds on an ordinary machine. The size measured follows from it.
var kernels = []struct {
	name  string
	trial uint64
}{
	{"integer", 4_000_000},
	{"float", 10_000_000},
	{"hashing", 400_000},
	{"memory", 40_000},
}

const (
	kernelTime   = 5700 * time.Millisecond // aimed at
	kernelLeast  = 5 * time.Second
	kernelMost   = 8 * time.Second
	kernelTrials = 8
	kernelRounds = 6  // even: each side goes first as often
	starts       = 25 // of a bare wazero
)

// bareStart measures the same program started by bare wazero: a fresh process,
// compiled code from disk, the first byte of output.
func (b *bench) bareStart(ctx context.Context) error {
	for name, wasm := range map[string]bool{"hello": true, "bare": false} {
		if err := b.programs().build(ctx, name, wasm); err != nil {
			return err
		}
	}
	var s measure.Samples
	for i := range starts + 1 {
		t, err := b.programs().bare(ctx, "hello")
		if err != nil {
			return err
		}
		if i > 0 { // the first one compiles
			s = append(s, measure.Milliseconds(t.toFirst()))
		}
	}
	b.report.Set("bare_wazero_start_ms", s.Median(), "ms", len(s))
	b.report.Set("bare_wazero_start_p95_ms", s.P95(), "ms", len(s))
	b.say("bare wazero: first output after %.0f ms", s.Median())
	return nil
}

// compute compares programs that run through a lease with the same ones in bare
// wazero. The two take turns, so that a busy machine slows both.
func (b *bench) compute(ctx context.Context) error {
	if err := b.programs().build(ctx, "bare", false); err != nil {
		return err
	}
	for _, k := range kernels {
		if err := b.programs().build(ctx, "kernels/"+k.name, true); err != nil {
			return err
		}
	}
	m, err := b.openMarket(ctx, "kernels", devnet.Dev, three)
	if err != nil {
		return err
	}
	defer m.close()
	var worst, worstBest, worstWhole float64
	for _, k := range kernels {
		size, err := b.calibrate(ctx, k.name, k.trial)
		if err != nil {
			return fmt.Errorf("%s: %w", k.name, err)
		}
		// The provider has compiled it before the clock starts, as bare wazero has.
		if _, err := m.rent(ctx, b.programs().path(k.name), "1"); err != nil {
			return fmt.Errorf("%s through a lease: %w", k.name, err)
		}
		ours, bare, err := b.alternate(ctx, m, k.name, strconv.FormatUint(size, 10))
		if err != nil {
			return fmt.Errorf("%s: %w", k.name, err)
		}
		median, best := b.compare(k.name, ours, bare)
		worst, worstBest = max(worst, median), max(worstBest, best)
		worstWhole = max(worstWhole, ratios(spans(ours, stretch.whole), spans(bare, stretch.whole)).Median())
	}
	b.report.Set("wasm_ratio", worst, "ours/bare", kernelRounds)
	b.report.Set("wasm_ratio_best", worstBest, "ours/bare", kernelRounds)
	b.report.Set("wasm_ratio_from_order", worstWhole, "ours/bare", kernelRounds)
	return nil
}

// calibrate finds the size that keeps this machine busy for about kernelTime.
// Part of a run may be the same at any size, so it approaches in steps.
func (b *bench) calibrate(ctx context.Context, name string, size uint64) (uint64, error) {
	if _, err := b.programs().bare(ctx, name, "1"); err != nil { // compiles
		return 0, err
	}
	for range kernelTrials {
		t, err := b.programs().bare(ctx, name, strconv.FormatUint(size, 10))
		if err != nil {
			return 0, err
		}
		if took := t.run(); took < kernelLeast || took > kernelMost {
			factor := min(max(float64(kernelTime)/float64(took), 0.125), 8)
			size = max(uint64(float64(size)*factor), 1)
			continue
		}
		return size, nil
	}
	b.say("%s: no size takes between %s and %s on this machine just now: it is busy", name, kernelLeast, kernelMost)
	return size, nil
}

// alternate runs a kernel in turn through a lease and bare. Who goes first
// changes from round to round, so that a machine that is getting slower, or
// faster, does not favour one of them.
func (b *bench) alternate(ctx context.Context, m *market, name, size string) (ours, bare []stretch, err error) {
	turns := []func() error{
		func() error {
			t, err := b.programs().bare(ctx, name, size)
			if err != nil {
				return fmt.Errorf("bare: %w", err)
			}
			bare = append(bare, t)
			return nil
		},
		func() error {
			o, err := m.rent(ctx, b.programs().path(name), size)
			if err != nil {
				return fmt.Errorf("through a lease: %w", err)
			}
			o.asked = o.announced
			ours = append(ours, o.stretch)
			return nil
		},
	}
	for range kernelRounds {
		for _, turn := range turns {
			if err := turn(); err != nil {
				return nil, nil, err
			}
		}
		slices.Reverse(turns)
	}
	return ours, bare, nil
}

// compare reports one kernel and returns two ratios. The median over the rounds,
// each against the bare run beside it: a shared machine changes its pace between
// rounds more than within one. And each side's best run against the other's:
// what else the machine does can only add time, so the best runs are those it
// disturbed least.
func (b *bench) compare(name string, ours, bare []stretch) (ratio, best float64) {
	o, r := spans(ours, stretch.run), spans(bare, stretch.run)
	ratio, best = ratios(o, r).Median(), slices.Min(o)/slices.Min(r)
	b.report.Set("wasm_"+name+"_ratio", ratio, "ours/bare", len(o))
	b.report.Set("wasm_"+name+"_ratio_best", best, "ours/bare", len(o))
	b.report.Set("wasm_"+name+"_lease_s", o.Median(), "s", len(o))
	b.report.Set("wasm_"+name+"_bare_s", r.Median(), "s", len(r))
	b.say("%-8s %.3f × bare, best of each %.3f: %.2f s through a lease, %.2f s bare", name, ratio, best, o.Median(), r.Median())
	return ratio, best
}

func ratios(ours, bare measure.Samples) (s measure.Samples) {
	for i := range ours {
		s = append(s, ours[i]/bare[i])
	}
	return s
}

// spans are seconds.
func spans(all []stretch, of func(stretch) time.Duration) (s measure.Samples) {
	for _, t := range all {
		s = append(s, of(t).Seconds())
	}
	return s
}
