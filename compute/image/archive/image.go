package archive

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"io"
	"path"
	"strings"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// Image is one image of an archive.
type Image struct {
	Config ocispec.ImageConfig
	Layers []Layer // lowest first
	// Passwd and Group are the image's own user database, as the topmost layer
	// that has it; empty if none does. Filled in by Verify.
	Passwd, Group []byte
	// Unpacked is the size of all layers. Filled in by Verify.
	Unpacked int64
}

// Layer is one layer.
type Layer struct {
	Digest digest.Digest // of the bytes in the archive
	DiffID digest.Digest // of the bytes they unpack to
	Size   int64
	// MediaType is filled in by Verify from what the bytes are, and Plain with how many
	// they unpack to.
	MediaType string
	Plain     int64

	name    string // of the part
	content *io.SectionReader
}

// Unpack returns what the layer's bytes unpack to: a tar. Errors are those of a
// damaged layer; there are none once it was verified, but the disk's.
func (l *Layer) Unpack() (io.ReadCloser, error) {
	plain, _, err := decompress(l.Open())
	return plain, err
}

// Open returns the layer's bytes from their beginning.
func (l *Layer) Open() *io.SectionReader { return io.NewSectionReader(l.content, 0, l.content.Size()) }

const (
	maxManifests = 1000 // in one index
	maxNesting   = 3    // of indexes
)

// Image finds the image for Linux on the given architecture.
//
// Errors: compute.ErrBadProgram, compute.ErrUnavailable.
func (a *Archive) Image(architecture string) (*Image, error) {
	switch {
	case a.has("index.json"):
		return a.fromLayout(architecture)
	case a.has("manifest.json"):
		return a.fromDocker(architecture)
	}
	return nil, bad("not an image: the archive has neither index.json (an OCI layout) nor manifest.json (a docker archive)")
}

func (a *Archive) fromLayout(architecture string) (*Image, error) {
	b, err := a.document("index.json")
	if err != nil {
		return nil, err
	}
	var others []string
	m, err := a.manifest(b, architecture, &others, 0)
	if err != nil {
		return nil, err
	}
	if m == nil {
		return nil, wrongPlatform(others, architecture)
	}
	b, err = a.blob(m.Config.Digest)
	if err != nil {
		return nil, err
	}
	var layers []Layer
	for _, d := range m.Layers {
		if err := validDigest(d.Digest); err != nil {
			return nil, err
		}
		layers = append(layers, Layer{Digest: d.Digest, name: blobName(d.Digest)})
	}
	return a.image(b, layers, architecture)
}

// manifest walks an index for the first manifest of this platform. It returns
// nil if there is none, having added those it met to others.
func (a *Archive) manifest(index []byte, architecture string, others *[]string, depth int) (*ocispec.Manifest, error) {
	var idx ocispec.Index
	if err := json.Unmarshal(index, &idx); err != nil {
		return nil, bad("the image's index is not valid: %v", err)
	}
	if depth > maxNesting || len(idx.Manifests) > maxManifests {
		return nil, bad("the image's index is nested too deep or has too many manifests")
	}
	for _, d := range idx.Manifests {
		if p := d.Platform; p != nil && (p.OS != "linux" || p.Architecture != architecture) {
			if p.OS != "unknown" { // an attestation
				*others = append(*others, p.OS+"/"+p.Architecture)
			}
			continue
		}
		b, err := a.blob(d.Digest)
		if err != nil {
			return nil, err
		}
		var kind struct{ Manifests json.RawMessage }
		if json.Unmarshal(b, &kind) == nil && kind.Manifests != nil {
			m, err := a.manifest(b, architecture, others, depth+1)
			if m != nil || err != nil {
				return m, err
			}
			continue
		}
		var m ocispec.Manifest
		if err := json.Unmarshal(b, &m); err != nil {
			return nil, bad("the image's manifest is not valid: %v", err)
		}
		return &m, nil
	}
	return nil, nil
}

func (a *Archive) fromDocker(architecture string) (*Image, error) {
	b, err := a.document("manifest.json")
	if err != nil {
		return nil, err
	}
	var images []struct {
		Config string
		Layers []string
	}
	if err := json.Unmarshal(b, &images); err != nil {
		return nil, bad("the archive's manifest.json is not valid: %v", err)
	}
	if len(images) != 1 {
		return nil, bad("the archive holds %d images: save one", len(images))
	}
	config, err := a.document(images[0].Config)
	if err != nil {
		return nil, err
	}
	// The configuration is called by its hash, and it names all others.
	if name := strings.TrimSuffix(path.Base(images[0].Config), ".json"); len(name) == 64 && name != hexHash(config) {
		return nil, bad("the image's configuration is not what its digest %s says: the archive was changed", name)
	}
	var layers []Layer
	for _, name := range images[0].Layers {
		layers = append(layers, Layer{name: name})
	}
	return a.image(config, layers, architecture)
}

// image puts together what both formats have in common.
func (a *Archive) image(config []byte, layers []Layer, architecture string) (*Image, error) {
	var c ocispec.Image
	if err := json.Unmarshal(config, &c); err != nil {
		return nil, bad("the image's configuration is not valid: %v", err)
	}
	if c.OS != "linux" || c.Architecture != architecture {
		return nil, wrongPlatform([]string{c.OS + "/" + c.Architecture}, architecture)
	}
	switch {
	case len(layers) == 0:
		return nil, bad("the image has no layers, so there is nothing to run")
	case len(layers) > a.limits.Layers:
		return nil, bad("the image has %d layers, at most %d are accepted: squash it", len(layers), a.limits.Layers)
	case len(layers) != len(c.RootFS.DiffIDs):
		return nil, bad("the image has %d layers, but its configuration names %d", len(layers), len(c.RootFS.DiffIDs))
	}
	for i := range layers {
		l := &layers[i]
		l.DiffID = c.RootFS.DiffIDs[i]
		if err := validDigest(l.DiffID); err != nil {
			return nil, err
		}
		var err error
		if l.content, err = a.section(l.name); err != nil {
			return nil, err
		}
		l.Size = l.content.Size()
	}
	return &Image{Config: c.Config, Layers: layers}, nil
}

// blob reads a small part by its digest, and checks it.
func (a *Archive) blob(d digest.Digest) ([]byte, error) {
	if err := validDigest(d); err != nil {
		return nil, err
	}
	b, err := a.document(blobName(d))
	if err != nil {
		return nil, err
	}
	if hexHash(b) != d.Encoded() {
		return nil, bad("%s is not what its digest says: the archive was changed", d)
	}
	return b, nil
}

func blobName(d digest.Digest) string { return "blobs/" + string(d.Algorithm()) + "/" + d.Encoded() }

func validDigest(d digest.Digest) error {
	if d.Validate() != nil || d.Algorithm() != digest.SHA256 {
		return bad("%.100q is not a SHA-256 digest", d)
	}
	return nil
}

func hexHash(b []byte) string {
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:])
}

func wrongPlatform(have []string, architecture string) error {
	const shown = 10
	for i, h := range have {
		if h == "/" {
			h = "a platform it does not name"
		}
		have[i] = strings.TrimPrefix(h, "linux/")
	}
	switch {
	case len(have) == 0:
		return bad("the archive's index names no image")
	case len(have) > shown:
		have = append(have[:shown], "…")
	}
	return bad("the image is for %s, this machine is %s: build or save it with --platform linux/%s", strings.Join(have, ", "), architecture, architecture)
}

// Verify reads every layer to its end: its digests, its names, its size.
//
// Errors: compute.ErrBadProgram, compute.ErrUnavailable, ctx's.
func (a *Archive) Verify(ctx context.Context, img *Image) error {
	budget := &budget{bytes: a.limits.UnpackedBytes, logical: a.limits.UnpackedBytes, entries: a.limits.Entries, limits: a.limits}
	for i := range img.Layers {
		if err := verifyLayer(ctx, img, &img.Layers[i], budget); err != nil {
			return err
		}
	}
	img.Unpacked = a.limits.UnpackedBytes - budget.bytes
	return nil
}
