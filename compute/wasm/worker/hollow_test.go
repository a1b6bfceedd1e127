package worker

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/tetratelabs/wazero"

	"github.com/moyai-network/moyai/compute/wasm/internal/job"
)

// answer is a module whose _start does nothing and whose function "answer"
// returns 42; it has a memory with data, names and a section of its own.
var answer = []byte("\x00asm\x01\x00\x00\x00" +
	"\x01\x08\x02\x60\x00\x00\x60\x00\x01\x7f" + // types: ()→(), ()→i32
	"\x03\x03\x02\x00\x01" + // functions
	"\x05\x03\x01\x00\x01" + // memory
	"\x07\x13\x02\x06_start\x00\x00\x06answer\x00\x01" + // exports
	"\x0a\x09\x02\x02\x00\x0b\x04\x00\x41\x2a\x0b" + // code
	"\x0b\x08\x01\x00\x41\x00\x0b\x02hi" + // data
	"\x00\x05\x04note" + // a section of the toolchain's
	"\x00\x0e\x04name\x01\x07\x01\x00\x04main") // names

func TestHollow(t *testing.T) {
	twin, err := hollow(answer)
	if err != nil {
		t.Fatal(err)
	}
	for _, part := range []string{"answer", "hi", "main"} {
		if !bytes.Contains(twin, []byte(part)) {
			t.Errorf("the hollow module lost %q", part)
		}
	}
	if bytes.Contains(twin, []byte("note")) || bytes.Contains(twin, []byte{0x41, 0x2a}) {
		t.Errorf("the hollow module holds what nobody reads: %q", twin)
	}
	again, err := hollow(twin)
	if err != nil || !bytes.Equal(again, twin) {
		t.Errorf("hollowing twice gives %q, %v", again, err)
	}
	for n := len(magicModule) + 1; n < 40; n++ {
		if _, err := hollow(answer[:n]); n != 18 && n != 23 && n != 28 && !errors.Is(err, errTruncated) { // those are whole sections
			t.Errorf("cut at %d: %v", n, err)
		}
	}
}

// TestHollowRunsTheCode: what runs is the module's code, although wazero was
// shown only its hull.
func TestHollowRunsTheCode(t *testing.T) {
	for _, c := range []struct {
		name   string
		module []byte
	}{{"ordinary", answer}, {"hollow already", mustHollow(t, answer)}} {
		t.Run(c.name, func(t *testing.T) {
			load := compiled(t, c.module)
			l, code, err := loadModule(load)
			if err != nil || code != job.CodeOK {
				t.Fatal(code, err)
			}
			m, err := l.runtime.InstantiateModule(context.Background(), l.module, wazero.NewModuleConfig().WithStartFunctions())
			if err != nil {
				t.Fatal(err)
			}
			got, err := m.ExportedFunction("answer").Call(context.Background())
			switch {
			case c.name != "ordinary" && err == nil:
				t.Errorf("got %d, want a trap", got)
			case c.name == "ordinary" && (err != nil || got[0] != 42):
				t.Errorf("got %d, %v; want 42", got, err)
			}
			if b, ok := m.Memory().Read(0, 2); !ok || string(b) != "hi" {
				t.Errorf("memory begins with %q", b)
			}
		})
	}
}

// TestCodeThatIsNotFound: wazero compiles what it does not find, which for a
// hollow module would give a program that only traps. It must be refused.
func TestCodeThatIsNotFound(t *testing.T) {
	for name, spoil := range map[string]func(t *testing.T, cache string){
		"code under another key": func(t *testing.T, cache string) {
			code, err := onlyFile(cache)
			must(t, err)
			must(t, os.Rename(code, filepath.Join(filepath.Dir(code), "0000")))
		},
		"no code": func(t *testing.T, cache string) {
			code, err := onlyFile(cache)
			must(t, err)
			must(t, os.Remove(code))
			must(t, os.WriteFile(filepath.Join(filepath.Dir(code), "0000"), nil, 0o600))
		},
		"other data": func(t *testing.T, cache string) {
			path := filepath.Join(cache, hollowFile)
			b, err := os.ReadFile(path)
			must(t, err)
			must(t, os.WriteFile(path, bytes.Replace(b, []byte("hi"), []byte("ho"), 1), 0o600))
		},
		"no module": func(t *testing.T, cache string) { must(t, os.Remove(filepath.Join(cache, hollowFile))) },
		"cut module": func(t *testing.T, cache string) {
			must(t, os.Truncate(filepath.Join(cache, hollowFile), 30))
		},
	} {
		t.Run(name, func(t *testing.T) {
			load := compiled(t, answer)
			spoil(t, load.Cache)
			if _, code, err := loadModule(load); code != job.CodeCache || err == nil {
				t.Errorf("code %v, %v; want the cache's fault", code, err)
			}
		})
	}
}

func compiled(t *testing.T, module []byte) job.Load {
	t.Helper()
	dir := t.TempDir()
	load := job.Load{Module: filepath.Join(dir, "m.wasm"), Cache: filepath.Join(dir, "cache"), Memory: 1 << 20, Compile: true}
	must(t, os.WriteFile(load.Module, module, 0o600))
	must(t, os.Mkdir(load.Cache, 0o700))
	if code, err := compileModule(load); err != nil {
		t.Fatal(code, err)
	}
	must(t, os.Remove(load.Module)) // not read again
	load.Compile = false
	return load
}

func mustHollow(t *testing.T, b []byte) []byte {
	t.Helper()
	twin, err := hollow(b)
	must(t, err)
	return twin
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// FuzzHollow: a module that wazero takes has a hollow twin that wazero takes,
// with the same imports and exports.
func FuzzHollow(f *testing.F) {
	f.Add(answer)
	f.Add(answer[:30])
	f.Fuzz(func(t *testing.T, b []byte) {
		twin, err := hollow(b)
		ctx := context.Background()
		r := wazero.NewRuntimeWithConfig(ctx, wazero.NewRuntimeConfigInterpreter().WithCoreFeatures(features).WithMemoryLimitPages(16))
		defer r.Close(ctx)
		whole, werr := r.CompileModule(ctx, b)
		if werr != nil {
			return
		}
		if err != nil {
			t.Fatalf("wazero takes it, hollow does not: %v", err)
		}
		hull, err := r.CompileModule(ctx, twin)
		if err != nil {
			t.Fatalf("wazero takes the module and not its twin: %v", err)
		}
		if len(whole.ImportedFunctions()) != len(hull.ImportedFunctions()) || len(whole.ExportedFunctions()) != len(hull.ExportedFunctions()) ||
			len(whole.ExportedMemories()) != len(hull.ExportedMemories()) {
			t.Fatal("the twin imports or exports something else")
		}
	})
}
