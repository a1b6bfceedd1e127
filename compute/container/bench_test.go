//go:build linux

package container

import (
	"context"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/moyai-network/moyai/compute"
)

// BenchmarkStart is the way from Start to the first byte of output, with the
// image prepared, at either tier.
func BenchmarkStart(b *testing.B) { atTiers(b, benchmarkStart) }

func atTiers(b *testing.B, benchmark func(*testing.B)) {
	for _, t := range []compute.Tier{compute.TierContainer, compute.TierGVisor} {
		b.Run(string(t), func(b *testing.B) {
			tier = t
			defer func() { tier = compute.TierContainer }()
			benchmark(b)
		})
	}
}

// medianOf reports the median beside the mean: on a busy machine it says more.
func medianOf(b *testing.B, took []time.Duration) {
	slices.Sort(took)
	b.ReportMetric(float64(took[len(took)/2].Microseconds())/1000, "ms-median")
}

func benchmarkStart(b *testing.B) {
	need(b)
	r := newRuntime(b)
	defer r.Close()
	dir := b.TempDir()
	p, err := r.Prepare(context.Background(), compute.Spec{Dir: dir, Program: probeImage(b), Args: []string{"hello"}})
	if err != nil {
		b.Fatal(err)
	}
	defer p.Close()
	n := 0
	for b.Loop() {
		n++
		run := compute.Run{ID: "x", Dir: filepath.Join(dir, strconv.Itoa(n))}
		task, err := r.Start(context.Background(), p, run)
		if err != nil {
			b.Fatal(err)
		}
		for {
			if info, err := os.Stat(run.Stdout()); err == nil && info.Size() > 0 {
				break
			}
			time.Sleep(50 * time.Microsecond)
		}
		b.StopTimer()
		if _, err := task.Wait(context.Background()); err != nil {
			b.Fatal(err)
		}
		b.StartTimer()
	}
}
