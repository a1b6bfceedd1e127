//go:build linux

package docker

import (
	"archive/tar"
	"context"
	"errors"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/moby/moby/client"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/moyai-network/moyai/compute"
	"github.com/moyai-network/moyai/compute/image/pack"
	"github.com/moyai-network/moyai/compute/runtimetest"
)

// TestWhatAnImageSays: how to run it is taken over, and nothing that would reach
// beyond its container.
func TestWhatAnImageSays(t *testing.T) {
	need(t)
	r := newIn(t, filepath.Join(home, "images"))
	defer r.Close()
	program := guestImage(t, ocispec.ImageConfig{
		User: "app", Env: []string{"PATH=/", "MINE=yes"}, Entrypoint: []string{"probe"}, WorkingDir: "/work", StopSignal: "SIGUSR1",
		Volumes: map[string]struct{}{"/data": {}}, ExposedPorts: map[string]struct{}{"80/tcp": {}}, Labels: map[string]string{"network.moyai.home": "/"},
	}, text("etc/passwd", "root:x:0:0::/:/x\napp:x:1234:99::/:/x\n"), pack.Dir("work"), pack.Dir("data"))
	task, run := begin(t, r, program, "show")
	if got := ended(t, task); !got.OK() {
		t.Fatalf("result %+v", got)
	}
	said, err := os.ReadFile(run.Stdout())
	for _, want := range []string{`"MINE=yes"`, `"PATH=/"`, `dir "/work"`} {
		if err != nil || !strings.Contains(string(said), want) {
			t.Errorf("%s misses %s (%v)", said, want, err)
		}
	}
	task, _ = begin(t, r, program, "write", "/data/x", "anything")
	if got := ended(t, task); got.Reason != compute.ReasonExited || got.ExitCode != 1 {
		t.Errorf("its volume can be written: %+v", got)
	}
	task, run = begin(t, r, program, "read", "/etc/resolv.conf")
	ended(t, task)
	if said, err := os.ReadFile(run.Stdout()); err != nil || !strings.Contains(string(said), "127.0.0.1") || strings.Count(string(said), "nameserver") != 1 {
		t.Errorf("it learns of the machine's network: %s (%v)", said, err)
	}
	list, err := r.engine.VolumeList(context.Background(), client.VolumeListOptions{})
	if err != nil || len(list.Items) > 0 {
		t.Errorf("volumes were made: %+v, %v", list.Items, err)
	}
}

// TestCannotRun: what an image has in the way, or has not, is its own fault.
func TestCannotRun(t *testing.T) {
	need(t)
	r := newIn(t, filepath.Join(home, "images"))
	defer r.Close()
	link := func(name, to string) pack.File {
		return pack.File{Header: tar.Header{Name: name, Linkname: to, Typeflag: tar.TypeSymlink, Mode: 0o777}}
	}
	for name, tc := range map[string]struct {
		config ocispec.ImageConfig
		more   []pack.File
		want   string
	}{
		"no such program":  {ocispec.ImageConfig{Cmd: []string{"/absent"}}, nil, "/absent"},
		"not in PATH":      {ocispec.ImageConfig{Cmd: []string{"absent"}}, nil, "absent"},
		"a folder":         {ocispec.ImageConfig{Cmd: []string{"/tmp"}}, nil, "/tmp"},
		"not executable":   {ocispec.ImageConfig{Cmd: []string{"/text"}}, []pack.File{text("text", "x")}, "/text"},
		"a file at /out":   {ocispec.ImageConfig{Cmd: []string{"/probe", "hello"}}, []pack.File{text("out", "x")}, "/out"},
		"links in circles": {ocispec.ImageConfig{Cmd: []string{"/probe", "hello"}}, []pack.File{link("out", "in2"), link("in2", "out")}, "cannot run"},
	} {
		t.Run(name, func(t *testing.T) {
			task, _ := begin(t, r, guestImage(t, tc.config, tc.more...))
			if got := ended(t, task); got.Reason != compute.ReasonExited || got.ExitCode != 127 || !strings.Contains(got.Message, tc.want) {
				t.Errorf("result %+v", got)
			}
		})
	}
	t.Run("/out elsewhere", func(t *testing.T) {
		// A link is followed within the image, never out of it.
		task, run := begin(t, r, guestImage(t, ocispec.ImageConfig{Entrypoint: []string{"/probe"}}, link("out", "/../../../../etc")), "write", "/out/moyai-was-here", "x")
		ended(t, task)
		if _, err := os.Stat("/etc/moyai-was-here"); err == nil {
			t.Error("it wrote into /etc of the host")
		}
		if b, err := os.ReadFile(filepath.Join(run.Out(), "moyai-was-here")); err != nil || string(b) != "x" {
			t.Errorf("its output is %q, %v", b, err)
		}
	})
}

// TestCacheLimit: the least recently used image goes, from Docker too; one that is
// prepared does not.
func TestCacheLimit(t *testing.T) {
	need(t)
	c := config(t, t.TempDir())
	c.CacheBytes = 5 << 20
	r, err := New(c)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	image := func(name string) string {
		layer, err := pack.Layer(pack.Executable(name, make([]byte, 2<<20)))
		if err != nil {
			t.Fatal(err)
		}
		return write(t, pack.OCI, pack.Image{Architecture: architecture, Config: ocispec.ImageConfig{Cmd: []string{"/" + name}}, Layers: [][]byte{layer}})
	}
	prepare := func(path string) (*prepared, error) {
		return r.prepare(context.Background(), compute.Spec{Dir: t.TempDir(), Program: path})
	}
	first, err := prepare(image("a")) // the oldest, in use
	if err != nil {
		t.Fatal(err)
	}
	second, err := prepare(image("b"))
	if err != nil {
		t.Fatal(err)
	}
	third := image("c")
	if _, err := prepare(third); !errors.Is(err, compute.ErrUnavailable) || !strings.Contains(err.Error(), "in use") {
		t.Errorf("with everything in use: %v", err)
	}
	second.Close()
	p, err := prepare(third)
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	defer first.Close()
	if !r.engine.Present(context.Background(), first.image.Kept) {
		t.Error("an image in use was removed")
	}
	if r.engine.Present(context.Background(), second.image.Kept) {
		t.Error("an old image is still there")
	}
}

// TestImageDiskFull: an image that does not fit is refused for that reason and no
// other, and the machine goes on with images that fit.
func TestImageDiskFull(t *testing.T) {
	need(t)
	dir, err := os.MkdirTemp("", "moyai-d-")
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(dir)
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "size=96m"); err != nil {
		t.Skipf("no tmpfs can be mounted here: %v", err)
	}
	defer func() {
		if err := syscall.Unmount(dir, syscall.MNT_DETACH); err != nil {
			t.Error(err)
		}
	}()
	d, err := runtimetest.StartDocker(filepath.Join(dir, "d"), 0)
	if err != nil {
		t.Skipf("no Docker starts on a tmpfs here: %v", err)
	}
	defer func() {
		if err := d.Remove(); err != nil {
			t.Error(err)
		}
	}()
	c := config(t, t.TempDir())
	c.Socket = d.Socket
	r, err := New(c)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	noise := make([]byte, 120<<20)
	_, _ = rand.NewChaCha8([32]byte{1}).Read(noise)
	layer, err := pack.Layer(pack.Executable("big", noise))
	if err != nil {
		t.Fatal(err)
	}
	image := write(t, pack.OCI, pack.Image{Architecture: architecture, Config: ocispec.ImageConfig{Entrypoint: []string{"/big"}}, Layers: [][]byte{layer}})
	_, err = r.Prepare(context.Background(), compute.Spec{Dir: t.TempDir(), Program: image})
	if !errors.Is(err, compute.ErrUnavailable) || !errors.Is(err, syscall.ENOSPC) || strings.Contains(err.Error(), dir) {
		t.Fatalf("got %v, want a full disk", err)
	}
	task, _ := begin(t, r, probeImage(t), "hello")
	if got := ended(t, task); !got.OK() {
		t.Errorf("afterwards: %+v", got)
	}
}
