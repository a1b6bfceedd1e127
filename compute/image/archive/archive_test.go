package archive

import (
	"archive/tar"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/klauspost/compress/zstd"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/moyai-network/moyai/compute"
	"github.com/moyai-network/moyai/compute/image/pack"
)

var small = Limits{UnpackedBytes: 1 << 20, Entries: 50, Layers: 4}

// check reads an archive as a runtime does.
func check(t *testing.T, content []byte, limits Limits) (*Image, error) {
	t.Helper()
	dir := t.TempDir()
	path := filepath.Join(dir, "image")
	if err := os.WriteFile(path, content, 0o600); err != nil {
		t.Fatal(err)
	}
	scratch := filepath.Join(dir, "scratch")
	if err := os.Mkdir(scratch, 0o700); err != nil {
		t.Fatal(err)
	}
	defer func() {
		if left, _ := os.ReadDir(scratch); len(left) > 0 {
			t.Errorf("left in scratch: %v", left)
		}
	}()
	a, err := Open(context.Background(), path, scratch, limits)
	if err != nil {
		return nil, err
	}
	defer a.Close()
	img, err := a.Image("amd64")
	if err != nil {
		return nil, err
	}
	if err := a.Verify(context.Background(), img); err != nil {
		return nil, err
	}
	for _, l := range img.Layers {
		if got, err := digest.FromReader(l.Open()); err != nil || got != l.Digest {
			t.Errorf("layer is %s, called %s (%v)", got, l.Digest, err)
		}
	}
	return img, nil
}

func layer(t *testing.T, files ...pack.File) []byte {
	t.Helper()
	b, err := pack.Layer(files...)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func file(name, content string) pack.File { return pack.Executable(name, []byte(content)) }

func docker(t *testing.T, layers ...[]byte) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := pack.Docker(&b, pack.Image{Architecture: "amd64", Config: ocispec.ImageConfig{Cmd: []string{"/a"}}, Layers: layers}); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func oci(t *testing.T, layers ...[]byte) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := pack.OCI(&b, pack.Image{Architecture: "amd64", Config: ocispec.ImageConfig{Cmd: []string{"/a"}}, Layers: layers}); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func zipped(t *testing.T, b []byte) []byte {
	t.Helper()
	z, err := pack.Gzip(b)
	if err != nil {
		t.Fatal(err)
	}
	return z
}

func TestFormats(t *testing.T) {
	lower, upper := layer(t, file("etc/passwd", "old"), file("etc/group", "g")), layer(t, file("./etc/passwd", "app:x:7:8::/:\n"))
	z, err := zstd.NewWriter(nil)
	if err != nil {
		t.Fatal(err)
	}
	for name, content := range map[string][]byte{
		"docker":         docker(t, lower, upper),
		"oci":            oci(t, lower, upper),
		"docker, gzip":   zipped(t, docker(t, lower, upper)),
		"oci, zstd":      z.EncodeAll(oci(t, lower, upper), nil),
		"layer, zstd":    rewrite(t, docker(t, lower, upper), func(n string, b []byte) []byte { return z.EncodeAll(b, nil) }, ".tar"),
		"layer, gzip":    rewrite(t, docker(t, lower, upper), func(n string, b []byte) []byte { return zipped(t, b) }, ".tar"),
		"oci in folders": rewrite(t, oci(t, lower, upper), func(n string, b []byte) []byte { return b }, ""),
	} {
		t.Run(name, func(t *testing.T) {
			img, err := check(t, content, small)
			if err != nil {
				t.Fatal(err)
			}
			if string(img.Passwd) != "app:x:7:8::/:\n" || string(img.Group) != "g" {
				t.Errorf("users %q, groups %q", img.Passwd, img.Group)
			}
			if len(img.Layers) != 2 || img.Unpacked != int64(len(lower)+len(upper)) {
				t.Errorf("%d layers of %d bytes", len(img.Layers), img.Unpacked)
			}
		})
	}
}

// rewrite changes the parts of an archive whose names end so.
func rewrite(t *testing.T, archive []byte, change func(name string, content []byte) []byte, suffix string) []byte {
	t.Helper()
	var out bytes.Buffer
	r, w := tar.NewReader(bytes.NewReader(archive)), tar.NewWriter(&out)
	for {
		h, err := r.Next()
		if err != nil {
			break
		}
		var b bytes.Buffer
		if _, err := b.ReadFrom(r); err != nil {
			t.Fatal(err)
		}
		content := b.Bytes()
		if strings.HasSuffix(h.Name, suffix) {
			content = change(h.Name, content)
		}
		if suffix == "" {
			h.Name = "./" + h.Name
		}
		h.Size = int64(len(content))
		if err := w.WriteHeader(h); err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write(content); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

func header(name string, kind byte, link string) pack.File {
	return pack.File{Header: tar.Header{Name: name, Typeflag: kind, Linkname: link, Mode: 0o644}}
}

// TestHostile: each is refused as the tenant's fault, with words that say why.
func TestHostile(t *testing.T) {
	one := layer(t, file("a", "aaaa"))
	other := layer(t, file("a", "bbbb")) // of the same size
	zeros := bytes.Repeat([]byte{0}, 8<<20)
	many := make([]pack.File, 60)
	for i := range many {
		many[i] = header(strings.Repeat("x", i+1), tar.TypeReg, "")
	}
	bomb := layer(t, pack.Executable("bomb", zeros))
	flip := func(suffix string) []byte {
		return rewrite(t, oci(t, one), func(_ string, b []byte) []byte {
			b = bytes.Clone(b)
			b[len(b)/2] ^= 1
			return b
		}, suffix)
	}
	cut := oci(t, one)
	for _, tc := range []struct {
		name    string
		content []byte
		want    string
	}{
		{"docker: the layer lies", rewrite(t, docker(t, one), func(string, []byte) []byte { return other }, "layer.tar"), "the archive was changed"},
		{"docker: the configuration lies", rewrite(t, docker(t, one), func(n string, b []byte) []byte {
			if n == "manifest.json" {
				return b
			}
			return bytes.Replace(b, []byte("/a"), []byte("/b"), 1)
		}, ".json"), "not what its digest"},
		{"oci: the layer lies", swap(t, oci(t, one), zipped(t, one), zipped(t, other)), "the archive was changed"},
		{"oci: a bit flipped somewhere", flip(hexOf(zipped(t, one))), ""},
		{"oci: a blob is missing", without(t, oci(t, one), hexOf(zipped(t, one))), "lacks"},
		{"oci: index is no JSON", rewrite(t, oci(t, one), func(string, []byte) []byte { return []byte("{") }, "index.json"), "index is not valid"},
		{"oci: digest that climbs", rewrite(t, oci(t, one), func(_ string, b []byte) []byte {
			return bytes.Replace(b, []byte("sha256:"), []byte("sha256:../../"), 1)
		}, "index.json"), "not a SHA-256"},
		{"docker: layer that climbs", rewrite(t, docker(t, one), func(_ string, b []byte) []byte {
			return bytes.Replace(b, []byte(`"Layers":["`), []byte(`"Layers":["../../../etc/passwd","`), 1)
		}, "manifest.json"), "2 layers, but"},
		{"docker: two images", rewrite(t, docker(t, one), func(_ string, b []byte) []byte {
			return []byte(strings.TrimSuffix(string(b), "]") + "," + string(b[1:]))
		}, "manifest.json"), "holds 2 images"},
		{"name that climbs", docker(t, layer(t, file("../../etc/cron.d/x", "x"))), "leads out"},
		{"name that climbs within", docker(t, layer(t, file("a/../../x", "x"))), "leads out"},
		{"hard link that climbs", docker(t, layer(t, header("x", tar.TypeLink, "../../etc/shadow"))), "leads out"},
		{"too many files", docker(t, layer(t, many...)), "more than 50 files"},
		{"too many layers", docker(t, one, one, one, one, one), "5 layers, at most 4"},
		{"no layers", docker(t), "no layers"},
		{"layer bomb", oci(t, bomb), "unpacks to more than"},
		{"archive bomb", zipped(t, docker(t, bomb)), "unpacks to more than"},
		{"bomb after the end", oci(t, append(bytes.Clone(one), zeros...)), "unpacks to more than"},
		{"sparse bomb", docker(t, sparse(t)), "unpacks to more than"},
		{"cut short", docker(t, layer(t, pack.Executable("a", zeros[:4096])))[:2000], "cut short"},
		{"gzip cut short", func() []byte { z := zipped(t, cut); return z[:len(z)/2] }(), "cut short"},
		{"layer cut short", docker(t, layer(t, pack.Executable("a", zeros[:4096]))[:1000]), "damaged or cut short"},
		{"gzip of nothing", zipped(t, nil), "empty"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			_, err := check(t, tc.content, small)
			if !errors.Is(err, compute.ErrBadProgram) || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("got %v, want %q", err, tc.want)
			}
		})
	}
}

func hexOf(b []byte) string { return digest.FromBytes(b).Encoded() }

// swap replaces a blob's content, leaving its name.
func swap(t *testing.T, archive, old, fresh []byte) []byte {
	return rewrite(t, archive, func(string, []byte) []byte { return fresh }, hexOf(old))
}

func without(t *testing.T, archive []byte, suffix string) []byte {
	t.Helper()
	var out bytes.Buffer
	r, w := tar.NewReader(bytes.NewReader(archive)), tar.NewWriter(&out)
	for {
		h, err := r.Next()
		if err != nil {
			break
		}
		if strings.HasSuffix(h.Name, suffix) {
			continue
		}
		if err := w.WriteHeader(h); err != nil {
			t.Fatal(err)
		}
		if _, err := io.Copy(w, r); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

// sparse is a layer of a few hundred bytes that says it holds files of 600 KiB:
// none is over the limit, all together are.
func sparse(t *testing.T) []byte {
	t.Helper()
	var out bytes.Buffer
	for _, name := range []string{"a", "b", "c"} {
		out.Write(gnuSparse(name, 600<<10))
	}
	out.Write(make([]byte, 1024))
	return out.Bytes()
}

// gnuSparse is an old GNU header of a file that is one hole: archive/tar reads
// such, and writes none.
func gnuSparse(name string, size int64) []byte {
	b := make([]byte, 512)
	copy(b, name)
	copy(b[100:], "0000644\x00")
	copy(b[108:], "0000000\x00")
	copy(b[116:], "0000000\x00")
	octal(b[124:136], 0) // stored
	octal(b[136:148], 0)
	b[156] = 'S'
	copy(b[257:], "ustar  \x00")
	octal(b[386:398], size) // one entry: nothing at its end
	octal(b[398:410], 0)
	octal(b[483:495], size) // real
	copy(b[148:156], "        ")
	var sum int64
	for _, c := range b {
		sum += int64(c)
	}
	octal(b[148:155], sum)
	return b
}

func octal(b []byte, n int64) {
	for i := len(b) - 2; i >= 0; i-- {
		b[i] = byte('0' + n&7)
		n >>= 3
	}
	b[len(b)-1] = 0
}

// TestPlatforms: of an index with several images, the one for this machine.
func TestPlatforms(t *testing.T) {
	var b bytes.Buffer
	if err := pack.OCI(&b, pack.Image{Architecture: "riscv64", Config: ocispec.ImageConfig{Cmd: []string{"/a"}}, Layers: [][]byte{layer(t, file("a", "a"))}}); err != nil {
		t.Fatal(err)
	}
	_, err := check(t, b.Bytes(), small)
	if !errors.Is(err, compute.ErrBadProgram) || !strings.Contains(err.Error(), "the image is for riscv64, this machine is amd64") {
		t.Errorf("got %v", err)
	}
	// The index promises one platform and the configuration says another.
	lying := rewrite(t, b.Bytes(), func(_ string, b []byte) []byte {
		return bytes.Replace(b, []byte("riscv64"), []byte("amd64"), 1)
	}, "index.json")
	if _, err := check(t, lying, small); !errors.Is(err, compute.ErrBadProgram) || !strings.Contains(err.Error(), "riscv64") {
		t.Errorf("got %v", err)
	}
}

// TestNested follows an index within an index, and not for ever.
func TestNested(t *testing.T) {
	whole := oci(t, layer(t, file("a", "a")))
	wrap := func(archive []byte) []byte {
		var inner []byte
		rewrite(t, archive, func(_ string, b []byte) []byte { inner = bytes.Clone(b); return b }, "index.json")
		outer, err := json.Marshal(ocispec.Index{Manifests: []ocispec.Descriptor{{MediaType: ocispec.MediaTypeImageIndex, Digest: digest.FromBytes(inner), Size: int64(len(inner))}}})
		if err != nil {
			t.Fatal(err)
		}
		renamed := bytes.Buffer{}
		w := tar.NewWriter(&renamed)
		if err := w.WriteHeader(&tar.Header{Name: "blobs/sha256/" + hexOf(inner), Size: int64(len(inner)), Mode: 0o644}); err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write(inner); err != nil {
			t.Fatal(err)
		}
		if err := w.Flush(); err != nil {
			t.Fatal(err)
		}
		renamed.Write(rewrite(t, archive, func(string, []byte) []byte { return outer }, "index.json"))
		return renamed.Bytes()
	}
	nested := wrap(whole)
	if _, err := check(t, nested, small); err != nil {
		t.Errorf("one level: %v", err)
	}
	for range 5 {
		nested = wrap(nested)
	}
	if _, err := check(t, nested, small); !errors.Is(err, compute.ErrBadProgram) {
		t.Errorf("six levels: %v", err)
	}
}

// FuzzOpen: whatever the bytes, an answer and no panic; what is accepted holds
// the limits.
func FuzzOpen(f *testing.F) {
	l, err := pack.Layer(file("a", "a"))
	if err != nil {
		f.Fatal(err)
	}
	for _, format := range []func(*bytes.Buffer, pack.Image) error{
		func(b *bytes.Buffer, i pack.Image) error { return pack.OCI(b, i) },
		func(b *bytes.Buffer, i pack.Image) error { return pack.Docker(b, i) },
	} {
		var b bytes.Buffer
		if err := format(&b, pack.Image{Architecture: "amd64", Layers: [][]byte{l}}); err != nil {
			f.Fatal(err)
		}
		f.Add(b.Bytes())
	}
	f.Fuzz(func(t *testing.T, content []byte) {
		img, err := check(t, content, small)
		if err != nil {
			if !errors.Is(err, compute.ErrBadProgram) {
				t.Errorf("the machine is blamed: %v", err)
			}
			return
		}
		if img.Unpacked > small.UnpackedBytes || len(img.Layers) > small.Layers {
			t.Errorf("over the limits: %+v", img)
		}
	})
}
