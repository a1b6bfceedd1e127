package e2e

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"runtime/pprof"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

// scratch is a folder that lives as long as the test binary.
var scratch string

func TestMain(m *testing.M) { os.Exit(runAll(m)) }

func runAll(m *testing.M) int {
	var err error
	if scratch, err = os.MkdirTemp("", "moyai-e2e-"); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	if os.Getenv("MOYAI_E2E_KEEP") == "" {
		defer os.RemoveAll(scratch)
	} else {
		fmt.Fprintln(os.Stderr, "networks, logs and binaries stay in", scratch)
	}
	before := goroutines()
	code := m.Run()
	shared.stop()
	if left := leftovers(before); left != "" {
		fmt.Fprintln(os.Stderr, left)
		code = max(code, 1)
	}
	return code
}

// grossLeak is how many goroutines more than at the start are a defect: fewer may
// be on their way out, or belong to libraries that start one for good.
const grossLeak = 20

// goroutines counts those of this process, without the loop that the chain's
// engine leaves behind for every store it ever opened.
func goroutines() int {
	buf := make([]byte, 16<<20)
	stacks := string(buf[:runtime.Stack(buf, true)])
	return strings.Count(stacks, "\n\ngoroutine ") + 1 - strings.Count(stacks, "iavl.(*nodeDB).startPruning(")
}

// leftovers names what the tests left running: processes of theirs, or
// goroutines by the hundred.
func leftovers(before int) string {
	var count int
	var pids []string
	for end := time.Now().Add(20 * time.Second); time.Now().Before(end); time.Sleep(50 * time.Millisecond) {
		count, pids = goroutines()-before, children()
		if count < grossLeak && len(pids) == 0 {
			return ""
		}
	}
	var out strings.Builder
	if len(pids) > 0 {
		fmt.Fprintf(&out, "processes left behind: %s\n", strings.Join(pids, ", "))
	}
	if count >= grossLeak {
		fmt.Fprintf(&out, "%d goroutines left behind\n", count)
		_ = pprof.Lookup("goroutine").WriteTo(&out, 1)
	}
	return out.String()
}

// children are the processes that this one started and that still run; nothing
// where /proc does not exist.
func children() []string {
	stats, _ := filepath.Glob("/proc/[0-9]*/stat")
	self := strconv.Itoa(os.Getpid())
	var out []string
	for _, path := range stats {
		raw, err := os.ReadFile(path)
		if err != nil {
			continue
		}
		// pid (name) state ppid …; the name may hold anything, so from its end.
		_, rest, ok := bytes.Cut(raw[bytes.LastIndexByte(raw, ')'):], []byte(") "))
		f := strings.Fields(string(rest))
		if ok && len(f) > 1 && f[1] == self && f[0] != "Z" {
			out = append(out, string(raw[:bytes.LastIndexByte(raw, ')')+1]))
		}
	}
	return out
}

// built remembers what was compiled for the tests.
var built = struct {
	sync.Mutex
	byName map[string]string
}{byName: map[string]string{}}

// binary returns the path of moyai, moyai-worker or moyai-egress: those of `make build` if
// MOYAI_BIN names their folder, else freshly built ones.
func binary(t testing.TB, name string) string {
	t.Helper()
	if dir := os.Getenv("MOYAI_BIN"); dir != "" {
		path := filepath.Join(dir, name)
		if _, err := os.Stat(path); err == nil {
			return path
		}
	}
	var env []string
	if name != "moyai" {
		env = []string{"CGO_ENABLED=0"} // they stand beside and within containers, which lack libraries
	}
	return compile(t, name, []string{"-o", filepath.Join(scratch, "bin", name), "../cmd/" + name}, env)
}

// guest is the program of testdata/guest, compiled to WASI.
func guest(t testing.TB) string {
	t.Helper()
	return compile(t, "guest", []string{"-o", filepath.Join(scratch, "bin", "guest"), "./testdata/guest/main.go"},
		[]string{"GOOS=wasip1", "GOARCH=wasm"})
}

// compile runs go build once per name; its second argument is the output.
func compile(t testing.TB, name string, args, env []string) string {
	t.Helper()
	built.Lock()
	defer built.Unlock()
	if path, ok := built.byName[name]; ok {
		return path
	}
	cmd := exec.Command("go", append([]string{"build"}, args...)...)
	cmd.Env = append(os.Environ(), env...)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("build %s: %v\n%s", name, err, out)
	}
	built.byName[name] = args[1]
	return args[1]
}

// slow marks a test that `make test` leaves to `make test-all`.
func slow(t testing.TB, why string) {
	t.Helper()
	if testing.Short() {
		t.Skipf("slow (%s): runs in make test-all", why)
	}
}

// eventually polls until ok; its bound matters only when something is broken.
func eventually(t testing.TB, within time.Duration, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(within); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
		if ok() {
			return
		}
	}
	t.Fatalf("waited %s in vain for %s", within, what)
}
