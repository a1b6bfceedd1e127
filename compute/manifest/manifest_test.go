package manifest

import (
	"bytes"
	"encoding/hex"
	"errors"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/moyai-network/moyai/compute/egress"
	"github.com/moyai-network/moyai/wire/canonical"
)

func cid(codec, fill byte) []byte {
	return append([]byte{0x01, codec, 0x12, 0x20}, bytes.Repeat([]byte{fill}, 32)...)
}

func sample() Manifest {
	return Manifest{
		Version:     Version1,
		Runtime:     RuntimeContainer,
		Module:      cid(0x70, 1),
		ModuleBytes: 2_800_000,
		Args:        []string{"--flag", "/in/data", ""},
		Env:         []Var{{Key: "A", Value: "1"}, {Key: "LANG", Value: "日本語 =x"}},
		Inputs: []Input{
			{Name: ".config", CID: cid(0x55, 2), Bytes: 0},
			{Name: "data", CID: cid(0x70, 3), Bytes: 200 << 20},
		},
		MemoryBytes:    512 << 20,
		OutputBytesMax: 1 << 30,
		LogBytesMax:    16 << 20,
		TaskTimeoutMS:  600_000,
		Array:          true,
		Egress:         Egress{Rules: []string{"*.debian.org", "pypi.org:443"}, Bytes: 1 << 30},
		Volumes:        []Volume{{Name: "db-1", Path: "/var/lib/db", Bytes: 1 << 30, KeepMS: 86_400_000}, {Name: "w", Path: "/w", Bytes: 1}},
		Secrets:        []string{"TOKEN", "Z"},
		ShmBytes:       64 << 20,
		GPUs:           2,
		KeepResultsMS:  3_600_000,
	}
}

// pulled is sample with an image in place of its module.
func pulled() Manifest {
	m := sample()
	m.Runtime, m.Module = RuntimeContainer, nil
	m.Image = Image{Reference: "index.docker.io/library/python:3.12", Digest: bytes.Repeat([]byte{7}, 32), Platform: "linux/amd64"}
	m.Secrets = []string{RegistrySecret, "TOKEN"}
	return m
}

func TestImage(t *testing.T) {
	for _, change := range []func(*Image){func(*Image) {}, func(i *Image) { i.Digest = nil }, func(i *Image) { i.Platform = "" },
		func(i *Image) { i.Reference = "127.0.0.1:5000/a/b:latest" }} {
		m := pulled()
		change(&m.Image)
		b, err := Encode(m)
		if err != nil {
			t.Fatal(err)
		}
		again, err := Decode(b)
		if err != nil || again.Image.Reference != m.Image.Reference || !bytes.Equal(again.Image.Digest, m.Image.Digest) {
			t.Errorf("%+v became %+v (%v)", m.Image, again.Image, err)
		}
	}
}

func TestRoundTrip(t *testing.T) {
	b, err := Encode(sample())
	if err != nil {
		t.Fatal(err)
	}
	m, err := Decode(b)
	if err != nil {
		t.Fatal(err)
	}
	again, err := Encode(m)
	if err != nil || !bytes.Equal(again, b) {
		t.Errorf("encoded again %x (%v), want %x", again, err, b)
	}
	if got := m.InputBytes(); got != 200<<20 {
		t.Errorf("inputs of %d bytes", got)
	}
	if got := strings.Join(m.Environ(), "|"); got != "A=1|LANG=日本語 =x" {
		t.Errorf("environment %q", got)
	}
}

// TestGolden pins the bytes that spec hashes depend on. UPDATE=1 writes the
// file anew; a change here changes the protocol.
func TestGolden(t *testing.T) {
	const path = "../../docs/spec/vectors/manifest.hex"
	b, err := Encode(sample())
	if err != nil {
		t.Fatal(err)
	}
	hash := SpecHash(b)
	got := hex.EncodeToString(b) + "\n" + hex.EncodeToString(hash[:]) + "\n"
	if os.Getenv("UPDATE") != "" {
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("manifest and spec hash\n%swant\n%s", got, want)
	}
}

func TestSort(t *testing.T) {
	m := sample()
	m.Env[0], m.Env[1] = m.Env[1], m.Env[0]
	m.Inputs[0], m.Inputs[1] = m.Inputs[1], m.Inputs[0]
	if err := m.Validate(); !errors.Is(err, ErrInvalid) {
		t.Errorf("unsorted: %v", err)
	}
	m.Sort()
	if err := m.Validate(); err != nil {
		t.Errorf("sorted: %v", err)
	}
}

var refused = []struct {
	why    string
	change func(*Manifest)
}{
	{"version 2", func(m *Manifest) { m.Version = 2 }},
	{"no runtime", func(m *Manifest) { m.Runtime = "" }},
	{"runtime with a slash", func(m *Manifest) { m.Runtime = "../wasm" }},
	{"runtime beginning with a digit", func(m *Manifest) { m.Runtime = "9wasm" }},
	{"runtime of 33 bytes", func(m *Manifest) { m.Runtime = strings.Repeat("w", 33) }},
	{"no module", func(m *Manifest) { m.Module = nil }},
	{"module cid of version 0", func(m *Manifest) { m.Module = m.Module[2:] }},
	{"module cid with another codec", func(m *Manifest) { m.Module = cid(0x71, 1) }},
	{"module cid with an identity hash", func(m *Manifest) { m.Module[2] = 0 }},
	{"module of no bytes", func(m *Manifest) { m.ModuleBytes = 0 }},
	{"module of 2^50+1 bytes", func(m *Manifest) { m.ModuleBytes = MaxContent + 1 }},
	{"257 arguments", func(m *Manifest) { m.Args = make([]string, 257) }},
	{"an argument of 8 KiB and a byte", func(m *Manifest) { m.Args = []string{strings.Repeat("a", MaxArg+1)} }},
	{"an argument with a zero byte", func(m *Manifest) { m.Args = []string{"a\x00b"} }},
	{"an argument that is not utf-8", func(m *Manifest) { m.Args = []string{"\xff"} }},
	{"too much in all", func(m *Manifest) {
		m.Args = nil
		for range 4 {
			m.Args = append(m.Args, strings.Repeat("a", MaxArg))
		}
	}},
	{"257 variables", func(m *Manifest) { m.Env = make([]Var, 257) }},
	{"variable without a name", func(m *Manifest) { m.Env = []Var{{}} }},
	{"variable with '=' in its name", func(m *Manifest) { m.Env = []Var{{Key: "A=B"}} }},
	{"variable beginning with a digit", func(m *Manifest) { m.Env = []Var{{Key: "1A"}} }},
	{"variable name of 129 bytes", func(m *Manifest) { m.Env = []Var{{Key: strings.Repeat("A", 129)}} }},
	{"variable of the network", func(m *Manifest) { m.Env = []Var{{Key: "MOYAI_INDEX", Value: "0"}} }},
	{"variable with a zero byte", func(m *Manifest) { m.Env = []Var{{Key: "A", Value: "\x00"}} }},
	{"variable of 8 KiB and a byte", func(m *Manifest) { m.Env = []Var{{Key: "A", Value: strings.Repeat("v", MaxEnvValue+1)}} }},
	{"a variable twice", func(m *Manifest) { m.Env[1].Key = "A" }},
	{"129 inputs", func(m *Manifest) { m.Inputs = make([]Input, 129) }},
	{"input without a name", func(m *Manifest) { m.Inputs[0].Name = "" }},
	{"input named .", func(m *Manifest) { m.Inputs[0].Name = "." }},
	{"input named ..", func(m *Manifest) { m.Inputs[0].Name = ".." }},
	{"input named ...", func(m *Manifest) { m.Inputs[0].Name = "..." }},
	{"input with a slash", func(m *Manifest) { m.Inputs[1].Name = "data/../../etc" }},
	{"input with a backslash", func(m *Manifest) { m.Inputs[1].Name = `data\x` }},
	{"input with a zero byte", func(m *Manifest) { m.Inputs[1].Name = "data\x00" }},
	{"input with a line break", func(m *Manifest) { m.Inputs[1].Name = "data\n" }},
	{"input with a mark that turns text around", func(m *Manifest) { m.Inputs[1].Name = "data\u202e" }},
	{"input name that is not utf-8", func(m *Manifest) { m.Inputs[1].Name = "data\xff" }},
	{"input name of 129 bytes", func(m *Manifest) { m.Inputs[1].Name = strings.Repeat("d", 129) }},
	{"an input twice", func(m *Manifest) { m.Inputs[1].Name = ".config" }},
	{"input without a cid", func(m *Manifest) { m.Inputs[0].CID = nil }},
	{"input of 2^50+1 bytes", func(m *Manifest) { m.Inputs[0].Bytes = MaxContent + 1 }},
	{"no memory", func(m *Manifest) { m.MemoryBytes = 0 }},
	{"too much memory", func(m *Manifest) { m.MemoryBytes = MaxMemory + 1 }},
	{"no output", func(m *Manifest) { m.OutputBytesMax = 0 }},
	{"too much output", func(m *Manifest) { m.OutputBytesMax = 1<<64 - 1 }},
	{"no logs", func(m *Manifest) { m.LogBytesMax = 0 }},
	{"no time", func(m *Manifest) { m.TaskTimeoutMS = 0 }},
	{"a module and an image", func(m *Manifest) { *m = pulled(); m.Module = cid(0x70, 1) }},
	{"an image for wasm", func(m *Manifest) { *m = pulled(); m.Runtime = RuntimeWasm }},
	{"an image without a tag", func(m *Manifest) { *m = pulled(); m.Image.Reference = "localhost:5000/a" }},
	{"an image without a host", func(m *Manifest) { *m = pulled(); m.Image.Reference = "python:3.12" }},
	{"an image with a digest in its name", func(m *Manifest) { *m = pulled(); m.Image.Reference = "h/a:1@sha256:00" }},
	{"an image with a space", func(m *Manifest) { *m = pulled(); m.Image.Reference = "h/a :1" }},
	{"an image with half a digest", func(m *Manifest) { *m = pulled(); m.Image.Digest = m.Image.Digest[:16] }},
	{"an image for another system", func(m *Manifest) { *m = pulled(); m.Image.Platform = "windows/amd64" }},
	{"a digest of no image", func(m *Manifest) { m.Image.Digest = make([]byte, 32) }},
	{"9 volumes", func(m *Manifest) { m.Volumes = make([]Volume, 9) }},
	{"volume without a name", func(m *Manifest) { m.Volumes[0].Name = "" }},
	{"volume that leads out", func(m *Manifest) { m.Volumes[0].Name = "../x" }},
	{"volume on the root", func(m *Manifest) { m.Volumes[0].Path = "/" }},
	{"volume at a relative path", func(m *Manifest) { m.Volumes[0].Path = "data" }},
	{"volume over /proc", func(m *Manifest) { m.Volumes[0].Path = "/proc/self" }},
	{"volume over /out", func(m *Manifest) { m.Volumes[0].Path = "/out" }},
	{"volume at a path with ..", func(m *Manifest) { m.Volumes[0].Path = "/a/../etc" }},
	{"volume of no size", func(m *Manifest) { m.Volumes[0].Bytes = 0 }},
	{"volume of 2^50+1 bytes", func(m *Manifest) { m.Volumes[0].Bytes = MaxContent + 1 }},
	{"volume kept for ever", func(m *Manifest) { m.Volumes[0].KeepMS = 1<<64 - 1 }},
	{"a volume twice", func(m *Manifest) { m.Volumes[0].Name = "w" }},
	{"two volumes in one place", func(m *Manifest) { m.Volumes[0].Path = "/w" }},
	{"65 secrets", func(m *Manifest) { m.Secrets = make([]string, 65) }},
	{"secret with '='", func(m *Manifest) { m.Secrets = []string{"A=b"} }},
	{"secret of the network", func(m *Manifest) { m.Secrets = []string{"MOYAI_INDEX"} }},
	{"credentials without a registry", func(m *Manifest) { m.Secrets = []string{RegistrySecret} }},
	{"a secret twice", func(m *Manifest) { m.Secrets = []string{"A1", "A1"} }},
	{"a secret in the environment", func(m *Manifest) { m.Secrets = []string{"LANG"} }},
	{"too many gpus", func(m *Manifest) { m.GPUs = MaxGPUs + 1 }},
	{"results kept for ever", func(m *Manifest) { m.KeepResultsMS = MaxTimeoutMS + 1 }},
	{"more shared memory than memory", func(m *Manifest) { m.ShmBytes = m.MemoryBytes + 1 }},
	{"more than a year", func(m *Manifest) { m.TaskTimeoutMS = MaxTimeoutMS + 1 }},
	{"65 egress rules", func(m *Manifest) { m.Egress.Rules = slices.Repeat([]string{"a.b"}, 65) }},
	{"an egress rule that is none", func(m *Manifest) { m.Egress.Rules = []string{"localhost"} }},
	{"two egress rules in one", func(m *Manifest) { m.Egress.Rules = []string{"a.b,c.d"} }},
	{"an egress rule written otherwise", func(m *Manifest) { m.Egress.Rules = []string{"a.b:80+443"} }},
	{"egress to a home", func(m *Manifest) { m.Egress.Rules = []string{"192.168.1.0/24"} }},
	{"an egress rule twice", func(m *Manifest) { m.Egress.Rules = []string{"a.b", "a.b"} }},
	{"egress of nothing", func(m *Manifest) { m.Egress.Bytes = 0 }},
	{"egress of too much", func(m *Manifest) { m.Egress.Bytes = MaxContent + 1 }},
	{"egress to nowhere", func(m *Manifest) { m.Egress.Rules = nil }},
	{"long egress rules", func(m *Manifest) {
		m.Egress.Rules = nil
		for i := range 17 {
			m.Egress.Rules = append(m.Egress.Rules, string(rune('a'+i))+strings.Repeat("."+strings.Repeat("x", 61), 4)+".org")
		}
	}},
	{"egress of a WebAssembly program", func(m *Manifest) { m.Runtime = RuntimeWasm }},
}

func TestRefused(t *testing.T) {
	for _, c := range refused {
		t.Run(c.why, func(t *testing.T) {
			m := sample()
			c.change(&m)
			if _, err := Encode(m); !errors.Is(err, ErrInvalid) {
				t.Errorf("encode: %v", err)
			}
			b, err := canonical.Marshal(&m)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := Decode(b); err == nil {
				t.Error("decoded")
			}
		})
	}
}

func TestTooLarge(t *testing.T) {
	if _, err := Decode(make([]byte, MaxBytes+1)); !errors.Is(err, canonical.ErrTooLarge) {
		t.Errorf("got %v", err)
	}
	// The most of everything fits: no valid manifest is refused for its size.
	m := sample()
	m.Args, m.Env, m.Inputs = make([]string, MaxArgs), nil, nil
	m.Args[0], m.Args[1], m.Args[2] = strings.Repeat("a", MaxArg), strings.Repeat("a", MaxArg), strings.Repeat("a", MaxArg)
	for i := range MaxEnv {
		m.Env = append(m.Env, Var{Key: string([]byte{'A' + byte(i/16), 'A' + byte(i%16)}), Value: "123456789012345678901234567"})
	}
	for i := range MaxInputs {
		name := string([]byte{'a' + byte(i/16), 'a' + byte(i%16)}) + strings.Repeat("n", MaxInputName-2)
		m.Inputs = append(m.Inputs, Input{Name: name, CID: cid(0x55, byte(i)), Bytes: MaxContent})
	}
	m.Egress.Rules = nil
	for i := range egress.MaxRules {
		m.Egress.Rules = append(m.Egress.Rules, string([]byte{'a' + byte(i/16), 'a' + byte(i%16)})+strings.Repeat("x", 58)+".org")
	}
	m.Volumes, m.Secrets = nil, nil
	for i := range MaxVolumes {
		name := string([]byte{'a' + byte(i)}) + strings.Repeat("n", MaxInputName-1)
		m.Volumes = append(m.Volumes, Volume{Name: name, Path: "/" + name + strings.Repeat("p", MaxPath-MaxInputName-1), Bytes: MaxContent, KeepMS: MaxTimeoutMS})
	}
	for i := range MaxSecrets { // they count with arguments and environment
		m.Secrets = append(m.Secrets, string([]byte{'a' + byte(i/16), 'a' + byte(i%16)}))
	}
	for i := range 8 {
		m.Env[i].Value = m.Env[i].Value[16:]
	}
	b, err := Encode(m)
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("largest manifest: %d of %d bytes", len(b), MaxBytes)
}

func FuzzDecode(f *testing.F) {
	good, err := Encode(sample())
	if err != nil {
		f.Fatal(err)
	}
	f.Add(good)
	f.Add(good[:len(good)-1])
	f.Add(append(bytes.Clone(good), 0))
	f.Add([]byte{0xa0})
	for _, c := range refused {
		m := sample()
		c.change(&m)
		if b, err := canonical.Marshal(&m); err == nil && len(b) < 4096 {
			f.Add(b)
		}
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		m, err := Decode(b)
		if err != nil {
			return
		}
		again, err := Encode(m)
		if err != nil || !bytes.Equal(again, b) {
			t.Errorf("%x was accepted, its own form is %x (%v)", b, again, err)
		}
	})
}
