package demo

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"time"

	"github.com/moyai-network/moyai/client"
	"github.com/moyai-network/moyai/devnet"
)

const (
	parallel = 3
	tilesDir = "tiles"
	maxPrice = "0.05MOY/h"

	// maxEvent bounds one line of the tenant's output.
	maxEvent = 1 << 20
)

// tileCount is how many tasks the job has.
var tileCount = grid.Len()

// build compiles the example for WebAssembly.
func build(ctx context.Context, o Options) (string, error) {
	program := filepath.Join(o.Dir, "pathtracer.wasm")
	if _, err := os.Stat(filepath.Join(o.Source, "examples", "pathtracer")); err != nil {
		return "", fmt.Errorf("the demo compiles examples/pathtracer: run it in the source tree, or name a compiled one with --program: %w", err)
	}
	cmd := exec.CommandContext(ctx, "go", "build", "-trimpath", "-ldflags", "-s -w", "-o", program, "./examples/pathtracer")
	cmd.Dir = o.Source
	cmd.Env = append(os.Environ(), "GOOS=wasip1", "GOARCH=wasm", "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("compile the path tracer: %w\n%s", err, out)
	}
	return program, nil
}

// job is what the tenant's process told while it ran.
type job struct {
	done        int           // tiles that came back
	firstOutput time.Duration // from the signed order to the first byte
}

// render runs the tenant: `moyai run` as anybody would type it.
func render(ctx context.Context, o Options, n *devnet.Network) (*job, error) {
	args := append([]string{
		"run", "--json", "--array", fmt.Sprintf("0-%d", tileCount-1), "--parallel", strconv.Itoa(parallel),
		"--memory", "256Mi", "--timeout", "10m", "--max-price", maxPrice,
		"--input", "scene=" + filepath.Join(o.Source, "examples", "pathtracer", "scene"),
		"--output", filepath.Join(o.Dir, tilesDir), o.Program, "--",
	}, programArgs()...)
	cmd := exec.CommandContext(ctx, o.Binary, args...)
	cmd.Env = append(os.Environ(), n.Env()...)
	// An interrupted demo gives the tenant the chance to let go in order.
	cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) }
	cmd.WaitDelay = 10 * time.Second
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("start the tenant: %w", err)
	}
	j := &job{}
	readErr := j.follow(bufio.NewReaderSize(out, 64<<10), o.Progress)
	err = cmd.Wait()
	if ctx.Err() != nil {
		return nil, ctx.Err()
	}
	if err != nil {
		return nil, fmt.Errorf("the tenant's run failed: %w\n%s", err, stderr.String())
	}
	if readErr != nil {
		return nil, readErr
	}
	if j.done < tileCount {
		return nil, fmt.Errorf("%d of %d tiles came back", j.done, tileCount)
	}
	return j, nil
}

// follow reads the tenant's events, one JSON object per line.
func (j *job) follow(r *bufio.Reader, progress func(Progress)) error {
	var ordered time.Time
	scan := bufio.NewScanner(r)
	scan.Buffer(nil, maxEvent)
	for scan.Scan() {
		var e client.Event
		if err := json.Unmarshal(scan.Bytes(), &e); err != nil {
			return fmt.Errorf("the tenant said something that is not an event: %w", err)
		}
		switch e.Kind {
		case client.EventAnnounced:
			if ordered.IsZero() {
				ordered = e.Time
			}
		case client.EventLog, client.EventFetched:
			if j.firstOutput == 0 && !ordered.IsZero() {
				j.firstOutput = e.Time.Sub(ordered)
			}
		case client.EventOpened:
			progress(Progress{Text: fmt.Sprintf("lease %.10s with %s at %s", e.Lease, e.Moniker, e.Price), Done: j.done, Total: tileCount})
		case client.EventRetry:
			progress(Progress{Text: fmt.Sprintf("tile %d goes elsewhere: %s", e.Task, e.Text), Done: j.done, Total: tileCount})
		case client.EventWarning:
			progress(Progress{Text: "warning: " + e.Text, Done: j.done, Total: tileCount})
		}
		if e.Kind == client.EventTask && e.Result != nil && e.Result.OK() {
			j.done++
			progress(Progress{Done: j.done, Total: tileCount})
		}
	}
	if err := scan.Err(); err != nil && !errors.Is(err, os.ErrClosed) {
		return fmt.Errorf("read the tenant's events: %w", err)
	}
	return nil
}
