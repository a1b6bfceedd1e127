// Package pack writes container images as archives, in pure Go: for a runtime's
// probe, for tests, and for whoever has a static program and no image tools.
//
// The same content gives the same bytes: every time stamp is zero, or in Stream
// what it was in the file system that is packed. All but Stream hold everything in
// memory. It is not a builder: it runs nothing.
package pack

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"io"

	"github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/specs-go"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// File is an entry of a layer. A header without a type is a regular file with
// Content.
type File struct {
	Header  tar.Header
	Content []byte
}

// Executable is a program at a path.
func Executable(path string, content []byte) File {
	return File{Header: tar.Header{Name: path, Mode: 0o755}, Content: content}
}

// Dir is a folder.
func Dir(path string) File {
	return File{Header: tar.Header{Name: path, Mode: 0o755, Typeflag: tar.TypeDir}}
}

// Layer writes files as one layer.
func Layer(files ...File) ([]byte, error) {
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, f := range files {
		h := f.Header
		h.Size = int64(len(f.Content))
		if err := w.WriteHeader(&h); err != nil {
			return nil, err
		}
		if _, err := w.Write(f.Content); err != nil {
			return nil, err
		}
	}
	err := w.Close()
	return b.Bytes(), err
}

// Image is an image with its layers, lowest first, each a tar.
type Image struct {
	Architecture string
	Config       ocispec.ImageConfig
	Layers       [][]byte
}

func (i *Image) config() ([]byte, error) {
	var diffIDs []digest.Digest
	for _, l := range i.Layers {
		diffIDs = append(diffIDs, digest.FromBytes(l))
	}
	return json.Marshal(i.describe(diffIDs))
}

func (i *Image) describe(diffIDs []digest.Digest) ocispec.Image {
	return ocispec.Image{
		Platform: ocispec.Platform{OS: "linux", Architecture: i.Architecture}, Config: i.Config,
		RootFS: ocispec.RootFS{Type: "layers", DiffIDs: diffIDs},
	}
}

// OCI writes an OCI layout with compressed layers.
func OCI(to io.Writer, i Image) error {
	config, err := i.config()
	if err != nil {
		return err
	}
	w := tar.NewWriter(to)
	var layers []ocispec.Descriptor
	for _, l := range i.Layers {
		packed, err := Gzip(l)
		if err != nil {
			return err
		}
		d, err := addBlob(w, ocispec.MediaTypeImageLayerGzip, packed)
		if err != nil {
			return err
		}
		layers = append(layers, d)
	}
	return finish(w, i.Architecture, config, layers)
}

// finish writes what names the layers of an OCI layout, and the tar's end.
func finish(w *tar.Writer, architecture string, config []byte, layers []ocispec.Descriptor) error {
	m := ocispec.Manifest{Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: ocispec.MediaTypeImageManifest, Layers: layers}
	var err error
	if m.Config, err = addBlob(w, ocispec.MediaTypeImageConfig, config); err != nil {
		return err
	}
	manifest, err := json.Marshal(m)
	if err != nil {
		return err
	}
	d, err := addBlob(w, ocispec.MediaTypeImageManifest, manifest)
	if err != nil {
		return err
	}
	d.Platform = &ocispec.Platform{OS: "linux", Architecture: architecture}
	index, err := json.Marshal(ocispec.Index{Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: ocispec.MediaTypeImageIndex, Manifests: []ocispec.Descriptor{d}})
	if err != nil {
		return err
	}
	layout := []byte(`{"imageLayoutVersion":"` + ocispec.ImageLayoutVersion + `"}`)
	return errors.Join(add(w, ocispec.ImageLayoutFile, layout), add(w, ocispec.ImageIndexFile, index), w.Close())
}

func addBlob(w *tar.Writer, mediaType string, content []byte) (ocispec.Descriptor, error) {
	d := ocispec.Descriptor{MediaType: mediaType, Digest: digest.FromBytes(content), Size: int64(len(content))}
	return d, add(w, blobName(d.Digest), content)
}

func blobName(d digest.Digest) string { return "blobs/sha256/" + d.Encoded() }

// Docker writes what `docker save` does: plain layers and a manifest.json.
func Docker(to io.Writer, i Image) error {
	config, err := i.config()
	if err != nil {
		return err
	}
	type entry struct {
		Config   string
		RepoTags []string
		Layers   []string
	}
	sum := sha256.Sum256(config)
	e := entry{Config: hex.EncodeToString(sum[:]) + ".json"}
	w := tar.NewWriter(to)
	for _, l := range i.Layers {
		name := digest.FromBytes(l).Encoded() + "/layer.tar"
		if err := add(w, name, l); err != nil {
			return err
		}
		e.Layers = append(e.Layers, name)
	}
	manifest, err := json.Marshal([]entry{e})
	if err != nil {
		return err
	}
	return errors.Join(add(w, e.Config, config), add(w, "manifest.json", manifest), w.Close())
}

func add(w *tar.Writer, name string, content []byte) error {
	if err := w.WriteHeader(&tar.Header{Name: name, Mode: 0o644, Size: int64(len(content))}); err != nil {
		return err
	}
	_, err := w.Write(content)
	return err
}

// Gzip compresses.
func Gzip(content []byte) ([]byte, error) {
	var b bytes.Buffer
	z, err := gzip.NewWriterLevel(&b, gzip.BestSpeed)
	if err != nil {
		return nil, err
	}
	if _, err := z.Write(content); err != nil {
		return nil, err
	}
	err = z.Close()
	return b.Bytes(), err
}
