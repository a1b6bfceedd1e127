//go:build linux

package container

import (
	"context"
	"errors"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/moyai-network/moyai/compute"
	"github.com/moyai-network/moyai/compute/image/pack"
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

// TestImageDiskFull: an image that does not fit is refused for that reason and no
// other, whether its packed layers are too much or the unpacked ones; what it took
// is given back, and the machine goes on with images that fit.
func TestImageDiskFull(t *testing.T) {
	need(t)
	dir := t.TempDir()
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "size=96m"); err != nil {
		t.Skipf("no tmpfs can be mounted here: %v", err)
	}
	t.Cleanup(func() {
		if err := syscall.Unmount(dir, 0); err != nil {
			t.Errorf("still in use: %v", err)
		}
	})
	r := newIn(t, filepath.Join(dir, "home"))
	t.Cleanup(func() {
		if err := errors.Join(r.Close(), r.StopEngine(), os.RemoveAll(r.engine.run)); err != nil {
			t.Error(err)
		}
	})
	task, _ := begin(t, r, probeImage(t), "hello")
	if result, err := task.Wait(context.Background()); err != nil || !result.OK() {
		t.Fatalf("result %+v, %v", result, err)
	}
	for name, size := range map[string]int{"packed": 120 << 20, "unpacked": 55 << 20} {
		t.Run(name, func(t *testing.T) {
			before := usedBytes(t, dir)
			noise := make([]byte, size)
			_, _ = rand.NewChaCha8([32]byte{1}).Read(noise)
			layer, err := pack.Layer(pack.File{Header: text("big", "").Header, Content: noise})
			if err != nil {
				t.Fatal(err)
			}
			image := write(t, pack.OCI, pack.Image{Architecture: architecture, Config: ocispec.ImageConfig{Entrypoint: []string{"/big"}}, Layers: [][]byte{layer}})
			_, err = r.Prepare(context.Background(), compute.Spec{Dir: t.TempDir(), Program: image})
			if !errors.Is(err, compute.ErrUnavailable) || !errors.Is(err, syscall.ENOSPC) || errors.Is(err, compute.ErrBadProgram) {
				t.Fatalf("got %v, want a full disk", err)
			}
			if strings.Contains(err.Error(), dir) {
				t.Errorf("the tenant is told of the owner's folders: %v", err)
			}
			const slack = 2 << 20 // containerd's own books grow
			used := usedBytes(t, dir)
			for end := time.Now().Add(time.Minute); used > before+slack && time.Now().Before(end); used = usedBytes(t, dir) {
				time.Sleep(100 * time.Millisecond)
			}
			if used > before+slack {
				t.Errorf("%d MiB are used, before %d", used>>20, before>>20)
			}
			task, _ := begin(t, r, probeImage(t, text("another", name)), "hello")
			if result, err := task.Wait(context.Background()); err != nil || !result.OK() {
				t.Errorf("afterwards: %+v, %v", result, err)
			}
		})
	}
}

func usedBytes(t *testing.T, dir string) uint64 {
	t.Helper()
	var fs syscall.Statfs_t
	if err := syscall.Statfs(dir, &fs); err != nil {
		t.Fatal(err)
	}
	return (fs.Blocks - fs.Bfree) * uint64(fs.Bsize)
}
