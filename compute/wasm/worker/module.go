package worker

import (
	"bytes"
	"errors"
	"fmt"
)

// moduleInfo is what must be known about a module before time is spent on
// compiling it, and what wazero's public interface does not tell.
type moduleInfo struct {
	imports  []moduleImport
	minPages uint64 // of its own memory
	exports  map[string]byte
}

type moduleImport struct {
	module, name string
	kind         byte
}

// Kinds of imports and exports in the binary format.
const (
	kindFunc   = 0
	kindTable  = 1
	kindMemory = 2
	kindGlobal = 3
	kindTag    = 4
)

var kindNames = map[byte]string{kindFunc: "function", kindTable: "table", kindMemory: "memory", kindGlobal: "global", kindTag: "tag"}

var (
	magicModule    = []byte{0, 'a', 's', 'm', 1, 0, 0, 0}
	magicComponent = []byte{0, 'a', 's', 'm', 0x0d, 0, 1, 0}
)

var errTruncated = errors.New("the module is cut short or damaged")

// maxEntries bounds each section's declared count before anything is kept of it.
const maxEntries = 100_000

// inspect reads the import, memory and export sections. It is lenient: wazero
// decodes and validates everything afterwards.
func inspect(b []byte) (moduleInfo, error) {
	info := moduleInfo{exports: map[string]byte{}}
	if err := checkMagic(b); err != nil {
		return info, err
	}
	r := &reader{b: b[len(magicModule):]}
	for len(r.b) > 0 && r.err == nil {
		id := r.byte()
		section := &reader{b: r.take(r.u32())}
		if r.err != nil {
			break
		}
		switch id {
		case 2:
			info.readImports(section)
		case 5:
			if section.u32() > 0 {
				info.minPages, _ = section.limits()
			}
		case 7:
			info.readExports(section)
		}
		if section.err != nil {
			return info, section.err
		}
	}
	return info, r.err
}

func checkMagic(b []byte) error {
	switch {
	case bytes.HasPrefix(b, magicModule):
		return nil
	case bytes.HasPrefix(b, magicComponent):
		return errors.New("this is a WebAssembly component (WASI preview 2): build for preview 1, e.g. GOOS=wasip1 or --target wasm32-wasip1")
	case bytes.HasPrefix(b, []byte("\x7fELF")), bytes.HasPrefix(b, []byte("MZ")):
		return errors.New("not a wasm file but a native executable: build for WASI preview 1, e.g. GOOS=wasip1 GOARCH=wasm")
	case bytes.HasPrefix(bytes.TrimSpace(b), []byte("(module")):
		return errors.New("not a wasm file but its text form: translate it with wat2wasm")
	case len(b) == 0:
		return errors.New("not a wasm file: it is empty")
	}
	return fmt.Errorf("not a wasm file: it starts with %q, not with \"\\x00asm\"", b[:min(len(b), 8)])
}

func (info *moduleInfo) readImports(r *reader) {
	for n := r.count(); n > 0 && r.err == nil; n-- {
		imp := moduleImport{module: r.name(), name: r.name(), kind: r.byte()}
		switch imp.kind {
		case kindFunc:
			r.u32()
		case kindTable:
			r.refType()
			r.limits()
		case kindMemory:
			r.limits()
		case kindGlobal:
			r.refType()
			r.byte()
		case kindTag:
			r.byte()
			r.u32()
		default:
			r.fail()
		}
		info.imports = append(info.imports, imp)
	}
}

func (info *moduleInfo) readExports(r *reader) {
	for n := r.count(); n > 0 && r.err == nil; n-- {
		name := r.name()
		info.exports[name] = r.byte()
		r.u32()
	}
}

// check finds what makes a module no WASI preview 1 program. wasi reports
// whether WASI has a function.
func (info *moduleInfo) check(wasi func(name string) bool, memoryBytes uint64) error {
	for _, imp := range info.imports {
		full := imp.module + "." + imp.name
		switch {
		case imp.kind != kindFunc:
			return fmt.Errorf("the module imports the %s %q, which WASI preview 1 does not have", kindNames[imp.kind], full)
		case imp.module == "wasi_unstable":
			return fmt.Errorf("the module imports %q of WASI preview 0: rebuild it with a current toolchain", full)
		case imp.module == "gojs" || imp.module == "go":
			return fmt.Errorf("the module imports %q: it was built for a browser, rebuild it with GOOS=wasip1", full)
		case imp.module != wasiModule || !wasi(imp.name):
			return fmt.Errorf("the module imports the function %q, which WASI preview 1 does not have", full)
		}
	}
	if kind, ok := info.exports["_start"]; !ok || kind != kindFunc {
		return errors.New("the module exports no _start function: it is a library, not a program (build it as a command)")
	}
	if need := info.minPages * wasmPage; need > memoryBytes {
		return fmt.Errorf("the module needs %s of memory to start, the limit is %s: raise --memory", size(need), size(memoryBytes))
	}
	return nil
}

// reader decodes the binary format's primitives. After an error it returns
// zeros.
type reader struct {
	b   []byte
	err error
}

func (r *reader) fail() { r.b, r.err = nil, errTruncated }

func (r *reader) byte() byte {
	if len(r.b) == 0 {
		r.fail()
		return 0
	}
	c := r.b[0]
	r.b = r.b[1:]
	return c
}

func (r *reader) take(n uint64) []byte {
	if n > uint64(len(r.b)) {
		r.fail()
		return nil
	}
	out := r.b[:n]
	r.b = r.b[n:]
	return out
}

// u32 reads an unsigned LEB128 number; limits of 64-bit memories fit as well.
func (r *reader) u32() (v uint64) {
	for shift := uint(0); shift < 64; shift += 7 {
		c := r.byte()
		v |= uint64(c&0x7f) << shift
		if c < 0x80 {
			return v
		}
	}
	r.fail()
	return 0
}

func (r *reader) count() uint64 {
	n := r.u32()
	if n > maxEntries {
		r.fail()
		return 0
	}
	return n
}

func (r *reader) name() string { return string(r.take(r.u32())) }

func (r *reader) refType() {
	if c := r.byte(); c == 0x63 || c == 0x64 { // typed references carry a heap type
		r.u32()
	}
}

func (r *reader) limits() (minimum, maximum uint64) {
	flags := r.byte()
	minimum = r.u32()
	if flags&1 != 0 {
		maximum = r.u32()
	}
	return minimum, maximum
}
