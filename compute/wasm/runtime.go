// Package wasm runs WASI preview 1 programs: wazero in compiler mode, one child
// process (moyai-worker) per task, walled in by rlimits, Landlock and seccomp
// where the kernel has them, compiled code cached on disk and shared by all
// tasks of a machine.
//
// It never executes or even decodes a module itself: the provider's own process
// does not import an engine. Guests see /in, /out and /tmp and nothing else;
// they have no network, no processes and one thread. So there is nothing in a
// running task that could be entered: its tasks are not compute.Interactive.
package wasm

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	goruntime "runtime"
	"sort"
	"strings"
	"sync"
	"time"

	"github.com/moyai-network/moyai/compute"
	"github.com/moyai-network/moyai/compute/wasm/internal/job"
)

// Name is the runtime's name in manifests.
const Name = "wasm"

// Config says where a Runtime finds and keeps things.
type Config struct {
	// Worker is the path of the moyai-worker executable. Empty: FindWorker's.
	Worker string
	// CacheDir keeps compiled code across restarts. Several runtimes, also of
	// several processes, may share it. Required.
	CacheDir string
	// CacheBytes bounds CacheDir; the least recently used modules go first.
	CacheBytes uint64
	// MaxModuleBytes bounds a module's size.
	MaxModuleBytes uint64
	// Idle is how many started workers wait for the next program, so that a
	// process's start is not in front of it. Negative: none.
	Idle int
	// CompileTimeout and CompileBytes bound what a hostile module can take from
	// this machine before it ever runs.
	CompileTimeout time.Duration
	CompileBytes   uint64
	// ProcessBytes is what a worker may allocate beside its guest's memory.
	ProcessBytes uint64
	// LoadedFor ends a prepared worker that nobody used.
	LoadedFor time.Duration
}

// EnsureDefaults fills in what was left zero.
func (c *Config) EnsureDefaults() {
	set(&c.CacheBytes, 4<<30)
	set(&c.MaxModuleBytes, 256<<20)
	set(&c.Idle, 1)
	set(&c.CompileTimeout, time.Minute)
	set(&c.CompileBytes, 2<<30)
	set(&c.ProcessBytes, 768<<20)
	set(&c.LoadedFor, time.Hour)
}

func set[T comparable](v *T, def T) {
	var zero T
	if *v == zero {
		*v = def
	}
}

// Runtime implements compute.Runtime.
type Runtime struct {
	config Config
	cache  *cache
	pool   *pool

	mu    sync.Mutex
	tasks map[string]*task // running, by directory
}

var _ compute.Runtime = (*Runtime)(nil)

// New checks config and prepares the cache directory. It starts no process
// before the first use.
//
// Errors: compute.ErrUnavailable if there is no worker or the cache cannot be
// written.
func New(config Config) (*Runtime, error) {
	config.EnsureDefaults()
	if config.Worker == "" {
		worker, err := FindWorker()
		if err != nil {
			return nil, err
		}
		config.Worker = worker
	}
	if config.CacheDir == "" {
		return nil, fmt.Errorf("%w: no directory given for compiled code", compute.ErrUnavailable)
	}
	dir, err := filepath.Abs(config.CacheDir)
	if err != nil {
		return nil, unavailable("cache directory", err)
	}
	c, err := openCache(filepath.Join(dir, job.CacheVersion), config.CacheBytes)
	if err != nil {
		return nil, unavailable("cache directory", err)
	}
	return &Runtime{
		config: config,
		cache:  c,
		pool:   newPool(config.Worker, config.Idle),
		tasks:  map[string]*task{},
	}, nil
}

// FindWorker looks for moyai-worker beside this executable, then in PATH.
//
// Errors: compute.ErrUnavailable.
func FindWorker() (string, error) {
	name := "moyai-worker"
	if goruntime.GOOS == "windows" {
		name += ".exe"
	}
	if self, err := os.Executable(); err == nil {
		if resolved, err := filepath.EvalSymlinks(self); err == nil {
			self = resolved
		}
		beside := filepath.Join(filepath.Dir(self), name)
		if info, err := os.Stat(beside); err == nil && info.Mode().IsRegular() {
			return beside, nil
		}
	}
	if path, err := exec.LookPath(name); err == nil {
		return filepath.Abs(path)
	}
	return "", fmt.Errorf("%w: %s is neither beside this program nor in PATH: put it there (make build does)", compute.ErrUnavailable, name)
}

// Name implements compute.Runtime.
func (r *Runtime) Name() string { return Name }

// Tier implements compute.Runtime.
func (r *Runtime) Tier() compute.Tier { return compute.TierSandbox }

// Probe implements compute.Runtime: it runs a real program of 8 instructions
// and reports the walls that stood while it ran.
func (r *Runtime) Probe(ctx context.Context) (compute.Capabilities, error) {
	dir, err := os.MkdirTemp("", "moyai-probe-")
	if err != nil {
		return compute.Capabilities{}, unavailable("probe", err)
	}
	defer os.RemoveAll(dir)
	program := filepath.Join(dir, "probe.wasm")
	if err := os.WriteFile(program, probeModule, 0o600); err != nil {
		return compute.Capabilities{}, unavailable("probe", err)
	}
	p, err := r.prepare(ctx, compute.Spec{
		Dir: dir, Program: program, Limits: compute.Limits{MemoryBytes: 1 << 20, Timeout: 10 * time.Second},
	})
	if err != nil {
		return compute.Capabilities{}, err
	}
	defer p.Close()
	t, err := r.Start(ctx, p, compute.Run{ID: "probe", Dir: filepath.Join(dir, "task")})
	if err != nil {
		return compute.Capabilities{}, err
	}
	result, err := t.Wait(ctx)
	if err != nil {
		return compute.Capabilities{}, errors.Join(err, t.Stop(context.WithoutCancel(ctx), 0))
	}
	if result.ExitCode != probeExit {
		return compute.Capabilities{}, fmt.Errorf("%w: the probe program ended with %v (%s)", compute.ErrUnavailable, result.Reason, result.Message)
	}
	walls := append([]string{"output-limit", "log-limit", "timeout"}, p.walls...)
	sort.Strings(walls)
	return compute.Capabilities{Version: strings.Replace(engineVersion, "-", " ", 1), Enforced: walls, Missing: p.missing}, nil
}

// probeModule is (module (import "wasi_snapshot_preview1" "proc_exit" (func
// (param i32))) (memory (export "memory") 1) (func (export "_start") (call 0
// (i32.const 42)))).
var probeModule = []byte("\x00asm\x01\x00\x00\x00" +
	"\x01\x08\x02\x60\x01\x7f\x00\x60\x00\x00" +
	"\x02\x24\x01\x16wasi_snapshot_preview1\x09proc_exit\x00\x00" +
	"\x03\x02\x01\x01" +
	"\x05\x03\x01\x00\x01" +
	"\x07\x13\x02\x06memory\x02\x00\x06_start\x00\x01" +
	"\x0a\x08\x01\x06\x00\x41\x2a\x10\x00\x0b")

const probeExit = 42

// engineVersion is shown to people; job.CacheVersion carries the same.
var engineVersion = strings.SplitN(job.CacheVersion, "-", 2)[1]

// Close implements compute.Runtime.
func (r *Runtime) Close() error {
	r.pool.close()
	return nil
}

func unavailable(what string, err error) error {
	return fmt.Errorf("%w: %s: %w", compute.ErrUnavailable, what, err)
}
