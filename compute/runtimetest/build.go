package runtimetest

import (
	"crypto/sha256"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"sync"
	"testing"
)

const module = "github.com/moyai-network/moyai"

// BuildWorker builds moyai-worker and returns its path.
func BuildWorker(tb testing.TB) string {
	name := "moyai-worker"
	if runtime.GOOS == "windows" {
		name += ".exe" // or it cannot be run
	}
	return build(tb, name, module+"/cmd/moyai-worker", "CGO_ENABLED=0")
}

// BuildGateway builds moyai-egress and returns its path.
func BuildGateway(tb testing.TB) string {
	return build(tb, "moyai-egress", module+"/cmd/moyai-egress", "CGO_ENABLED=0")
}

// BuildDocker builds moyai-docker and returns its path.
func BuildDocker(tb testing.TB) string {
	return build(tb, "moyai-docker", module+"/cmd/moyai-docker", "CGO_ENABLED=0")
}

// BuildWasm builds a Go program for WASI preview 1 and returns its path. pkg is
// its path within this module: "examples/wordcount".
func BuildWasm(tb testing.TB, pkg string) string {
	return build(tb, filepath.Base(pkg)+".wasm", module+"/"+pkg, "GOOS=wasip1", "GOARCH=wasm")
}

// BuildProbe builds the suite's own guest.
func BuildProbe(tb testing.TB) string { return BuildWasm(tb, "compute/runtimetest/testdata/probe") }

// BuildSystemProbe builds the suite's guest for a runtime whose programs have a
// system of this machine's kind.
func BuildSystemProbe(tb testing.TB) string {
	return build(tb, "probe", module+"/compute/runtimetest/testdata/probe", "CGO_ENABLED=0")
}

// CacheDir is a directory of compiled code that test runs share, so that only
// the first compiles.
func CacheDir(tb testing.TB) string {
	dir := filepath.Join(artefacts(tb), "cache")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		tb.Fatal(err)
	}
	return dir
}

// artefacts is one directory per user and test package: go build's own cache makes
// rebuilding cheap, nothing piles up, and two checkouts may be tested at once.
func artefacts(tb testing.TB) string {
	where, err := os.Getwd()
	if err != nil {
		tb.Fatal(err)
	}
	dir := filepath.Join(os.TempDir(), fmt.Sprintf("moyai-runtimetest-%d-%.8x", os.Getuid(), sha256.Sum256([]byte(where))))
	if err := os.MkdirAll(dir, 0o700); err != nil {
		tb.Fatal(err)
	}
	return dir
}

var built sync.Map // output path → func() error

func build(tb testing.TB, name, pkg string, env ...string) string {
	tb.Helper()
	out := filepath.Join(artefacts(tb), name)
	once, _ := built.LoadOrStore(out, sync.OnceValue(func() error {
		// Into place by rename: another test binary may be running the old one.
		dir, err := os.MkdirTemp(filepath.Dir(out), "build-")
		if err != nil {
			return err
		}
		defer os.RemoveAll(dir)
		fresh := filepath.Join(dir, name)
		cmd := exec.Command("go", "build", "-trimpath", "-ldflags=-s -w", "-o", fresh, pkg)
		cmd.Env = append(os.Environ(), env...)
		if said, err := cmd.CombinedOutput(); err != nil {
			return fmt.Errorf("build %s: %w\n%s", pkg, err, said)
		}
		return os.Rename(fresh, out)
	}))
	if err := once.(func() error)(); err != nil {
		tb.Fatal(err)
	}
	return out
}
