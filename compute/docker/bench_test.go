//go:build linux

package docker

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

// BenchmarkStart is the way from Start to the first byte of output, with the image
// prepared.
func BenchmarkStart(b *testing.B) {
	need(b)
	r := newRuntime(b)
	defer r.Close()
	dir := b.TempDir()
	p, err := r.Prepare(context.Background(), compute.Spec{Dir: dir, Program: probeImage(b), Args: []string{"hello"}})
	if err != nil {
		b.Fatal(err)
	}
	defer p.Close()
	var took []time.Duration
	for b.Loop() {
		begin := time.Now()
		run := compute.Run{ID: "x", Dir: filepath.Join(dir, strconv.Itoa(len(took)))}
		task, err := r.Start(context.Background(), p, run)
		if err != nil {
			b.Fatal(err)
		}
		for {
			if info, err := os.Stat(run.Stdout()); err == nil && info.Size() > 0 {
				break
			}
			time.Sleep(time.Millisecond)
		}
		took = append(took, time.Since(begin))
		b.StopTimer()
		if _, err := task.Wait(context.Background()); err != nil {
			b.Fatal(err)
		}
		b.StartTimer()
	}
	slices.Sort(took) // on a busy machine the median says more than the mean
	b.ReportMetric(float64(took[len(took)/2].Microseconds())/1000, "ms-median")
}
