package worker

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
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

// loadModule decodes, validates and compiles, or takes compiled code from the
// cache. No instruction of the module runs.
func loadModule(load job.Load) (*loaded, job.Code, error) {
	binary, err := readModule(load.Module)
	if err != nil {
		return nil, job.CodeFailed, err
	}
	info, err := inspect(binary)
	if err != nil {
		return nil, job.CodeBadProgram, err
	}
	ctx := experimental.WithCompilationWorkers(context.Background(), max(1, load.CPUs))
	config, err := runtimeConfig(load)
	if err != nil {
		return nil, job.CodeCache, err
	}
	r := wazero.NewRuntimeWithConfig(ctx, config)
	wasi, err := wasi_snapshot_preview1.NewBuilder(r).Compile(ctx)
	if err != nil {
		return nil, job.CodeFailed, fmt.Errorf("compile wasi: %w", err)
	}
	offered := wasi.ExportedFunctions()
	has := func(name string) bool { return offered[name] != nil }
	if err := info.check(has, load.Memory); err != nil {
		return nil, job.CodeBadProgram, err
	}
	module, err := r.CompileModule(ctx, binary)
	if err != nil {
		return nil, compileCode(err), fmt.Errorf("the module does not compile: %w", err)
	}
	if err := checkSignatures(module, offered); err != nil {
		return nil, job.CodeBadProgram, err
	}
	if load.Compile {
		return nil, job.CodeOK, nil
	}
	if _, err := r.InstantiateModule(ctx, wasi, wazero.NewModuleConfig()); err != nil {
		return nil, job.CodeFailed, fmt.Errorf("instantiate wasi: %w", err)
	}
	return &loaded{runtime: r, module: module, memory: &linearMemory{limit: load.Memory}}, job.CodeOK, nil
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
