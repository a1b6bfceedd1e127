package archive

import (
	"archive/tar"
	"bytes"
	"strings"
	"testing"
	"time"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/moyai-network/moyai/compute/image/pack"
)

// TestStreamed: an image whose layer was streamed is one like any other, and the
// time at which it was made is not in it.
func TestStreamed(t *testing.T) {
	epoch := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	build := func(made time.Time) []byte {
		var layer, out bytes.Buffer
		w := tar.NewWriter(&layer)
		for _, h := range []tar.Header{
			{Name: "etc/", Typeflag: tar.TypeDir, Mode: 0o755, ModTime: made},
			{Name: "etc/passwd", Mode: 0o644, Size: 5, ModTime: epoch.Add(-time.Hour), AccessTime: made, ChangeTime: made, Format: tar.FormatPAX},
			{Name: "./etc/shadow", Mode: 0o600, Size: 1 << 20, ModTime: made},
			{Name: "etc/made", Typeflag: tar.TypeSymlink, Linkname: "passwd", ModTime: made},
		} {
			if err := w.WriteHeader(&h); err != nil {
				t.Fatal(err)
			}
			if _, err := w.Write([]byte(strings.Repeat("x", int(h.Size)))); err != nil {
				t.Fatal(err)
			}
		}
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
		image := pack.Image{Architecture: "amd64", Config: ocispec.ImageConfig{Cmd: []string{"/bin/sh"}}}
		tree := pack.Tree{Tar: &layer, Epoch: epoch, Skip: func(path string) bool { return path == "/etc/shadow" }}
		if err := pack.Stream(&out, tree, image, t.TempDir()); err != nil {
			t.Fatal(err)
		}
		return out.Bytes()
	}
	once := build(epoch.Add(24 * time.Hour))
	img, err := check(t, once, small)
	if err != nil {
		t.Fatal(err)
	}
	if len(img.Layers) != 1 || string(img.Passwd) != "xxxxx" || img.Layers[0].MediaType != ocispec.MediaTypeImageLayerZstd {
		t.Errorf("read back as %+v", img)
	}
	if img.Unpacked > 1<<20 {
		t.Errorf("%d bytes: what was to be left out is there", img.Unpacked)
	}
	if !bytes.Equal(once, build(epoch.Add(48*time.Hour))) {
		t.Error("the same content gave different bytes on another day")
	}
	var cut bytes.Buffer
	if err := pack.Stream(&cut, pack.Tree{Tar: strings.NewReader("no tar")}, pack.Image{}, t.TempDir()); err == nil {
		t.Error("bytes that are no tar were packed")
	}
}
