//go:build linux

package docker

import (
	"archive/tar"
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/moyai-network/moyai/compute"
	"github.com/moyai-network/moyai/compute/image/pack"
	"github.com/moyai-network/moyai/compute/runtimetest"
)

// somebody is a user of the host who is not root, and may speak to Docker by one of
// their groups only, as on a machine of one's own.
const (
	somebody = 31337
	group    = 31338
)

// home is shared by all tests, and daemon runs for them; TestMain sees to it that
// nothing is left.
var (
	home   string
	daemon *runtimetest.Docker
	lacks  string // why no daemon runs
)

// The environment of this binary when it is run again, as somebody or as a provider.
const (
	socketEnv = "MOYAI_TEST_DOCKER"
	filesEnv  = "MOYAI_TEST_FILES" // a folder with programs and images that everybody may read
	helperEnv = "MOYAI_TEST_PROVIDER"
)

func TestMain(m *testing.M) {
	if dir := os.Getenv(helperEnv); dir != "" {
		if err := provider(dir); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
	}
	os.Exit(runAll(m))
}

func runAll(m *testing.M) (code int) {
	fail := func(err error) {
		fmt.Fprintln(os.Stderr, err)
		code = 1
	}
	var err error
	if home, err = os.MkdirTemp("", "moyai-docker-"); err != nil {
		fail(err)
		return code
	}
	defer os.RemoveAll(home)
	if os.Getenv(socketEnv) == "" {
		if lacks = runtimetest.NeedsDocker(); lacks == "" {
			if daemon, err = runtimetest.StartDocker(filepath.Join(home, "d"), group); err != nil {
				fail(err)
				return code
			}
			if err := os.Chmod(home, 0o755); err != nil {
				fail(err)
			}
			defer func() {
				if err := daemon.Remove(); err != nil {
					fail(err)
				}
			}()
		}
	}
	return m.Run()
}

// need skips, by name and with the reason, what this machine cannot run.
func need(tb testing.TB) {
	tb.Helper()
	if lacks != "" {
		tb.Skipf("Docker is not tested here: %s", lacks)
	}
}

// file is a program or an image: built here, or handed over by who runs this binary
// again.
func file(tb testing.TB, name string, make func() string) string {
	tb.Helper()
	if dir := os.Getenv(filesEnv); dir != "" {
		return filepath.Join(dir, name)
	}
	return make()
}

func config(tb testing.TB, home string) Config {
	tb.Helper()
	socket := os.Getenv(socketEnv)
	if socket == "" {
		socket = daemon.Socket
	}
	return Config{
		Home: home, Socket: socket, ImageBytes: 256 << 20, ImageEntries: 5000,
		Supervisor: file(tb, "moyai-docker", func() string { return runtimetest.BuildDocker(tb) }),
		Worker:     file(tb, "moyai-worker", func() string { return runtimetest.BuildWorker(tb) }),
	}
}

func newRuntime(tb testing.TB) compute.Runtime {
	tb.Helper()
	return newIn(tb, filepath.Join(home, "images"))
}

func newIn(tb testing.TB, home string) *Runtime {
	tb.Helper()
	r, err := New(config(tb, home))
	if err != nil {
		tb.Fatal(err)
	}
	return r
}

// probeImage wraps the suite's guest, and what else there is to be.
func probeImage(tb testing.TB, more ...pack.File) string {
	tb.Helper()
	return file(tb, "probe.tar", func() string { return guestImage(tb, ocispec.ImageConfig{Entrypoint: []string{"/probe"}}, more...) })
}

func guestImage(tb testing.TB, config ocispec.ImageConfig, more ...pack.File) string {
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
	return write(tb, pack.OCI, pack.Image{Architecture: architecture, Config: config, Layers: [][]byte{lower, upper}})
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
			System: true, Measured: true, ScratchInMemory: true,
			Env: []string{"HOME=/tmp", "HOSTNAME=moyai", "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"},
		},
	})
}

// TestWithoutRoot: all of it, for a user who has nothing but a group that Docker's
// socket belongs to.
func TestWithoutRoot(t *testing.T) {
	need(t)
	if testing.Short() {
		t.Skip("a second round of the suite, in make test-all")
	}
	files, own := filepath.Join(home, "files"), filepath.Join(home, "somebody")
	for dir, mode := range map[string]os.FileMode{files: 0o755, own: 0o700} {
		if err := errors.Join(os.MkdirAll(dir, mode), os.Chmod(dir, mode)); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Chown(own, somebody, somebody); err != nil {
		t.Fatal(err)
	}
	for name, from := range map[string]string{
		"moyai-docker": runtimetest.BuildDocker(t), "moyai-worker": runtimetest.BuildWorker(t), "probe.tar": probeImage(t), "test": os.Args[0],
	} {
		b, err := os.ReadFile(from)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(files, name), b, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	cmd := exec.Command(filepath.Join(files, "test"), "-test.run=^(TestConformance|TestProviderKilled)$", "-test.v")
	cmd.Dir = files
	cmd.Env = append(os.Environ(), socketEnv+"="+daemon.Socket, filesEnv+"="+files, "TMPDIR="+own, "HOME="+own)
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: somebody, Gid: somebody, Groups: []uint32{group}}}
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Errorf("%v\n%s", err, out)
	}
	if !bytes.Contains(out, []byte("--- PASS: TestConformance/System/walls")) {
		t.Errorf("not all of it ran:\n%s", out)
	}
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
		{Name: "text", Content: []byte(strings.Repeat("#!/bin/sh\n", 100)), Want: "not an image"},
		{Name: "cut short", Content: whole[:len(whole)/2], Want: "cut short"},
		{Name: "wrong architecture", Content: image(func(i *pack.Image) { i.Architecture = other }), Want: "the image is for " + other + ", this machine is " + architecture},
		{Name: "no command", Content: image(func(i *pack.Image) { i.Config.Cmd = nil }), Want: "neither an entrypoint nor a command"},
		{Name: "folder of the host", Content: image(func(i *pack.Image) { i.Config.WorkingDir = "/tmp/../proc/self/fd/7" }), Want: "working directory"},
		{Name: "unknown user", Content: image(func(i *pack.Image) { i.Config.User = "ghost" }), Want: "/etc/passwd"},
	}
}
