package wasm

import (
	"bufio"
	"bytes"
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/moyai-network/moyai/compute"
	"github.com/moyai-network/moyai/compute/internal/taskrecord"
	"github.com/moyai-network/moyai/compute/runtimetest"
	"github.com/moyai-network/moyai/compute/wasm/internal/job"
)

func newRuntime(tb testing.TB) compute.Runtime {
	tb.Helper()
	r, err := New(Config{Worker: runtimetest.BuildWorker(tb), CacheDir: runtimetest.CacheDir(tb)})
	if err != nil {
		tb.Fatal(err)
	}
	return r
}

func TestConformance(t *testing.T) {
	runtimetest.Run(t, runtimetest.Harness{
		New:    newRuntime,
		Probe:  runtimetest.BuildProbe(t),
		Traits: runtimetest.Traits{Deterministic: true},
		BadPrograms: []runtimetest.BadProgram{
			{Name: "empty", Want: "not a wasm file: it is empty"},
			{Name: "text", Content: []byte("#!/bin/sh\n"), Want: "not a wasm file"},
			{Name: "wat", Content: []byte("\n(module)"), Want: "wat2wasm"},
			{Name: "native", Content: []byte("\x7fELF\x02\x01\x01"), Want: "native executable"},
			{Name: "component", Content: []byte("\x00asm\x0d\x00\x01\x00"), Want: "component"},
			{Name: "cut short", Content: program()[:20], Want: "cut short"},
			{Name: "invalid code", Content: program(0x41, 0x00), Want: "does not compile"},
			{Name: "library", Content: module(typesVoid), Want: "no _start"},
			{Name: "unknown import", Content: importing("env", "system"), Want: `"env.system"`},
			{Name: "unknown wasi import", Content: importing("wasi_snapshot_preview1", "sock_open"), Want: `"wasi_snapshot_preview1.sock_open"`},
			{Name: "wrong signature", Content: importing("wasi_snapshot_preview1", "fd_write"), Want: "another signature"},
			{Name: "preview 0", Content: importing("wasi_unstable", "fd_write"), Want: "preview 0"},
			{Name: "browser", Content: importing("gojs", "runtime.wasmExit"), Want: "GOOS=wasip1"},
			{Name: "imported memory", Content: module(section(2, cat([]byte{1}, name("env"), name("memory"), []byte{2, 0, 1})...)), Want: `memory "env.memory"`},
			{Name: "more memory than allowed", Content: module(typesVoid, funcsOne, section(5, 1, 0, 32), exportStart, section(10, 1, 2, 0, 0x0b)),
				Want: "2 MiB", Limits: compute.Limits{MemoryBytes: 1 << 20}},
		},
	})
}

// run runs a hand-made module.
func runModule(t *testing.T, r compute.Runtime, content []byte, limits compute.Limits) compute.Result {
	t.Helper()
	dir := t.TempDir()
	path := filepath.Join(dir, "module.wasm")
	if err := os.WriteFile(path, content, 0o600); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	p, err := r.Prepare(ctx, compute.Spec{Dir: dir, Program: path, Limits: limits})
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	task, err := r.Start(ctx, p, compute.Run{ID: "x", Dir: filepath.Join(dir, "x")})
	if err != nil {
		t.Fatal(err)
	}
	result, err := task.Wait(ctx)
	if err != nil {
		t.Fatal(err, task.Stop(context.Background(), 0))
	}
	return result
}

func TestTraps(t *testing.T) {
	r := newRuntime(t)
	defer r.Close()
	for _, tc := range []struct {
		name   string
		body   []byte
		reason compute.Reason
		text   string
	}{
		{"return", nil, compute.ReasonExited, ""},
		{"unreachable", []byte{0x00}, compute.ReasonTrap, "unreachable"},
		{"out of bounds", []byte{0x41, 0x7f, 0x28, 2, 0, 0x1a}, compute.ReasonTrap, "out of bounds"},
		{"division by zero", []byte{0x41, 1, 0x41, 0, 0x6d, 0x1a}, compute.ReasonTrap, "divide by zero"},
		{"endless recursion", []byte{0x10, 0}, compute.ReasonTrap, "stack overflow"},
		{"endless loop", []byte{0x03, 0x40, 0x0c, 0, 0x0b}, compute.ReasonDeadline, "timeout"},
		{"memory.grow, then trap", []byte{0x41, 0xff, 0xff, 3, 0x40, 0, 0x1a, 0x00}, compute.ReasonMemory, "1 MiB"},
		{"memory.grow refused and borne", []byte{0x41, 0xff, 0xff, 3, 0x40, 0, 0x1a}, compute.ReasonExited, ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			limits := compute.Limits{MemoryBytes: 1 << 20, Timeout: 30 * time.Second}
			if tc.reason == compute.ReasonDeadline {
				limits.Timeout = time.Second
			}
			got := runModule(t, r, program(tc.body...), limits)
			if got.Reason != tc.reason || !strings.Contains(got.Message, tc.text) {
				t.Errorf("got %v %q, want %v with %q", got.Reason, got.Message, tc.reason, tc.text)
			}
		})
	}
}

// TestTableBomb grows a table, memory that no limit of WebAssembly's own holds.
func TestTableBomb(t *testing.T) {
	r := newRuntime(t)
	defer r.Close()
	grow := []byte{0x03, 0x40, 0xd0, 0x70, 0x41, 0x80, 0x80, 0x80, 0x10, 0xfc, 0x0f, 0, 0x1a, 0x0c, 0, 0x0b} // loop: table.grow null, 32 Mi
	code := append(append([]byte{0}, grow...), 0x0b)
	got := runModule(t, r, module(typesVoid, funcsOne, section(4, 1, 0x70, 0, 1), section(5, 1, 0, 1), exportStart,
		section(10, cat([]byte{1}, sized(code))...)), compute.Limits{MemoryBytes: 1 << 20, Timeout: 20 * time.Second})
	// Go's runtime usually says that it is out of memory; when the refused
	// allocation was one of its own tables it dies of a segmentation fault.
	if got.Reason != compute.ReasonMemory && (got.Reason != compute.ReasonCrashed || !strings.Contains(got.Message, "memory")) {
		t.Errorf("result %+v", got)
	}
}

// TestOneCompileForMany prepares one module many times at once, through several
// runtimes on one fresh cache.
func TestOneCompileForMany(t *testing.T) {
	cacheDir := t.TempDir()
	dir := t.TempDir()
	path := filepath.Join(dir, "m.wasm")
	if err := os.WriteFile(path, program(), 0o600); err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	for i := range 3 {
		r, err := New(Config{Worker: runtimetest.BuildWorker(t), CacheDir: cacheDir})
		if err != nil {
			t.Fatal(err)
		}
		defer r.Close()
		for j := range 3 {
			wg.Go(func() {
				p, err := r.Prepare(context.Background(), compute.Spec{Dir: filepath.Join(dir, fmt.Sprint(i, j)), Program: path})
				if err != nil {
					t.Error(err)
					return
				}
				p.Close()
			})
		}
	}
	wg.Wait()
	entries, err := os.ReadDir(filepath.Join(cacheDir, job.CacheVersion))
	if err != nil || len(entries) != 1 {
		t.Errorf("the cache holds %v (%v), want one entry", entries, err)
	}
}

// TestProgramKey: a program is found again by its caller's key, and a key is
// never taken for a hash.
func TestProgramKey(t *testing.T) {
	cacheDir, dir := t.TempDir(), t.TempDir()
	r, err := New(Config{Worker: runtimetest.BuildWorker(t), CacheDir: cacheDir})
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	path := filepath.Join(dir, "m.wasm")
	if err := os.WriteFile(path, program(), 0o600); err != nil {
		t.Fatal(err)
	}
	hash, err := hashFile(path)
	if err != nil {
		t.Fatal(err)
	}
	raw, _ := hex.DecodeString(hash)
	for i, key := range [][]byte{raw, raw, []byte("another"), nil} {
		p, err := r.Prepare(context.Background(), compute.Spec{Dir: filepath.Join(dir, fmt.Sprint(i)), Program: path, ProgramKey: key})
		if err != nil {
			t.Fatal(err)
		}
		p.Close()
	}
	entries, err := os.ReadDir(filepath.Join(cacheDir, job.CacheVersion))
	if err != nil || len(entries) != 3 {
		t.Errorf("the cache holds %v (%v), want three entries", entries, err)
	}
	_, err = r.Prepare(context.Background(), compute.Spec{Dir: dir, Program: path, ProgramKey: make([]byte, compute.MaxKey+1)})
	if !errors.Is(err, compute.ErrInvalidSpec) {
		t.Errorf("a long key: %v", err)
	}
}

// TestDamagedCache flips bytes of each cached file in turn: it must be made anew,
// not run.
func TestDamagedCache(t *testing.T) {
	cacheDir := t.TempDir()
	r, err := New(Config{Worker: runtimetest.BuildWorker(t), CacheDir: cacheDir})
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	if got := runModule(t, r, program(), compute.Limits{}); !got.OK() {
		t.Fatalf("result %+v", got)
	}
	files := cached(t, cacheDir)
	if len(files) != 2 {
		t.Fatalf("the cache holds %v, want the code and the hollow module", files)
	}
	for _, path := range files {
		before, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		damaged := slices.Clone(before)
		for i := len(damaged) / 2; i < len(damaged); i++ {
			damaged[i] ^= 0x55
		}
		if err := os.WriteFile(path, damaged, 0o600); err != nil {
			t.Fatal(err)
		}
		if got := runModule(t, r, program(), compute.Limits{}); !got.OK() {
			t.Errorf("%s damaged: result %+v", filepath.Base(path), got)
		}
		if after, err := os.ReadFile(path); err != nil || !bytes.Equal(before, after) {
			t.Errorf("%s was not made anew (%v)", filepath.Base(path), err)
		}
	}
}

func cached(t *testing.T, dir string) (files []string) {
	t.Helper()
	err := filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
		if err == nil && d.Type().IsRegular() {
			files = append(files, path)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return files
}

// TestCacheLimit fills a small cache: old entries go, the newest stays.
func TestCacheLimit(t *testing.T) {
	c, err := openCache(t.TempDir(), 3000)
	if err != nil {
		t.Fatal(err)
	}
	compiles := 0
	ensure := func(module string) {
		t.Helper()
		if _, err := c.ensure(context.Background(), module, func(_ context.Context, dir string) error {
			compiles++
			return os.WriteFile(filepath.Join(dir, "code"), make([]byte, 1000), 0o600)
		}); err != nil {
			t.Fatal(err)
		}
	}
	for _, m := range []string{"a", "b", "c", "a", "d"} {
		ensure(m)
		past := time.Now().Add(-time.Duration(100-compiles) * time.Second) // distinct times of use
		if m != "a" {
			_ = os.Chtimes(c.path(m), past, past)
		}
	}
	ensure("a")
	if compiles != 4 {
		t.Errorf("%d compiles, want 4: the module in use was evicted", compiles)
	}
	ensure("b")
	if compiles != 5 {
		t.Errorf("%d compiles, want 5: the oldest should have been evicted", compiles)
	}
	boom := errors.New("boom")
	if _, err := c.ensure(context.Background(), "e", func(context.Context, string) error { return boom }); !errors.Is(err, boom) {
		t.Errorf("got %v", err)
	}
	entries, _ := os.ReadDir(c.dir)
	for _, e := range entries {
		if strings.HasPrefix(e.Name(), stagingPrefix) {
			t.Errorf("%s was left behind", e.Name())
		}
	}
}

// TestWorkerIsSmall guards what the worker links: its start is in front of every
// task.
func TestWorkerIsSmall(t *testing.T) {
	out, err := exec.Command("go", "list", "-deps", "github.com/moyai-network/moyai/cmd/moyai-worker").Output()
	if err != nil {
		t.Fatal(err)
	}
	allowed := []string{
		"github.com/tetratelabs/wazero", "github.com/landlock-lsm/go-landlock", "golang.org/x/sys", "kernel.org/pub/linux/libs/security/libcap/psx",
		"github.com/moyai-network/moyai/compute", "github.com/moyai-network/moyai/cmd/moyai-worker",
		// The tool that speaks SFTP inside containers: 1 MB of file, and 0.1 MB of memory that is the process's own.
		"github.com/pkg/sftp", "github.com/kr/fs", "golang.org/x/crypto",
		// The streams of a container's switchboard.
		"github.com/libp2p/go-yamux/v5", "github.com/libp2p/go-buffer-pool",
		// Names and pipes of each system; no more than calls of it.
		"github.com/moyai-network/moyai/internal/filename", "github.com/moyai-network/moyai/internal/fifo", "github.com/moyai-network/moyai/internal/steady",
		"github.com/moyai-network/moyai/internal/oserror",
	}
	for _, dep := range strings.Fields(string(out)) {
		host, _, _ := strings.Cut(dep, "/")
		ok := !strings.Contains(host, ".") // the standard library
		for _, a := range allowed {
			ok = ok || dep == a || strings.HasPrefix(dep, a+"/")
		}
		if !ok {
			t.Errorf("moyai-worker imports %s", dep)
		}
	}
}

// TestNoEngineInTheProvider: a hostile module must never be decoded by the
// provider's own process.
func TestNoEngineInTheProvider(t *testing.T) {
	out, err := exec.Command("go", "list", "-deps", "github.com/moyai-network/moyai/compute/wasm").Output()
	if err != nil {
		t.Fatal(err)
	}
	for _, dep := range []string{"tetratelabs/wazero\n", "wazero/internal/engine"} {
		if bytes.Contains(out, []byte(dep)) {
			t.Errorf("compute/wasm imports %s", dep)
		}
	}
}

// helperEnv makes the test binary a provider that starts a task and waits to be
// killed.
const helperEnv = "MOYAI_TEST_PROVIDER"

func TestMain(m *testing.M) {
	if dir := os.Getenv(helperEnv); dir != "" {
		if err := provider(dir); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
	}
	os.Exit(m.Run())
}

func provider(dir string) error {
	r, err := New(Config{Worker: os.Getenv("MOYAI_TEST_WORKER"), CacheDir: os.Getenv("MOYAI_TEST_CACHE")})
	if err != nil {
		return err
	}
	timeout, err := time.ParseDuration(os.Getenv("MOYAI_TEST_TIMEOUT"))
	if err != nil {
		return err
	}
	p, err := r.Prepare(context.Background(), compute.Spec{
		Dir: dir, Program: os.Getenv("MOYAI_TEST_PROGRAM"), Args: strings.Fields(os.Getenv("MOYAI_TEST_ARGS")),
		Limits: compute.Limits{Timeout: timeout},
	})
	if err != nil {
		return err
	}
	if _, err := r.Start(context.Background(), p, compute.Run{ID: "orphan", Dir: filepath.Join(dir, "task")}); err != nil {
		return err
	}
	fmt.Println("started")
	select {}
}

// TestProviderKilled kills a provider with SIGKILL while its task runs.
func TestProviderKilled(t *testing.T) {
	for _, tc := range []struct {
		name, args, timeout string
		late                bool // look only after the deadline must have struck
		want                compute.Reason
	}{
		{"the task runs on", "sleep 700ms", "30s", false, compute.ReasonExited},
		{"the deadline holds", "spin", "1s", false, compute.ReasonDeadline},
		{"the deadline holds with nobody looking", "spin", "500ms", true, compute.ReasonDeadline},
	} {
		t.Run(tc.name, func(t *testing.T) {
			dir := t.TempDir()
			cmd := exec.Command(os.Args[0])
			cmd.Env = append(os.Environ(), helperEnv+"="+dir, "MOYAI_TEST_WORKER="+runtimetest.BuildWorker(t), "MOYAI_TEST_CACHE="+runtimetest.CacheDir(t),
				"MOYAI_TEST_PROGRAM="+runtimetest.BuildProbe(t), "MOYAI_TEST_ARGS="+tc.args, "MOYAI_TEST_TIMEOUT="+tc.timeout)
			cmd.Stderr = os.Stderr
			out, err := cmd.StdoutPipe()
			if err != nil {
				t.Fatal(err)
			}
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			line, err := bufio.NewReader(out).ReadString('\n')
			if killErr := cmd.Process.Signal(syscall.SIGKILL); err != nil || killErr != nil {
				t.Fatal(line, err, killErr)
			}
			_ = cmd.Wait()

			run := compute.Run{ID: "orphan", Dir: filepath.Join(dir, "task")}
			if tc.late {
				s, err := readState(run)
				if err != nil {
					t.Fatal(err)
				}
				for processAlive(s) {
					time.Sleep(10 * time.Millisecond)
				}
			}
			r := newRuntime(t)
			defer r.Close()
			task, err := r.Recover(context.Background(), run)
			if err != nil {
				t.Fatal(err)
			}
			ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
			defer cancel()
			got, err := task.Wait(ctx)
			if err != nil {
				t.Fatal(err, task.Stop(context.Background(), 0))
			}
			if got.Reason != tc.want {
				t.Errorf("result %+v, want %v", got, tc.want)
			}
		})
	}
}

func processAlive(s *state) bool {
	now, err := taskrecord.Identify(s.PID)
	return err == nil && now.Born == s.Born
}

// TestLost: a task whose machine went down says so, and does not claim a process
// that has its number now.
func TestLost(t *testing.T) {
	r := newRuntime(t)
	defer r.Close()
	me, err := taskrecord.Identify(os.Getpid())
	if err != nil {
		t.Fatal(err)
	}
	for name, s := range map[string]state{
		"reboot":     {ID: "x", Process: taskrecord.Process{PID: me.PID, Boot: "another boot"}},
		"pid reused": {ID: "x", Process: taskrecord.Process{PID: me.PID, Boot: me.Boot, Born: 1}},
		"pid gone":   {ID: "x", Process: taskrecord.Process{PID: 1 << 30, Boot: me.Boot, Born: 1}},
	} {
		t.Run(name, func(t *testing.T) {
			s.Start, s.Limits.Timeout = taskrecord.Now(), time.Hour
			run := compute.Run{ID: "x", Dir: t.TempDir()}
			if err := taskrecord.Write(run.Dir, job.StateFile, s); err != nil {
				t.Fatal(err)
			}
			task, err := r.Recover(context.Background(), run)
			if err != nil {
				t.Fatal(err)
			}
			got, err := task.Wait(context.Background())
			if err != nil || got.Reason != compute.ReasonLost {
				t.Errorf("result %+v, %v", got, err)
			}
			if err := task.Stop(context.Background(), 0); err != nil {
				t.Error(err)
			}
		})
	}
}

// TestNoLeftovers: a runtime that was closed leaves no process behind.
func TestNoLeftovers(t *testing.T) {
	r := newRuntime(t).(*Runtime)
	dir := t.TempDir()
	path := filepath.Join(dir, "m.wasm")
	if err := os.WriteFile(path, program(), 0o600); err != nil {
		t.Fatal(err)
	}
	p, err := r.Prepare(context.Background(), compute.Spec{Dir: dir, Program: path})
	if err != nil {
		t.Fatal(err)
	}
	warm := p.(*prepared).warm
	if err := errors.Join(p.Close(), r.Close()); err != nil {
		t.Fatal(err)
	}
	<-warm.done
	r.pool.mu.Lock()
	defer r.pool.mu.Unlock()
	if len(r.pool.idle) != 0 {
		t.Errorf("%d workers still wait", len(r.pool.idle))
	}
}

// BenchmarkStart is the way from Start to the first byte of output, with the
// module prepared; BenchmarkPrepare the way before it.
func BenchmarkStart(b *testing.B) {
	r := newRuntime(b)
	defer r.Close()
	dir := b.TempDir()
	probe := runtimetest.BuildProbe(b)
	n := 0
	for b.Loop() {
		n++
		b.StopTimer()
		p, err := r.Prepare(context.Background(), compute.Spec{Dir: dir, Program: probe, Args: []string{"hello"}})
		if err != nil {
			b.Fatal(err)
		}
		run := compute.Run{ID: "x", Dir: filepath.Join(dir, fmt.Sprint(n))}
		b.StartTimer()
		task, err := r.Start(context.Background(), p, run)
		if err != nil {
			b.Fatal(err)
		}
		for {
			if info, err := os.Stat(run.Stdout()); err == nil && info.Size() > 0 {
				break
			}
			time.Sleep(50 * time.Microsecond)
		}
		b.StopTimer()
		if _, err := task.Wait(context.Background()); err != nil {
			b.Fatal(err)
		}
		p.Close()
		b.StartTimer()
	}
}

func BenchmarkPrepare(b *testing.B) {
	r := newRuntime(b)
	defer r.Close()
	dir := b.TempDir()
	probe := runtimetest.BuildProbe(b)
	for b.Loop() {
		p, err := r.Prepare(context.Background(), compute.Spec{Dir: dir, Program: probe})
		if err != nil {
			b.Fatal(err)
		}
		p.Close()
	}
}
