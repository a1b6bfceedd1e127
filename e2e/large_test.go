package e2e

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/moyai-network/moyai/client/chain"
	"github.com/moyai-network/moyai/devnet"
)

const (
	largeBytes = 200 << 20
	// boundedMemory is what a process may hold while 200 MB pass through it twice:
	// what the program itself takes, and buffers, but not the data.
	boundedMemory = 400 << 20
)

// TestLargeRoundTrip sends 200 MB to a stranger's machine and takes 200 MB back.
// Every byte is the same, and neither side ever holds the data in memory.
func TestLargeRoundTrip(t *testing.T) {
	slow(t, "moves 400 MB")
	n := ownNetwork(t, spec("alice", "0.018"))
	dir := t.TempDir()
	input, output := filepath.Join(dir, "input"), filepath.Join(dir, "result")
	want := writeRandom(t, input, largeBytes)
	home, address, err := n.NewTenant(deadline(t, patience), uniqueName(), 100*moy)
	if err != nil {
		t.Fatal(err)
	}
	peak := moyaiRun(t, n, home, "--input", "in="+input, "--output", output, "--memory", "256Mi",
		guest(t), "--", "copy", "/in/in", "/out/out")
	if got := hashFile(t, filepath.Join(output, "out")); got != want {
		t.Errorf("what came back has hash %x, what went out %x", got, want)
	}
	_, provider := devnet.ResidentBytes(byName(t, n, "alice").PID())
	t.Logf("resident at most: tenant %d MiB, provider %d MiB", peak>>20, provider>>20)
	if peak > boundedMemory || provider > boundedMemory {
		t.Errorf("tenant held %d MiB, provider %d MiB; at most %d are bounded memory", peak>>20, provider>>20, boundedMemory>>20)
	}
	free(t, n, address)
}

// moyaiRun runs `moyai run` as a process of its own and returns the most memory
// it held.
func moyaiRun(t testing.TB, n *devnet.Network, home string, args ...string) (peak uint64) {
	t.Helper()
	cmd := exec.CommandContext(deadline(t, 10*patience), binary(t, "moyai"), append([]string{"run"}, args...)...)
	cmd.Env = append(os.Environ(), "MOYAI_NODE="+n.RPC, "MOYAI_HOME="+home, "MOYAI_KEYRING_BACKEND="+chain.BackendTest)
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	// Not the rusage of the ended process: that begins with what this process held
	// when it forked.
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	for {
		select {
		case err := <-ended:
			t.Logf("moyai run: %s", out.String())
			if err != nil {
				t.Fatalf("moyai run: %v", err)
			}
			return peak
		case <-time.After(20 * time.Millisecond):
			if _, most := devnet.ResidentBytes(cmd.Process.Pid); most > peak {
				peak = most
			}
		}
	}
}

// writeRandom fills a file and returns its hash.
func writeRandom(t testing.TB, path string, size int64) [32]byte {
	t.Helper()
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	h := sha256.New()
	source := rand.NewChaCha8([32]byte{'m', 'o', 'y', 'a', 'i'})
	if _, err := io.CopyN(io.MultiWriter(f, h), source, size); err != nil {
		t.Fatal(err)
	}
	return [32]byte(h.Sum(nil))
}

func hashFile(t testing.TB, path string) [32]byte {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	h := sha256.New()
	if _, err := io.Copy(h, f); err != nil {
		t.Fatal(err)
	}
	return [32]byte(h.Sum(nil))
}

// The third party: a JSON processor in Go that knows nothing of this network.
const (
	thirdParty        = "github.com/itchyny/gojq"
	thirdPartyVersion = "v0.12.17"
	thirdPartyBytes   = 64 << 20
)

// TestThirdPartyProgram fetches a real program as a module, compiles it to
// WASI and natively, and has both work on the same file: the one on a
// stranger's machine gives the same bytes.
func TestThirdPartyProgram(t *testing.T) {
	slow(t, "fetches and compiles a program, and works on 64 MB twice")
	dir := t.TempDir()
	native, module := thirdPartyProgram(t, dir)
	input := filepath.Join(dir, "events.ndjson")
	size := writeEvents(t, input, thirdPartyBytes)
	t.Logf("the file has %d bytes", size)
	const query = `select(.temperature > 35) | {id, city: .place.city, f: (.temperature * 9 / 5 + 32 | floor), tags: (.tags | sort | join("+"))}`

	want := filepath.Join(dir, "native.out")
	out, err := os.Create(want)
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(deadline(t, 10*patience), native, "-c", query, input)
	var stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = out, &stderr
	if err := errors.Join(cmd.Run(), out.Close()); err != nil {
		t.Fatalf("native: %v: %s", err, stderr.String())
	}

	n := ownNetwork(t, spec("alice", "0.018"))
	home, address, err := n.NewTenant(deadline(t, patience), uniqueName(), 100*moy)
	if err != nil {
		t.Fatal(err)
	}
	leased := filepath.Join(dir, "leased.out")
	run := exec.CommandContext(deadline(t, 15*patience), binary(t, "moyai"), "run", "--input", "in="+input,
		"--memory", "512Mi", "--timeout", "20m", "--log-limit", "256Mi", "--quiet", module, "--", "-c", query, "/in/in")
	run.Env = append(os.Environ(), "MOYAI_NODE="+n.RPC, "MOYAI_HOME="+home, "MOYAI_KEYRING_BACKEND="+chain.BackendTest)
	if out, err = os.Create(leased); err != nil {
		t.Fatal(err)
	}
	stderr.Reset()
	run.Stdout, run.Stderr = out, &stderr
	if err := errors.Join(run.Run(), out.Close()); err != nil {
		t.Fatalf("leased: %v: %s", err, stderr.String())
	}
	same(t, want, leased)
	free(t, n, address)
}

// same compares two files that must not be empty.
func same(t testing.TB, want, got string) {
	t.Helper()
	st, err := os.Stat(want)
	if err != nil {
		t.Fatal(err)
	}
	if st.Size() < 1<<20 {
		t.Errorf("natively it wrote only %d bytes: the query finds nothing", st.Size())
	}
	if a, b := hashFile(t, want), hashFile(t, got); a != b {
		other, _ := os.Stat(got)
		t.Errorf("natively %d bytes with hash %x, leased %d bytes with hash %x", st.Size(), a, other.Size(), b)
	}
	t.Logf("%d bytes, the same natively and leased", st.Size())
}

// thirdPartyProgram builds the program for this machine and for WASI, in a
// module of its own.
func thirdPartyProgram(t testing.TB, dir string) (native, module string) {
	t.Helper()
	if proxy := strings.TrimSpace(goEnv(t, "GOPROXY")); proxy == "off" {
		t.Skipf("no module proxy (GOPROXY=off): %s cannot be fetched", thirdParty)
	}
	src := filepath.Join(dir, "src")
	writeFile(t, filepath.Join(src, "go.mod"), "module example.com/thirdparty\n\ngo 1.24\n")
	goRun(t, src, nil, "get", thirdParty+"@"+thirdPartyVersion)
	native, module = filepath.Join(dir, "gojq"), filepath.Join(dir, "gojq.wasm")
	goRun(t, src, nil, "build", "-o", native, thirdParty+"/cmd/gojq")
	goRun(t, src, []string{"GOOS=wasip1", "GOARCH=wasm"}, "build", "-o", module, thirdParty+"/cmd/gojq")
	return native, module
}

func goEnv(t testing.TB, name string) string {
	t.Helper()
	out, err := exec.Command("go", "env", name).Output()
	if err != nil {
		t.Fatal(err)
	}
	return string(out)
}

func goRun(t testing.TB, dir string, env []string, args ...string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 10*patience)
	defer cancel()
	cmd := exec.CommandContext(ctx, "go", args...)
	cmd.Dir, cmd.Env = dir, append(append(os.Environ(), "GOFLAGS=-mod=mod", "GOWORK=off"), env...)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("go %s: %v\n%s", strings.Join(args, " "), err, out)
	}
}

// writeEvents writes at least so many bytes of JSON lines, the same every time.
func writeEvents(t testing.TB, path string, size int64) (written int64) {
	t.Helper()
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	w := bufio.NewWriterSize(f, 1<<20)
	rnd := rand.New(rand.NewPCG(1, 2))
	cities := []string{"Rapa Nui", "Vila do Porto", "Ōsaka", "Reykjavík", "São Paulo"}
	for i := 0; written < size; i++ {
		k, err := fmt.Fprintf(w, `{"id":%d,"temperature":%d.%d,"place":{"city":%q,"cell":"8928308280fffff"},"tags":["b%d","a%d"],"note":%q}`+"\n",
			i, rnd.IntN(45), rnd.IntN(10), cities[rnd.IntN(len(cities))], rnd.IntN(9), rnd.IntN(9), strings.Repeat("x", rnd.IntN(60)))
		if err != nil {
			t.Fatal(err)
		}
		written += int64(k)
	}
	if err := w.Flush(); err != nil {
		t.Fatal(err)
	}
	return written
}
