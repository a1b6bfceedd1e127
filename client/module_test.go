package client

import (
	"archive/tar"
	"bufio"
	"bytes"
	"compress/gzip"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/moyai-network/moyai/compute/manifest"
)

// wasm assembles a module from sections.
func wasm(sections ...[]byte) []byte {
	out := []byte("\x00asm\x01\x00\x00\x00")
	for _, s := range sections {
		out = append(out, s...)
	}
	return out
}

func section(id byte, body ...byte) []byte { return append([]byte{id, byte(len(body))}, body...) }

func str(s string) []byte { return append([]byte{byte(len(s))}, s...) }

func imports(pairs ...string) []byte {
	body := []byte{byte(len(pairs) / 2)}
	for i := 0; i < len(pairs); i += 2 {
		body = append(body, str(pairs[i])...)
		body = append(body, str(pairs[i+1])...)
		body = append(body, 0, 0) // function of type 0
	}
	return section(2, body...)
}

func exports(name string, kind byte) []byte {
	return section(7, append(append([]byte{1}, str(name)...), kind, 0)...)
}

var (
	program1 = wasm(imports("wasi_snapshot_preview1", "fd_write"), exports("_start", 0))
	moduleOK = map[string][]byte{
		"a program":           program1,
		"no imports":          wasm(exports("_start", 0)),
		"unknown sections":    wasm(section(0, 1, 'x', 9, 9), exports("_start", 0), section(10, 0)),
		"long section length": wasm([]byte{7, 0x8a, 0x00}, exports("_start", 0)[2:]),
	}
	moduleBad = map[string]struct {
		raw  []byte
		says string
	}{
		"empty":           {nil, "not a WebAssembly file"},
		"an ELF":          {[]byte("\x7fELF\x02\x01\x01\x00"), "GOOS=wasip1"},
		"a component":     {[]byte("\x00asm\x0d\x00\x01\x00"), "component"},
		"another version": {[]byte("\x00asm\x02\x00\x00\x00"), "version 2"},
		"foreign import":  {wasm(imports("env", "gl_draw", "wasi_snapshot_preview1", "fd_read"), exports("_start", 0)), "env.gl_draw"},
		"unstable wasi":   {wasm(imports("wasi_unstable", "fd_write"), exports("_start", 0)), "wasi_unstable.fd_write"},
		"unknown wasi":    {wasm(imports("wasi_snapshot_preview1", "sock_open"), exports("_start", 0)), "sock_open"},
		"imported memory": {wasm(section(2, append(append(append([]byte{1}, str("env")...), str("memory")...), 2, 1, 1, 2)...), exports("_start", 0)), "env.memory"},
		"a library":       {wasm(exports("add", 0)), "library"},
		"start no func":   {wasm(exports("_start", 2)), "library"},
		"cut short":       {program1[:len(program1)-3], "cut short"},
		"endless number":  {wasm([]byte{2, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff}), "damaged"},
		"huge section":    {wasm([]byte{2, 0xff, 0xff, 0xff, 0x7f}), "at most"},
	}
)

func TestCheckModule(t *testing.T) {
	path := filepath.Join(t.TempDir(), "m.wasm")
	for name, raw := range moduleOK {
		if err := os.WriteFile(path, raw, 0o600); err != nil {
			t.Fatal(err)
		}
		if runtime, err := checkModule(path); err != nil || runtime != manifest.RuntimeWasm {
			t.Errorf("%s: %q, %v", name, runtime, err)
		}
	}
	for name, tc := range moduleBad {
		if err := os.WriteFile(path, tc.raw, 0o600); err != nil {
			t.Fatal(err)
		}
		_, err := checkModule(path)
		if !errors.Is(err, ErrBadJob) || !strings.Contains(err.Error(), tc.says) {
			t.Errorf("%s: %v, want ErrBadJob that says %q", name, err, tc.says)
		}
	}
	var archive, packed bytes.Buffer
	must := func(err error) {
		if err != nil {
			t.Fatal(err)
		}
	}
	w := tar.NewWriter(&archive)
	must(w.WriteHeader(&tar.Header{Name: "index.json", Mode: 0o600}))
	must(w.Close())
	z := gzip.NewWriter(&packed)
	must(z.Close())
	for name, raw := range map[string][]byte{"a tar": archive.Bytes(), "a gzip": packed.Bytes()} {
		must(os.WriteFile(path, raw, 0o600))
		if runtime, err := checkModule(path); err != nil || runtime != manifest.RuntimeContainer {
			t.Errorf("%s: %q, %v", name, runtime, err)
		}
	}
	if _, err := checkModule(filepath.Join(t.TempDir(), "absent")); !errors.Is(err, ErrBadJob) || !errors.Is(err, os.ErrNotExist) {
		t.Errorf("absent file: %v", err)
	}
}

// FuzzModule: whatever the bytes, the reader ends, and says yes only to what has
// a start function and no foreign name in its imports.
func FuzzModule(f *testing.F) {
	for _, raw := range moduleOK {
		f.Add(raw)
	}
	for _, tc := range moduleBad {
		f.Add(tc.raw)
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		err := readModule(bufio.NewReader(bytes.NewReader(raw)))
		if err == nil && !bytes.Contains(raw, []byte("_start")) {
			t.Errorf("accepted without a start function: %x", raw)
		}
	})
}
