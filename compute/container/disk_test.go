//go:build linux

package container

import (
	"context"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/moyai-network/moyai/compute"
)

// TestDiskFull: when the owner's disk is full it is nobody's fault but his, and
// there is still room to say so.
func TestDiskFull(t *testing.T) {
	need(t)
	dir := t.TempDir()
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "size=6m"); err != nil {
		t.Skipf("no tmpfs can be mounted here: %v", err)
	}
	t.Cleanup(func() {
		if err := syscall.Unmount(dir, 0); err != nil {
			t.Errorf("still in use: %v", err)
		}
	})
	r := newRuntime(t)
	defer r.Close()
	image := probeImage(t)
	for _, args := range []string{"fill /out/big 1000000000", "shout"} {
		t.Run(args, func(t *testing.T) {
			spec := compute.Spec{Dir: dir, Program: image, Args: strings.Fields(args), Limits: compute.Limits{LogBytes: 1 << 30, OutputBytes: 2 << 30}}
			p, err := r.Prepare(context.Background(), spec)
			if err != nil {
				t.Fatal(err)
			}
			defer p.Close()
			run := compute.Run{ID: "x", Dir: filepath.Join(dir, strings.Fields(args)[0])}
			task, err := r.Start(context.Background(), p, run)
			if err != nil {
				t.Fatal(err)
			}
			result, err := task.Wait(context.Background())
			if err != nil || result.Reason != compute.ReasonDisk {
				t.Errorf("result %+v, %v", result, err)
			}
			if again := recovered(t, r, run); again.Reason != result.Reason {
				t.Errorf("recovered %+v", again)
			}
			if err := syscall.Truncate(run.Stdout(), 0); err != nil {
				t.Fatal(err)
			}
			_ = syscall.Unlink(filepath.Join(run.Out(), "big"))
		})
	}
}
