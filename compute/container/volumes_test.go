//go:build linux

package container

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"golang.org/x/sys/unix"

	"github.com/moyai-network/moyai/compute"
	"github.com/moyai-network/moyai/compute/container/internal/volume"
	"github.com/moyai-network/moyai/compute/image/pack"
	"github.com/moyai-network/moyai/compute/runtimetest"
)

// TestVolumeAfterKill: whoever stood over a container is killed, and the next one
// has the volume whole, never at the same time as the first.
func TestVolumeAfterKill(t *testing.T) {
	need(t)
	r := newIn(t, home)
	defer r.Close()
	dir := t.TempDir()
	file := filepath.Join(dir, "volume")
	if err := r.MakeVolume(t.Context(), file, 16<<20); err != nil {
		t.Fatal(err)
	}
	start := func(name string, args ...string) (compute.Task, compute.Run) {
		p, err := r.Prepare(t.Context(), compute.Spec{Dir: dir, Program: probeImage(t), Args: args,
			Limits: compute.Limits{MemoryBytes: 64 << 20}, Volumes: []compute.Volume{{File: file, At: "/data"}}})
		if err != nil {
			t.Fatal(err)
		}
		defer p.Close()
		run := compute.Run{ID: name, Dir: filepath.Join(dir, name)}
		task, err := r.Start(t.Context(), p, run)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = task.Stop(context.Background(), 0) })
		return task, run
	}
	first, _ := start("first", "write", "/data/kept", "kept")
	if r, err := first.Wait(t.Context()); err != nil || !r.OK() {
		t.Fatal(r, err)
	}
	killed, run := start("killed", "spin")
	s, err := readState(run)
	if err != nil {
		t.Fatal(err)
	}
	if err := syscall.Kill(s.PID, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	if r, err := killed.Wait(t.Context()); err != nil || r.Reason != compute.ReasonCrashed {
		t.Fatal(r, err)
	}
	last, run := start("last", "read", "/data/kept")
	if r, err := last.Wait(t.Context()); err != nil || !r.OK() {
		t.Fatal(r, err)
	}
	if b, err := os.ReadFile(run.Stdout()); err != nil || string(b) != "kept" {
		t.Errorf("%q, %v", b, err)
	}
}

// TestVolumeOfAUser: a program that is not root within may write to its volume,
// also after root did.
func TestVolumeOfAUser(t *testing.T) {
	need(t)
	r := newIn(t, home)
	defer r.Close()
	guest, err := os.ReadFile(runtimetest.BuildSystemProbe(t))
	if err != nil {
		t.Fatal(err)
	}
	layer, err := pack.Layer(pack.Executable("probe", guest))
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "volume")
	if err := r.MakeVolume(t.Context(), file, 16<<20); err != nil {
		t.Fatal(err)
	}
	for user, args := range map[string][]string{"": {"write", "/data/a", "x"}, "1000:1000": {"write", "/data/b", "x"}} {
		image := pack.Image{Architecture: architecture, Config: ocispec.ImageConfig{Entrypoint: []string{"/probe"}, User: user}, Layers: [][]byte{layer}}
		result, run := runImage(t, r, image, func(s *compute.Spec) {
			s.Args, s.Volumes = args, []compute.Volume{{File: file, At: "/data"}}
		})
		if !result.OK() {
			said, _ := os.ReadFile(run.Stderr())
			t.Errorf("user %q: %+v: %s", user, result, said)
		}
	}
}

// TestVolumeDiskFull: a disk without room for a volume is found when it is made,
// and nothing of it is left.
func TestVolumeDiskFull(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs root to mount a small disk")
	}
	small := t.TempDir()
	if err := unix.Mount("tmpfs", small, "tmpfs", 0, "size=16m"); err != nil {
		t.Skipf("needs to mount a small disk: %v", err)
	}
	defer unix.Unmount(small, 0)
	err := volume.Make(t.Context(), filepath.Join(small, "volume"), 64<<20)
	if !errors.Is(err, compute.ErrUnavailable) || !errors.Is(err, unix.ENOSPC) {
		t.Errorf("got %v", err)
	}
	if left, err := os.ReadDir(small); err != nil || len(left) > 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
	if err == nil || !strings.Contains(err.Error(), "volume") {
		t.Errorf("the text is %v", err)
	}
}
