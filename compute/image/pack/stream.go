package pack

import (
	"archive/tar"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"hash"
	"io"
	"os"
	"path"
	"time"

	"github.com/klauspost/compress/zstd"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// Tree is a whole file system as a tar, and what is taken from it.
type Tree struct {
	Tar io.Reader
	// Skip tells what is left out, by its absolute path; nil leaves out nothing.
	Skip func(path string) bool
	// Epoch is the latest time that is kept. What was made while the tree was put
	// together carries the time at which that happened, and the same content would
	// give different bytes.
	Epoch time.Time
}

// Stream writes an OCI layout of one layer that is too large for memory. i says how
// to run it, and its Layers must be empty. scratch is a folder with room for the
// packed layer.
func Stream(to io.Writer, tree Tree, i Image, scratch string) error {
	if len(i.Layers) > 0 {
		return errors.New("pack: an image that is streamed has no other layers")
	}
	packed, err := os.CreateTemp(scratch, "layer-")
	if err != nil {
		return fmt.Errorf("pack: %w", err)
	}
	defer func() { _ = os.Remove(packed.Name()); _ = packed.Close() }()
	d, diffID, err := compress(packed, tree)
	if err != nil {
		return fmt.Errorf("pack: %w", err)
	}
	if _, err := packed.Seek(0, io.SeekStart); err != nil {
		return fmt.Errorf("pack: %w", err)
	}
	config, err := json.Marshal(i.describe([]digest.Digest{diffID}))
	if err != nil {
		return err
	}
	w := tar.NewWriter(to)
	if err := w.WriteHeader(&tar.Header{Name: blobName(d.Digest), Mode: 0o644, Size: d.Size}); err != nil {
		return err
	}
	if _, err := io.Copy(w, packed); err != nil {
		return fmt.Errorf("pack: %w", err)
	}
	return finish(w, i.Architecture, config, []ocispec.Descriptor{d})
}

// compress packs a layer into w and names it, packed and unpacked.
func compress(w io.Writer, tree Tree) (d ocispec.Descriptor, diffID digest.Digest, err error) {
	packed, plain := &counter{w: w, hash: sha256.New()}, sha256.New()
	// One goroutine, so that the same content gives the same bytes.
	z, err := zstd.NewWriter(packed, zstd.WithEncoderLevel(zstd.SpeedDefault), zstd.WithEncoderConcurrency(1))
	if err != nil {
		return d, "", err
	}
	if err := tree.copy(io.MultiWriter(z, plain)); err != nil {
		return d, "", errors.Join(err, z.Close())
	}
	if err := z.Close(); err != nil {
		return d, "", err
	}
	d = ocispec.Descriptor{MediaType: ocispec.MediaTypeImageLayerZstd, Digest: digest.NewDigest(digest.SHA256, packed.hash), Size: packed.n}
	return d, digest.NewDigest(digest.SHA256, plain), nil
}

// copy writes what is taken of the tree as a tar.
func (t Tree) copy(w io.Writer) error {
	in, out := tar.NewReader(t.Tar), tar.NewWriter(w)
	for {
		h, err := in.Next()
		if errors.Is(err, io.EOF) {
			return out.Close()
		}
		if err != nil {
			return fmt.Errorf("read the file system: %w", err)
		}
		if t.Skip != nil && t.Skip(path.Clean("/"+h.Name)) {
			continue
		}
		if h.ModTime.After(t.Epoch) {
			h.ModTime = t.Epoch
		}
		// Nobody reads these, and they are never the same twice.
		h.AccessTime, h.ChangeTime = time.Time{}, time.Time{}
		for _, record := range []string{"mtime", "atime", "ctime"} {
			delete(h.PAXRecords, record)
		}
		h.Format = tar.FormatUnknown
		if err := out.WriteHeader(h); err != nil {
			return fmt.Errorf("%s: %w", h.Name, err)
		}
		if _, err := io.Copy(out, in); err != nil { //nolint:gosec // nothing is unpacked: WriteHeader has bounded it to h.Size, and it is what comes in
			return fmt.Errorf("%s: %w", h.Name, err)
		}
	}
}

// counter hashes and counts what is written through it.
type counter struct {
	w    io.Writer
	hash hash.Hash
	n    int64
}

func (c *counter) Write(p []byte) (int, error) {
	n, err := c.w.Write(p)
	c.hash.Write(p[:n])
	c.n += int64(n)
	return n, err
}
