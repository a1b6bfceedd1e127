package pull

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/specs-go"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// What manifests are called; docker's own names are the same things.
const (
	dockerManifest = "application/vnd.docker.distribution.manifest.v2+json"
	dockerList     = "application/vnd.docker.distribution.manifest.list.v2+json"
)

var accepted = []string{ocispec.MediaTypeImageManifest, ocispec.MediaTypeImageIndex, dockerManifest, dockerList}

// Bounds of what a registry may answer.
const (
	maxManifests = 1000
	maxLayers    = 127
)

// Found is what a name stands for.
type Found struct {
	Digest    digest.Digest // of the manifest, or of the index of several
	Platforms []string      // "linux/amd64", …: what there is; empty if it cannot be told yet
	Bytes     uint64        // of all that would be pulled for the platform asked for; 0 if unknown
}

// Resolve finds out what a name stands for now. platform may be empty.
//
// Errors: the sentinels; ctx's.
func (c *Client) Resolve(ctx context.Context, n Name, platform string, who Credentials) (Found, error) {
	s, err := c.open(ctx, n, who)
	if err != nil {
		return Found{}, err
	}
	defer s.close()
	body, sum, err := s.manifest(ctx, n, n.Digest)
	if err != nil {
		return Found{}, c.explain(n, err)
	}
	found := Found{Digest: sum}
	list, err := readManifest(body)
	if err != nil {
		return Found{}, err
	}
	if list.Manifests == nil {
		if found.Bytes, err = list.total(uint64(len(body))); err != nil {
			return Found{}, err
		}
		p, err := s.platform(ctx, list.Config)
		if err != nil {
			return Found{}, c.explain(n, err)
		}
		found.Platforms = []string{p}
		return found, nil
	}
	for _, d := range list.Manifests {
		if p := platformOf(d); p != "" {
			found.Platforms = append(found.Platforms, p)
		}
	}
	chosen, err := list.choose(platform)
	if platform == "" && errors.Is(err, ErrPlatform) && len(found.Platforms) > 0 {
		chosen, err = list.choose(found.Platforms[0])
	}
	if err != nil {
		return Found{}, err
	}
	if body, _, err = s.manifest(ctx, n, chosen.Digest); err != nil {
		return Found{}, c.explain(n, err)
	}
	one, err := readManifest(body)
	if err != nil {
		return Found{}, err
	}
	found.Bytes, err = one.total(uint64(len(body)))
	return found, err
}

// Pulled is what was pulled.
type Pulled struct {
	Digest digest.Digest // what the name stood for
	Bytes  uint64        // of all parts
	Here   uint64        // of them, how many were here already
}

// Watch is told how a pull goes.
type Watch struct {
	Pinned   func(digest.Digest) error // what a name without a digest stood for
	Progress func(here, total uint64)  // bytes; nil: nobody waits
}

func (w *Watch) progress(here, total uint64) {
	if w.Progress != nil {
		w.Progress(here, total)
	}
}

// Pull has an image and puts it at dest, which must not exist, as an OCI layout
// whose blobs are shared with the store's. platform is "linux/" and an
// architecture, most the bytes that may be pulled. If n has no digest, w.Pinned is
// told the one that was found before anything else is asked for.
//
// Errors: the sentinels; ctx's; the file system's, wrapping ENOSPC where the disk
// is full. What came of a pull that was broken off stays in the store, and the
// next goes on from there, unless it was the disk.
func (c *Client) Pull(ctx context.Context, store *Store, n Name, platform string, who Credentials, most uint64, dest string, w Watch) (Pulled, error) {
	p, err := c.pull(ctx, store, n, platform, who, most, dest, w)
	if err != nil && ctx.Err() != nil {
		return p, ctx.Err()
	}
	if err != nil {
		return p, c.explain(n, err)
	}
	return p, nil
}

func (c *Client) pull(ctx context.Context, store *Store, n Name, platform string, who Credentials, most uint64, dest string, w Watch) (Pulled, error) {
	s, err := c.open(ctx, n, who)
	if err != nil {
		return Pulled{}, err
	}
	defer s.close()
	body, sum, err := s.manifest(ctx, n, n.Digest)
	if err != nil {
		return Pulled{}, err
	}
	if err := w.Pinned(sum); err != nil {
		return Pulled{}, err
	}
	p := Pulled{Digest: sum}
	m, err := readManifest(body)
	if err != nil {
		return p, err
	}
	if m.Manifests != nil {
		d, err := m.choose(platform)
		if err != nil {
			return p, err
		}
		if body, sum, err = s.manifest(ctx, n, d.Digest); err != nil {
			return p, err
		}
		if m, err = readManifest(body); err != nil {
			return p, err
		}
	}
	if p.Bytes, err = m.total(uint64(len(body))); err != nil {
		return p, err
	}
	if p.Bytes > most {
		return p, fmt.Errorf("%w: it has %d bytes, %d were ordered", ErrTooLarge, p.Bytes, most)
	}
	if err := store.room(p.Bytes); err != nil {
		return p, err
	}
	partial := dest + ".partial"
	if err := errors.Join(os.RemoveAll(partial), os.MkdirAll(filepath.Join(partial, "blobs", "sha256"), 0o700)); err != nil {
		return p, err
	}
	defer os.RemoveAll(partial)
	if err := store.put(sum, body); err != nil {
		return p, err
	}
	done := uint64(len(body))
	for _, d := range append([]ocispec.Descriptor{m.Config}, m.Layers...) {
		had, err := store.fetch(ctx, s, d, func(n int64) { w.progress(done+uint64(n), p.Bytes) })
		if err != nil {
			return p, err
		}
		p.Here += had
		done += uint64(d.Size)
	}
	parts := []digest.Digest{sum, m.Config.Digest}
	for _, d := range m.Layers {
		parts = append(parts, d.Digest)
	}
	return p, errors.Join(store.note(p.Digest, parts), layOut(store, partial, dest, sum, int64(len(body)), platform, m))
}

// layOut writes the layout, links the blobs into it, and makes it appear.
func layOut(store *Store, partial, dest string, manifest digest.Digest, size int64, platform string, m *manifest) error {
	for _, d := range append([]ocispec.Descriptor{{Digest: manifest}, m.Config}, m.Layers...) {
		to := filepath.Join(partial, "blobs", "sha256", d.Digest.Encoded())
		if err := os.Link(store.path(d.Digest), to); err != nil && !errors.Is(err, os.ErrExist) { // a layer may be there twice
			return err
		}
	}
	system, architecture, _ := strings.Cut(platform, "/")
	index, err := json.Marshal(ocispec.Index{
		Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: ocispec.MediaTypeImageIndex,
		Manifests: []ocispec.Descriptor{{MediaType: ocispec.MediaTypeImageManifest, Digest: manifest, Size: size,
			Platform: &ocispec.Platform{OS: system, Architecture: architecture}}},
	})
	if err != nil {
		return err
	}
	layout := []byte(`{"imageLayoutVersion":"` + ocispec.ImageLayoutVersion + `"}`)
	return errors.Join(
		os.WriteFile(filepath.Join(partial, ocispec.ImageLayoutFile), layout, 0o600),
		os.WriteFile(filepath.Join(partial, ocispec.ImageIndexFile), index, 0o600),
		os.Rename(partial, dest))
}

// manifest is a manifest or an index: whichever fields are there tell.
type manifest struct {
	SchemaVersion int
	Manifests     []ocispec.Descriptor
	Config        ocispec.Descriptor
	Layers        []ocispec.Descriptor
}

func readManifest(body []byte) (*manifest, error) {
	m := new(manifest)
	if err := json.Unmarshal(body, m); err != nil {
		return nil, fmt.Errorf("%w: its manifest is not valid: %.200s", ErrBadImage, err.Error())
	}
	switch {
	case m.SchemaVersion != 2:
		return nil, fmt.Errorf("%w: its manifest is of version %d, 2 is needed: push it again with newer tools", ErrBadImage, m.SchemaVersion)
	case len(m.Manifests) > maxManifests || len(m.Layers) > maxLayers:
		return nil, fmt.Errorf("%w: %d manifests and %d layers, at most %d and %d are accepted", ErrBadImage, len(m.Manifests), len(m.Layers), maxManifests, maxLayers)
	}
	return m, nil
}

// total is how much there is of an image. Every size is checked, so that sums
// cannot overflow and reading can stop where it should.
func (m *manifest) total(own uint64) (uint64, error) {
	const most = 1 << 50
	if len(m.Layers) == 0 {
		return 0, fmt.Errorf("%w: it has no layers", ErrBadImage)
	}
	for _, d := range append([]ocispec.Descriptor{m.Config}, m.Layers...) {
		if d.Digest.Validate() != nil || d.Digest.Algorithm() != digest.SHA256 || d.Size < 1 || d.Size > most {
			return 0, fmt.Errorf("%w: a part of it has no proper digest or size", ErrBadImage)
		}
		own += uint64(d.Size)
	}
	return own, nil
}

// platformOf names a Linux platform as orders do; empty for what is none, such as
// an attestation.
func platformOf(d ocispec.Descriptor) string {
	if d.Platform == nil || d.Platform.OS != "linux" || d.Platform.Architecture == "" {
		return ""
	}
	return "linux/" + d.Platform.Architecture
}

func (m *manifest) choose(platform string) (ocispec.Descriptor, error) {
	var have []string
	for _, d := range m.Manifests {
		p := platformOf(d)
		if p != "" && p == platform && d.Digest.Validate() == nil && d.Digest.Algorithm() == digest.SHA256 {
			return d, nil
		}
		if p != "" && len(have) < 10 {
			have = append(have, p)
		}
	}
	return ocispec.Descriptor{}, fmt.Errorf("%w: it is for %.300s, not for %s", ErrPlatform, strings.Join(have, ", "), platform)
}

// manifest gets a manifest or index by its digest or, if that is empty, by the
// name's tag.
func (s *session) manifest(ctx context.Context, n Name, want digest.Digest) ([]byte, digest.Digest, error) {
	by := string(want)
	if by == "" {
		by = n.Reference[strings.LastIndexByte(n.Reference, ':')+1:]
	}
	resp, err := s.get(ctx, "manifests/"+by, accepted, 0)
	if err != nil {
		return nil, "", err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		return nil, "", err
	}
	if len(body) >= maxAnswer {
		return nil, "", fmt.Errorf("%w: a manifest of %d bytes or more", ErrTooLarge, maxAnswer)
	}
	sum := digest.FromBytes(body)
	if want != "" && sum != want {
		return nil, "", fmt.Errorf("%w: a manifest is %s where %s was asked for", ErrMismatch, sum, want)
	}
	return body, sum, nil
}

// platform reads out of an image's configuration what it is for.
func (s *session) platform(ctx context.Context, d ocispec.Descriptor) (string, error) {
	resp, err := s.get(ctx, "blobs/"+string(d.Digest), nil, 0)
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		return "", err
	}
	if digest.FromBytes(body) != d.Digest {
		return "", fmt.Errorf("%w: a configuration is not %s", ErrMismatch, d.Digest)
	}
	var c ocispec.Image
	if err := json.Unmarshal(body, &c); err != nil {
		return "", fmt.Errorf("%w: its configuration is not valid", ErrBadImage)
	}
	return c.OS + "/" + c.Architecture, nil
}

// attempts is how often a blob is asked for: connections break.
const attempts = 4

// fetch makes sure that a blob is in the store and returns how many of its bytes
// were there already.
func (s *Store) fetch(ctx context.Context, from *session, d ocispec.Descriptor, progress func(int64)) (had uint64, err error) {
	unlock, err := s.lock(ctx, d.Digest)
	if err != nil {
		return 0, err
	}
	defer unlock()
	if s.has(d) {
		return uint64(d.Size), nil
	}
	for try := 1; ; try++ {
		n, err := s.part(ctx, from, d, progress)
		if try == 1 {
			had = uint64(n)
		}
		if full(err) {
			return had, errors.Join(err, s.shed(d.Digest))
		}
		if err == nil || try == attempts || final(err) || ctx.Err() != nil {
			return had, err
		}
		select {
		case <-ctx.Done():
			return had, ctx.Err()
		case <-time.After(time.Duration(try) * 500 * time.Millisecond):
		}
	}
}

// meter tells how many bytes there are.
type meter struct {
	n    int64
	tell func(int64)
}

// Write implements io.Writer.
func (m *meter) Write(p []byte) (int, error) {
	m.n += int64(len(p))
	m.tell(m.n)
	return len(p), nil
}

// part goes on with a blob where an earlier attempt stopped, which it returns.
func (s *Store) part(ctx context.Context, from *session, d ocispec.Descriptor, progress func(int64)) (int64, error) {
	path := s.path(d.Digest) + ".partial"
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return 0, err
	}
	defer f.Close()
	sum := sha256.New()
	n, err := io.Copy(sum, io.LimitReader(f, d.Size))
	if err != nil {
		return 0, err
	}
	began := n
	if n < d.Size {
		resp, err := from.get(context.WithValue(ctx, isBlob{}, true), "blobs/"+string(d.Digest), nil, n)
		if err != nil {
			return began, err
		}
		defer resp.Body.Close()
		if resp.StatusCode != http.StatusPartialContent || !strings.HasPrefix(resp.Header.Get("Content-Range"), fmt.Sprintf("bytes %d-", n)) {
			n = 0
			sum.Reset()
		}
		if err := f.Truncate(n); err != nil {
			return began, err
		}
		if _, err := f.Seek(n, io.SeekStart); err != nil {
			return began, err
		}
		more, err := io.Copy(io.MultiWriter(f, sum, &meter{n, progress}), io.LimitReader(resp.Body, d.Size-n))
		n += more
		if err == nil && n < d.Size {
			err = io.ErrUnexpectedEOF
		}
		if err != nil {
			return began, err
		}
	}
	if got := hex.EncodeToString(sum.Sum(nil)); got != d.Digest.Encoded() {
		return began, errors.Join(fmt.Errorf("%w: a layer is %s where %s was asked for", ErrMismatch, got, d.Digest), os.Remove(path))
	}
	return began, os.Rename(path, s.path(d.Digest))
}
