package worker

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/tetratelabs/wazero"
	"github.com/tetratelabs/wazero/api"
	"github.com/tetratelabs/wazero/experimental"
	"github.com/tetratelabs/wazero/imports/wasi_snapshot_preview1"

	"github.com/moyai-network/moyai/compute/wasm/internal/job"
)

const (
	wasiModule = wasi_snapshot_preview1.ModuleName
	wasmPage   = 1 << 16
	maxModule  = 1 << 30 // what the format's own limits allow, roughly
)

// features are those current toolchains emit for WASI preview 1, threads
// excepted: a guest is one thread.
const features = api.CoreFeaturesV2 | experimental.CoreFeaturesTailCall |
	experimental.CoreFeaturesExtendedConst | experimental.CoreFeaturesExceptionHandling

// loaded is a module ready to be instantiated.
type loaded struct {
	runtime wazero.Runtime
	module  wazero.CompiledModule
	memory  *linearMemory
}

// engine is wazero over one module's cache.
type engine struct {
	runtime wazero.Runtime
	wasi    wazero.CompiledModule
}

func newEngine(ctx context.Context, load job.Load) (*engine, job.Code, error) {
	config, err := runtimeConfig(load)
	if err != nil {
		return nil, job.CodeCache, err
	}
	e := &engine{runtime: wazero.NewRuntimeWithConfig(ctx, config)}
	if e.wasi, err = wasi_snapshot_preview1.NewBuilder(e.runtime).Compile(ctx); err != nil {
		return nil, job.CodeFailed, fmt.Errorf("compile wasi: %w", err)
	}
	return e, job.CodeOK, nil
}

// check finds what makes a module no program for this engine, before time is
// spent on compiling it.
func (e *engine) check(info moduleInfo, memory uint64) error {
	offered := e.wasi.ExportedFunctions()
	return info.check(func(name string) bool { return offered[name] != nil }, memory)
}

// compileModule decodes, validates and compiles the tenant's module and fills
// its cache. No instruction of the module runs.
func compileModule(load job.Load) (job.Code, error) {
	binary, err := readModule(load.Module)
	if err != nil {
		return job.CodeFailed, err
	}
	info, err := inspect(binary)
	if err != nil {
		return job.CodeBadProgram, err
	}
	ctx := experimental.WithCompilationWorkers(context.Background(), max(1, load.CPUs))
	e, code, err := newEngine(ctx, load)
	if err != nil {
		return code, err
	}
	if err := e.check(info, load.Memory); err != nil {
		return job.CodeBadProgram, err
	}
	module, err := e.runtime.CompileModule(ctx, binary)
	if err != nil {
		return compileCode(err), fmt.Errorf("the module does not compile: %w", err)
	}
	if err := checkSignatures(module, e.wasi.ExportedFunctions()); err != nil {
		return job.CodeBadProgram, err
	}
	if err := e.keepHollow(ctx, load.Cache, binary); err != nil {
		return job.CodeFailed, fmt.Errorf("cache the compiled module: %w", err)
	}
	return job.CodeOK, nil
}

// hollowFile holds the hollow module in a module's cache.
const hollowFile = "hollow.wasm"

// keepHollow stores the hollow twin of a module that was just compiled, and
// moves the code to the key under which wazero will look for the twin's.
func (e *engine) keepHollow(ctx context.Context, cache string, module []byte) error {
	twin, err := hollow(module)
	if err != nil {
		return err
	}
	code, err := onlyFile(cache)
	if err != nil {
		return err
	}
	aside := filepath.Join(cache, "code")
	if err := os.Rename(code, aside); err != nil {
		return err
	}
	// wazero itself names the file: it compiles the twin, which is quick, and what
	// that gave is replaced.
	if !bytes.Equal(twin, module) {
		if _, err := e.runtime.CompileModule(ctx, twin); err != nil {
			return err
		}
		if code, err = onlyFile(cache); err != nil {
			return err
		}
	}
	if err := os.Rename(aside, code); err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(cache, hollowFile), twin, 0o600)
}

// onlyFile is the one file in wazero's own directory below cache.
func onlyFile(cache string) (string, error) {
	files, err := filepath.Glob(filepath.Join(cache, "*", "*"))
	if err != nil {
		return "", err
	}
	if len(files) != 1 {
		return "", fmt.Errorf("%w: %d files of compiled code", errCode, len(files))
	}
	return files[0], nil
}

// errCode: the cache does not hold what it should.
var errCode = errors.New("unexpected compiled code")

// loadModule takes compiled code from the cache. Whatever is wrong with it there
// is not the tenant's fault: it compiled once.
func loadModule(load job.Load) (*loaded, job.Code, error) {
	binary, err := readModule(filepath.Join(load.Cache, hollowFile))
	if err != nil {
		return nil, job.CodeCache, err
	}
	info, err := inspect(binary)
	if err != nil {
		return nil, job.CodeCache, err
	}
	ctx := context.Background()
	e, code, err := newEngine(ctx, load)
	if err != nil {
		return nil, code, err
	}
	if err := e.check(info, load.Memory); err != nil {
		return nil, job.CodeBadProgram, err // of this lease: its memory limit may be lower
	}
	module, err := e.runtime.CompileModule(ctx, binary)
	if err != nil {
		return nil, job.CodeCache, err
	}
	// A twin that is damaged, or code for another processor, is not found but
	// compiled: into traps.
	if _, err := onlyFile(load.Cache); err != nil {
		return nil, job.CodeCache, err
	}
	if _, err := e.runtime.InstantiateModule(ctx, e.wasi, wazero.NewModuleConfig()); err != nil {
		return nil, job.CodeFailed, fmt.Errorf("instantiate wasi: %w", err)
	}
	return &loaded{runtime: e.runtime, module: module, memory: &linearMemory{limit: load.Memory}}, job.CodeOK, nil
}

func readModule(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if info.Size() > maxModule {
		return nil, fmt.Errorf("the module has %s, at most %s are accepted", size(uint64(info.Size())), size(maxModule))
	}
	binary := make([]byte, info.Size())
	_, err = io.ReadFull(f, binary)
	return binary, err
}

func runtimeConfig(load job.Load) (wazero.RuntimeConfig, error) {
	cache, err := wazero.NewCompilationCacheWithDir(load.Cache)
	if err != nil {
		return nil, err
	}
	// Debug information would be read back entry by entry: it costs more than
	// all the rest of loading. Function names in traces do not need it.
	return wazero.NewRuntimeConfig().
		WithCoreFeatures(features).
		WithCompilationCache(cache).
		WithDebugInfoEnabled(false).
		WithMemoryLimitPages(wazeroPages(load.Memory)), nil
}

// compileCode tells the cache's failures from the module's.
func compileCode(err error) job.Code {
	var path *os.PathError
	if errors.As(err, &path) || strings.Contains(err.Error(), "compilationcache") {
		return job.CodeCache
	}
	return job.CodeBadProgram
}

// checkSignatures finds imports that have a WASI function's name and another
// type; instantiation would say so too late.
func checkSignatures(m wazero.CompiledModule, offered map[string]api.FunctionDefinition) error {
	for _, f := range m.ImportedFunctions() {
		_, name, _ := f.Import()
		want := offered[name]
		if !equalTypes(f.ParamTypes(), want.ParamTypes()) || !equalTypes(f.ResultTypes(), want.ResultTypes()) {
			return fmt.Errorf("the module imports %s.%s with another signature than WASI preview 1 gives it", wasiModule, name)
		}
	}
	return nil
}

func equalTypes(a, b []api.ValueType) bool { return string(a) == string(b) }

// size formats bytes for people.
func size(n uint64) string {
	const units = "KMGTPE"
	if n < 1<<10 {
		return fmt.Sprintf("%d bytes", n)
	}
	unit, div := 0, uint64(1<<10)
	for n/div >= 1<<10 {
		div <<= 10
		unit++
	}
	return strings.TrimSuffix(fmt.Sprintf("%.1f", float64(n)/float64(div)), ".0") + " " + units[unit:unit+1] + "iB"
}
