package wasm

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	goruntime "runtime"
	"sync"

	"github.com/moyai-network/moyai/compute"
	"github.com/moyai-network/moyai/compute/wasm/internal/job"
)

// prepared implements compute.Prepared: a checked Spec, its compiled code in
// the cache, and one worker that has it loaded.
type prepared struct {
	r       *Runtime
	spec    compute.Spec
	module  string // its entry in the cache
	walls   []string
	missing []string

	mu     sync.Mutex
	warm   *worker
	closed bool
}

// Prepare implements compute.Runtime.
func (r *Runtime) Prepare(ctx context.Context, spec compute.Spec) (compute.Prepared, error) {
	p, err := r.prepare(ctx, spec)
	if err != nil {
		return nil, err // not p: a nil *prepared would be a non-nil interface
	}
	return p, nil
}

func (r *Runtime) prepare(ctx context.Context, spec compute.Spec) (*prepared, error) {
	spec.Limits.EnsureDefaults()
	if err := spec.Validate(); err != nil {
		return nil, err
	}
	if spec.Egress != nil {
		return nil, fmt.Errorf("%w: a WebAssembly program has no network, so it can have no egress: use the container runtime", compute.ErrInvalidSpec)
	}
	if len(spec.Volumes) > 0 {
		return nil, fmt.Errorf("%w: a WebAssembly program cannot have volumes: use a container image", compute.ErrInvalidSpec)
	}
	if err := r.checkFiles(spec); err != nil {
		return nil, err
	}
	module, err := entryName(spec)
	if err != nil {
		return nil, unavailable("read the module", err)
	}
	p := &prepared{r: r, spec: spec, module: module}
	w, err := p.load(ctx)
	if err != nil {
		return nil, err
	}
	p.warm, p.walls, p.missing = w, w.walls, w.missing
	return p, nil
}

// entryName names a module in the cache by the caller's key or by the hash of
// its bytes. The two never meet, whatever a caller's keys look like.
func entryName(spec compute.Spec) (string, error) {
	if len(spec.ProgramKey) > 0 {
		return "key-" + hex.EncodeToString(spec.ProgramKey), nil
	}
	return hashFile(spec.Program)
}

func (r *Runtime) checkFiles(spec compute.Spec) error {
	info, err := os.Stat(spec.Program)
	switch {
	case err != nil:
		return fmt.Errorf("%w: module: %w", compute.ErrInvalidSpec, err)
	case !info.Mode().IsRegular():
		return fmt.Errorf("%w: not a wasm file: %s is not a regular file", compute.ErrBadProgram, filepath.Base(spec.Program))
	case uint64(info.Size()) > r.config.MaxModuleBytes:
		return fmt.Errorf("%w: the module has %d bytes, at most %d are accepted", compute.ErrBadProgram, info.Size(), r.config.MaxModuleBytes)
	}
	if err := spec.CheckInputs(); err != nil {
		return err
	}
	if err := os.MkdirAll(spec.Dir, 0o700); err != nil {
		return unavailable("task directory", err)
	}
	return nil
}

// load returns a worker with the module loaded, compiling first if no cached
// code is there or what is there turns out damaged.
func (p *prepared) load(ctx context.Context) (*worker, error) {
	for attempt := 0; ; attempt++ {
		dir, err := p.r.cache.ensure(ctx, p.module, func(ctx context.Context, dir string) error {
			return p.r.compile(ctx, p.spec, dir)
		})
		if err != nil {
			return nil, err
		}
		w, err := p.loadFrom(ctx, dir)
		if attempt == 0 && errors.Is(err, errCacheEntry) {
			// Another processor's code, a torn disk, or evicted a moment ago.
			p.r.cache.drop(p.module)
			continue
		}
		return w, err
	}
}

func (p *prepared) loadFrom(ctx context.Context, cacheDir string) (*worker, error) {
	w, err := p.r.pool.take()
	if err != nil {
		return nil, err
	}
	err = w.load(ctx, job.Load{
		Module:  p.spec.Program,
		Cache:   cacheDir,
		Dir:     p.spec.Dir,
		Inputs:  inputs(p.spec.Inputs),
		Memory:  p.spec.Limits.MemoryBytes,
		Process: p.r.config.ProcessBytes,
		Timeout: p.r.config.LoadedFor,
	})
	if err != nil {
		w.kill()
		return nil, err
	}
	return w, nil
}

// compile fills dir with the module's compiled code, in a worker that can write
// nothing else.
func (r *Runtime) compile(ctx context.Context, spec compute.Spec, dir string) error {
	ctx, cancel := context.WithTimeout(ctx, r.config.CompileTimeout)
	defer cancel()
	w, err := r.pool.take()
	if err != nil {
		return err
	}
	defer w.kill()
	err = w.load(ctx, job.Load{
		Module:  spec.Program,
		Cache:   dir,
		Compile: true,
		Memory:  spec.Limits.MemoryBytes,
		Process: r.config.CompileBytes,
		CPUs:    goruntime.NumCPU(),
		Timeout: r.config.CompileTimeout,
	})
	if errors.Is(err, errWorkerDied) || errors.Is(err, context.DeadlineExceeded) {
		if cause := ctx.Err(); cause != nil && !errors.Is(cause, context.DeadlineExceeded) {
			return cause
		}
		return fmt.Errorf("%w: the module cannot be compiled within %v and %d MiB (%w)",
			compute.ErrBadProgram, r.config.CompileTimeout, r.config.CompileBytes>>20, err)
	}
	return err
}

// worker hands out a loaded worker, the waiting one if it still lives.
func (p *prepared) worker(ctx context.Context) (*worker, error) {
	p.mu.Lock()
	w := p.warm
	p.warm = nil
	p.mu.Unlock()
	if w != nil && w.alive() {
		return w, nil
	}
	return p.load(ctx)
}

// refill loads the next worker of an array while the current one runs.
func (p *prepared) refill() {
	w, err := p.load(context.Background())
	if err != nil {
		return // the next Start will meet the same error and report it
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed || p.warm != nil {
		w.kill()
		return
	}
	p.warm = w
}

// Spec implements compute.Prepared.
func (p *prepared) Spec() compute.Spec { return p.spec }

// Close implements compute.Prepared.
func (p *prepared) Close() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.closed = true
	if p.warm != nil {
		p.warm.kill()
		p.warm = nil
	}
	return nil
}

func inputs(in []compute.Input) []job.Input {
	out := make([]job.Input, len(in))
	for i, v := range in {
		out[i] = job.Input(v)
	}
	return out
}
