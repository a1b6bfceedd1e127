//go:build linux

package container

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/moyai-network/moyai/compute"
	"github.com/moyai-network/moyai/compute/image/pack"
	"github.com/moyai-network/moyai/compute/internal/supervised"
	"github.com/moyai-network/moyai/compute/runtimetest"
)

// guestImage is an image of the suite's guest with a configuration.
func guestImage(t *testing.T, config ocispec.ImageConfig, more ...pack.File) pack.Image {
	t.Helper()
	guest, err := os.ReadFile(runtimetest.BuildSystemProbe(t))
	if err != nil {
		t.Fatal(err)
	}
	layer, err := pack.Layer(append([]pack.File{pack.Executable("bin/probe", guest)}, more...)...)
	if err != nil {
		t.Fatal(err)
	}
	return pack.Image{Architecture: architecture, Config: config, Layers: [][]byte{layer}}
}

func private(name, content string, uid int) pack.File {
	return pack.File{Header: tar.Header{Name: name, Mode: 0o600, Uid: uid, Gid: uid}, Content: []byte(content)}
}

// TestConfiguration: entrypoint, command, user, folder and environment mean what
// they mean to other engines.
func TestConfiguration(t *testing.T) {
	need(t)
	r := newIn(t, home)
	defer r.Close()
	passwd := pack.Executable("etc/passwd", []byte("root:x:0:0::/:/x\napp:x:1234:99::/:/x\n"))
	for _, tc := range []struct {
		name   string
		config ocispec.ImageConfig
		args   []string
		want   string
	}{
		{"command", ocispec.ImageConfig{Cmd: []string{"/bin/probe", "read", "/mine"}}, nil, "root's"},
		{"command replaced", ocispec.ImageConfig{Cmd: []string{"/bin/absent"}}, []string{"/bin/probe", "read", "/mine"}, "root's"},
		{"entrypoint", ocispec.ImageConfig{Entrypoint: []string{"/bin/probe"}, Cmd: []string{"read", "/absent"}}, []string{"read", "/mine"}, "root's"},
		{"found in PATH", ocispec.ImageConfig{Cmd: []string{"probe", "read", "/mine"}}, nil, "root's"},
		{"user by name", ocispec.ImageConfig{User: "app", Cmd: []string{"probe", "kernel"}}, nil, "uid 1234 "},
		{"user by number", ocispec.ImageConfig{User: "77:88", Cmd: []string{"probe", "kernel"}}, nil, "uid 77 "},
		{"a user's own file", ocispec.ImageConfig{User: "app", Cmd: []string{"probe", "read", "/apps"}}, nil, "app's"},
		{"a user writes output", ocispec.ImageConfig{User: "app", Cmd: []string{"probe", "rewrite"}}, nil, ""},
		{"folder", ocispec.ImageConfig{WorkingDir: "/etc", Cmd: []string{"probe", "show"}}, nil, `dir "/etc"`},
		{"environment", ocispec.ImageConfig{Env: []string{"PATH=/bin", "A=image", "B=image"}, Cmd: []string{"probe", "show"}}, nil, `"A=spec" "B=image"`},
	} {
		t.Run(tc.name, func(t *testing.T) {
			result, run := runImage(t, r, guestImage(t, tc.config, passwd, private("mine", "root's", 0), private("apps", "app's", 1234)), func(s *compute.Spec) {
				s.Args, s.Env = tc.args, []string{"A=spec"}
			})
			said, err := os.ReadFile(run.Stdout())
			if err != nil || !result.OK() || !strings.Contains(string(said), tc.want) {
				b, _ := os.ReadFile(run.Stderr())
				t.Errorf("said %q (%v), want %q; result %+v; %s", said, err, tc.want, result, b)
			}
		})
	}
	t.Run("another's file", func(t *testing.T) {
		result, _ := runImage(t, r, guestImage(t, ocispec.ImageConfig{User: "1234", Cmd: []string{"/bin/probe", "read", "/mine"}}, private("mine", "root's", 0)), func(*compute.Spec) {})
		if result.ExitCode != 1 {
			t.Errorf("result %+v", result)
		}
	})
	t.Run("no such program", func(t *testing.T) {
		for _, command := range []string{"/bin/absent", "absent", "/etc"} {
			result, run := runImage(t, r, guestImage(t, ocispec.ImageConfig{Cmd: []string{command}}, passwd), func(*compute.Spec) {})
			if result.Reason != compute.ReasonExited || result.ExitCode != 127 || !strings.Contains(result.Message, command) {
				t.Errorf("%s: result %+v", command, result)
			}
			if again := recovered(t, r, run); again.ExitCode != 127 {
				t.Errorf("%s: recovered %+v", command, again)
			}
		}
	})
}

// TestEvilLinks: links in an image lead where they say within the image, and
// never out of it: not while it is unpacked, nor while it is furnished.
func TestEvilLinks(t *testing.T) {
	need(t)
	r := newIn(t, home)
	defer r.Close()
	outside := t.TempDir()
	link := func(name, to string) pack.File {
		return pack.File{Header: tar.Header{Name: name, Typeflag: tar.TypeSymlink, Linkname: to, Mode: 0o777}}
	}
	up := strings.Repeat("../", 30)
	try := func(more ...pack.File) compute.Result {
		image := guestImage(t, ocispec.ImageConfig{Cmd: []string{"/bin/probe", "list", "/out"}}, more...)
		result, _ := runImage(t, r, image, func(s *compute.Spec) {
			path := filepath.Join(s.Dir, "given")
			if err := os.WriteFile(path, nil, 0o600); err != nil {
				t.Fatal(err)
			}
			s.Inputs = []compute.Input{{Name: "made", Path: path}}
		})
		if entries, err := os.ReadDir(outside); err != nil || len(entries) > 0 {
			t.Errorf("outside now holds %v (%v)", entries, err)
		}
		return result
	}
	if result := try(link("out", up+outside), link("tmp", "/etc"), link("in", outside), link("hole", up+outside), pack.Executable("hole/planted", []byte("x"))); !result.OK() {
		t.Errorf("result %+v", result)
	}
	// What leads to itself cannot be mounted over, and that is the image's fault.
	for _, name := range []string{"run", "out"} {
		if result := try(link(name, up+name)); result.Reason != compute.ReasonExited || result.ExitCode != 127 || !strings.Contains(result.Message, "/"+name) {
			t.Errorf("%s: result %+v", name, result)
		}
	}
}

// TestSmallest: the least that is accepted works, and less is refused in words.
func TestSmallest(t *testing.T) {
	need(t)
	r := newIn(t, home)
	defer r.Close()
	image := guestImage(t, ocispec.ImageConfig{Cmd: []string{"/bin/probe", "hello"}})
	least := compute.Limits{MemoryBytes: leastMemory, Pids: leastPids, OutputBytes: 1, OutputFiles: 1, LogBytes: 1, TruncateLogs: true, ShmBytes: 1, CPUMilli: 100}
	result, run := runImage(t, r, image, func(s *compute.Spec) { s.Limits = least })
	if !result.OK() || !result.LogsTruncated || logSizes(run) != 1 {
		t.Errorf("result %+v", result)
	}
	for _, change := range []func(*compute.Limits){func(l *compute.Limits) { l.MemoryBytes-- }, func(l *compute.Limits) { l.Pids-- }} {
		less := least
		change(&less)
		_, err := r.Prepare(context.Background(), compute.Spec{Dir: t.TempDir(), Program: write(t, pack.OCI, image), Limits: less})
		if !errors.Is(err, compute.ErrInvalidSpec) || !strings.Contains(err.Error(), "at least 16 MiB") {
			t.Errorf("got %v", err)
		}
	}
}

// TestCircle: links that lead in circles are the image's fault, not the machine's.
func TestCircle(t *testing.T) {
	need(t)
	r := newIn(t, home)
	defer r.Close()
	link := pack.File{Header: tar.Header{Name: "a", Typeflag: tar.TypeSymlink, Linkname: "a/b", Mode: 0o777}}
	image := write(t, pack.OCI, guestImage(t, ocispec.ImageConfig{Cmd: []string{"/bin/probe"}}, link, pack.Executable("a/x", []byte("x"))))
	_, err := r.Prepare(context.Background(), compute.Spec{Dir: t.TempDir(), Program: image})
	if !errors.Is(err, compute.ErrBadProgram) || len(err.Error()) > 1000 {
		t.Errorf("got %v", err)
	}
}

// TestOneUnpackForMany prepares one image many times at once through several
// runtimes.
func TestOneUnpackForMany(t *testing.T) {
	need(t)
	image := write(t, pack.OCI, guestImage(t, ocispec.ImageConfig{Cmd: []string{"/bin/probe", "hello"}}, private("unique", time.Now().String(), 0)))
	dir := t.TempDir()
	before, err := filepath.Glob(filepath.Join(home, "images", "*.json"))
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	for range 3 {
		r := newIn(t, home)
		defer r.Close()
		for j := range 3 {
			wg.Go(func() {
				p, err := r.Prepare(context.Background(), compute.Spec{Dir: filepath.Join(dir, fmt.Sprint(j)), Program: image})
				if err != nil {
					t.Error(err)
					return
				}
				p.Close()
			})
		}
	}
	wg.Wait()
	after, err := filepath.Glob(filepath.Join(home, "images", "*.json"))
	if err != nil || len(after) != len(before)+1 {
		t.Errorf("%d images before, %d after (%v)", len(before), len(after), err)
	}
}

// TestCacheLimit: the least recently used image goes, with its layers; one that
// is prepared or runs does not, whoever prepared it.
func TestCacheLimit(t *testing.T) {
	need(t)
	own := t.TempDir()
	config := Config{Home: own, Worker: runtimetest.BuildWorker(t), CacheBytes: 5 << 20}
	r, err := New(config)
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(r.engine.run)
	defer r.StopEngine()
	image := func(name string) string {
		layer, err := pack.Layer(pack.Executable(name, make([]byte, 2<<20)))
		if err != nil {
			t.Fatal(err)
		}
		return write(t, pack.OCI, pack.Image{Architecture: architecture, Config: ocispec.ImageConfig{Cmd: []string{"/" + name}}, Layers: [][]byte{layer}})
	}
	prepare := func(r *Runtime, path string) (*prepared, error) {
		return r.prepare(context.Background(), compute.Spec{Dir: t.TempDir(), Program: path})
	}
	a, b, c := image("a"), image("b"), image("c")
	held, err := prepare(r, a) // the oldest, in use
	if err != nil {
		t.Fatal(err)
	}
	second, err := prepare(r, b)
	if err != nil {
		t.Fatal(err)
	}
	other, err := New(config)
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	if _, err := prepare(other, c); !errors.Is(err, compute.ErrUnavailable) || !strings.Contains(err.Error(), "in use") {
		t.Errorf("with everything in use: %v", err)
	}
	second.Close()
	third, err := prepare(other, c)
	if err != nil {
		t.Fatal(err)
	}
	defer third.Close()
	for _, dir := range held.image.Kept.Lowers {
		if _, err := os.Stat(dir); err != nil {
			t.Errorf("an image in use was removed: %v", err)
		}
	}
	for _, dir := range second.image.Kept.Lowers {
		if _, err := os.Stat(dir); err == nil {
			t.Errorf("the layers of an old image are still at %s", dir)
		}
	}
	held.Close()
	fourth, err := prepare(r, b) // again, in the place of the first
	if err != nil {
		t.Fatal(err)
	}
	defer fourth.Close()
}

// TestRunningImageStays: a container keeps its image by itself, when neither its
// Prepared nor its provider does any more.
func TestRunningImageStays(t *testing.T) {
	need(t)
	config := Config{Home: t.TempDir(), Worker: runtimetest.BuildWorker(t)}
	program := probeImage(t)
	r, err := New(config)
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(r.engine.run)
	defer r.StopEngine()
	dir := t.TempDir()
	p, err := r.prepare(context.Background(), compute.Spec{Dir: dir, Program: program, Args: []string{"stubborn"}})
	if err != nil {
		t.Fatal(err)
	}
	task, err := r.Start(context.Background(), p, compute.Run{ID: "x", Dir: filepath.Join(dir, "x")})
	if err != nil {
		t.Fatal(err)
	}
	defer task.Stop(context.Background(), 0)
	p.Close()
	config.CacheBytes = p.image.Unpacked + 1<<20 // no room for both
	small, err := New(config)
	if err != nil {
		t.Fatal(err)
	}
	defer small.Close()
	layer, err := pack.Layer(pack.Executable("big", make([]byte, 2<<20)))
	if err != nil {
		t.Fatal(err)
	}
	other := write(t, pack.OCI, pack.Image{Architecture: architecture, Config: ocispec.ImageConfig{Cmd: []string{"/big"}}, Layers: [][]byte{layer}})
	spec := compute.Spec{Dir: t.TempDir(), Program: other}
	if _, err := small.prepare(context.Background(), spec); !errors.Is(err, compute.ErrUnavailable) {
		t.Errorf("a running container's image made room: %v", err)
	}
	if err := task.Stop(context.Background(), 0); err != nil {
		t.Fatal(err)
	}
	q, err := small.prepare(context.Background(), spec)
	if err != nil {
		t.Fatal(err)
	}
	q.Close()
	if _, err := os.Stat(p.image.Kept.Lowers[0]); err == nil {
		t.Error("the layers of the ended container are still there")
	}
}

// TestPulledImage: what a registry sent runs as an archive does, and a layer that
// is not what its digest says, a bomb or a way out is refused as it is there.
func TestPulledImage(t *testing.T) {
	need(t)
	r := newIn(t, home)
	defer r.Close()
	guest, err := os.ReadFile(runtimetest.BuildSystemProbe(t))
	if err != nil {
		t.Fatal(err)
	}
	good, err := pack.Layer(pack.Executable("probe", guest))
	if err != nil {
		t.Fatal(err)
	}
	other, err := pack.Layer(pack.Executable("probe", guest), pack.Dir("other")) // good is here already, by its digest
	if err != nil {
		t.Fatal(err)
	}
	escape, err := pack.Layer(pack.Executable("../../outside", nil))
	if err != nil {
		t.Fatal(err)
	}
	bomb := make([]byte, 300<<20) // more than newIn's limit, and next to nothing packed
	for name, tc := range map[string]struct {
		layer []byte
		spoil bool
		want  string
	}{
		"good": {layer: good}, "a layer that lies": {other, true, "the archive was changed"},
		"a bomb": {bomb, false, "unpacks to more"}, "a way out": {escape, false, "leads out of the image"},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			layout(t, dir, pack.Image{Architecture: architecture, Config: ocispec.ImageConfig{Entrypoint: []string{"/probe"}}, Layers: [][]byte{tc.layer}}, tc.spoil)
			spec := compute.Spec{Dir: t.TempDir(), Program: dir, Args: []string{"hello"}, Limits: compute.Limits{MemoryBytes: 64 << 20}}
			result, _, err := supervised.Try(t.Context(), r, spec, "task")
			if tc.want == "" && (err != nil || !result.OK()) {
				t.Errorf("%+v, %v", result, err)
			}
			if tc.want != "" && (!errors.Is(err, compute.ErrBadProgram) || !strings.Contains(err.Error(), tc.want)) {
				t.Errorf("got %v, want %q", err, tc.want)
			}
		})
	}
}

// layout unpacks an OCI archive into a folder, as a pull leaves it.
func layout(t *testing.T, dir string, image pack.Image, spoil bool) {
	t.Helper()
	var b bytes.Buffer
	if err := pack.OCI(&b, image); err != nil {
		t.Fatal(err)
	}
	for tr := tar.NewReader(&b); ; {
		h, err := tr.Next()
		if errors.Is(err, io.EOF) {
			return
		}
		if err != nil {
			t.Fatal(err)
		}
		content, err := io.ReadAll(tr)
		if err != nil {
			t.Fatal(err)
		}
		if spoil && len(content) > 100_000 {
			content[4] ^= 1 // gzip's time: what is unpacked stays the same
		}
		path := filepath.Join(dir, filepath.FromSlash(h.Name))
		if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o700), os.WriteFile(path, content, 0o600)); err != nil {
			t.Fatal(err)
		}
	}
}
