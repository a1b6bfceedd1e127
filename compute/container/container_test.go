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
	"testing"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/moyai-network/moyai/compute"
	"github.com/moyai-network/moyai/compute/image/pack"
	"github.com/moyai-network/moyai/compute/runtimetest"
)

// home is shared by all tests, so that one containerd serves them; TestMain ends
// it and sees to it that nothing is left.
var home string

// tier is what New makes; TestGVisor runs the tests again with another.
var tier = compute.TierContainer

func TestMain(m *testing.M) {
	for env, play := range map[string]func(string) error{helperEnv: provider, enterEnv: enterAndWait} {
		if dir := os.Getenv(env); dir != "" {
			if err := play(dir); err != nil {
				fmt.Fprintln(os.Stderr, err)
				os.Exit(1)
			}
		}
	}
	os.Exit(runAll(m))
}

func runAll(m *testing.M) (code int) {
	var err error
	if home, err = os.MkdirTemp("", "moyai-container-"); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(home)
	code = m.Run()
	r, err := New(Config{Home: home, Worker: os.Args[0]}) // only to stop the engine
	if err != nil {
		return code // nothing can have been started
	}
	for _, name := range []string{"runc", "runsc", "tasks"} {
		if left, err := os.ReadDir(filepath.Join(r.engine.run, name)); len(left) > 0 {
			fmt.Fprintf(os.Stderr, "containers left behind: %v, %v\n", left, err)
			code = 1
		}
	}
	if err := r.StopEngine(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		code = 1
	}
	if err := os.RemoveAll(r.engine.run); err != nil {
		fmt.Fprintln(os.Stderr, err)
		code = 1
	}
	return code
}

// need skips, by name and with the reason, what this machine cannot run.
func need(tb testing.TB) {
	tb.Helper()
	if _, err := New(Config{Home: home, Worker: os.Args[0], Tier: tier, Runsc: runsc()}); err != nil {
		tb.Skipf("tier %s is not tested here: %v", tier, err)
	}
}

func newRuntime(tb testing.TB) compute.Runtime {
	tb.Helper()
	return newIn(tb, home)
}

func newIn(tb testing.TB, home string) *Runtime {
	tb.Helper()
	r, err := New(Config{Home: home, Worker: runtimetest.BuildWorker(tb), Gateway: runtimetest.BuildGateway(tb), Tier: tier, Runsc: runsc(), ImageBytes: 256 << 20, ImageEntries: 5000})
	if err != nil {
		tb.Fatal(err)
	}
	return r
}

// runsc is where `make runsc` puts it, if it is there.
func runsc() string {
	path, err := filepath.Abs("../../bin/runsc")
	if err != nil {
		return ""
	}
	if _, err := os.Stat(path); err != nil {
		return ""
	}
	return path
}

// probeImage wraps the suite's guest, and what else there is to be.
func probeImage(tb testing.TB, more ...pack.File) string {
	tb.Helper()
	guest, err := os.ReadFile(runtimetest.BuildSystemProbe(tb))
	if err != nil {
		tb.Fatal(err)
	}
	lower, err := pack.Layer(append(more, pack.Executable("probe", []byte("replaced above")), pack.Dir("tmp"))...)
	if err != nil {
		tb.Fatal(err)
	}
	upper, err := pack.Layer(pack.Executable("probe", guest))
	if err != nil {
		tb.Fatal(err)
	}
	return write(tb, pack.OCI, pack.Image{Architecture: architecture, Config: ocispec.ImageConfig{Entrypoint: []string{"/probe"}}, Layers: [][]byte{lower, upper}})
}

// users are an image's own.
var users = []pack.File{
	text("etc/passwd", "root:x:0:0::/:/probe\nguest:x:1000:1001::/:/probe\n"), text("etc/group", "root:x:0:\nguests:x:1001:\nextra:x:1002:guest\n"),
}

func text(path, content string) pack.File {
	return pack.File{Header: tar.Header{Name: path, Mode: 0o644, Typeflag: tar.TypeReg}, Content: []byte(content)}
}

func write(tb testing.TB, format func(io.Writer, pack.Image) error, i pack.Image) string {
	tb.Helper()
	var b bytes.Buffer
	if err := format(&b, i); err != nil {
		tb.Fatal(err)
	}
	path := filepath.Join(tb.TempDir(), "image.tar")
	if err := os.WriteFile(path, b.Bytes(), 0o600); err != nil {
		tb.Fatal(err)
	}
	return path
}

func TestConformance(t *testing.T) {
	need(t)
	runtimetest.Run(t, runtimetest.Harness{
		New: newRuntime, Probe: probeImage(t), BadPrograms: badPrograms(t),
		Traits: runtimetest.Traits{
			System: true, Volumes: true, Measured: true, ScratchInMemory: true, Egress: true, OwnKernel: tier == compute.TierGVisor,
			Interactive: true, Command: []string{"/probe"}, UserProbe: probeImage(t, users...), User: "guest", UserIDs: "1000 1001", ToolPaths: []string{"/.moyai", "/.moyai/worker"},
			Env: []string{"HOME=/tmp", "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"},
		},
	})
}

func badPrograms(t *testing.T) []runtimetest.BadProgram {
	layer, err := pack.Layer(pack.Executable("a", []byte("a")))
	if err != nil {
		t.Fatal(err)
	}
	image := func(change func(*pack.Image)) []byte {
		i := pack.Image{Architecture: architecture, Config: ocispec.ImageConfig{Cmd: []string{"/a"}}, Layers: [][]byte{layer}}
		change(&i)
		var b bytes.Buffer
		if err := pack.Docker(&b, i); err != nil {
			t.Fatal(err)
		}
		return b.Bytes()
	}
	other := "arm64"
	if architecture == other {
		other = "amd64"
	}
	whole := image(func(*pack.Image) {})
	return []runtimetest.BadProgram{
		{Name: "empty", Want: "not an image: the file is empty"},
		{Name: "text", Content: []byte(strings.Repeat("#!/bin/sh\n", 100)), Want: "not an image"},
		{Name: "wasm", Content: []byte("\x00asm\x01\x00\x00\x00"), Want: "not an image"},
		{Name: "plain tar", Content: layer, Want: "neither index.json"},
		{Name: "cut short", Content: whole[:len(whole)/2], Want: "cut short"},
		{Name: "wrong architecture", Content: image(func(i *pack.Image) { i.Architecture = other }), Want: "the image is for " + other + ", this machine is " + architecture},
		{Name: "no command", Content: image(func(i *pack.Image) { i.Config.Cmd = nil }), Want: "neither an entrypoint nor a command"},
		{Name: "folder of the host", Content: image(func(i *pack.Image) { i.Config.WorkingDir = "/tmp/../proc/self/fd/7" }), Want: "working directory"},
		{Name: "unknown user", Content: image(func(i *pack.Image) { i.Config.User = "ghost" }), Want: "/etc/passwd"},
		{Name: "huge user", Content: image(func(i *pack.Image) { i.Config.User = "70000" }), Want: "65535"},
	}
}

// in runs one container from a hand-made image.
func runImage(t *testing.T, r *Runtime, i pack.Image, change func(*compute.Spec)) (compute.Result, compute.Run) {
	t.Helper()
	dir := t.TempDir()
	spec := compute.Spec{Dir: dir, Program: write(t, pack.OCI, i), Limits: compute.Limits{MemoryBytes: 64 << 20}}
	change(&spec)
	p, err := r.Prepare(context.Background(), spec)
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	run := compute.Run{ID: "x", Dir: filepath.Join(dir, "x")}
	task, err := r.Start(context.Background(), p, run)
	if err != nil {
		t.Fatal(err)
	}
	result, err := task.Wait(context.Background())
	if err != nil {
		t.Fatal(errors.Join(err, task.Stop(context.Background(), 0)))
	}
	return result, run
}

// TestMissing: where a runtime can be made, nothing is missing, and no folder is
// needed to say so.
func TestMissing(t *testing.T) {
	_, err := New(Config{Home: t.TempDir()})
	if missing := Missing(Config{}); (err == nil) != (missing == nil) {
		t.Errorf("a runtime is made: %v; what is missing: %v", err, missing)
	}
}
