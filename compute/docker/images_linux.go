package docker

import (
	"archive/tar"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/moby/moby/client"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/moyai-network/moyai/compute"
	"github.com/moyai-network/moyai/compute/image/archive"
	"github.com/moyai-network/moyai/compute/image/launch"
	"github.com/moyai-network/moyai/compute/image/unpacked"
)

// kept is how an image is found again at the daemon.
type kept struct{ Name string }

// image is one that the daemon has, and how to run it.
type image = unpacked.Image[kept]

// repository names images of ours, apart from those of other homes, which may let go of
// theirs. No registry has that name.
func repository(home string) string {
	sum := sha256.Sum256([]byte(home))
	return "moyai.invalid/" + hex.EncodeToString(sum[:6])
}

// Present implements unpacked.Engine.
func (e *engine) Present(ctx context.Context, k kept) bool {
	ctx, cancel := context.WithTimeout(ctx, asking)
	defer cancel()
	if k.Name == "" {
		return false
	}
	_, err := e.ImageInspect(ctx, k.Name)
	return err == nil
}

// Unpack implements unpacked.Engine: it gives verified layers to the daemon, under a
// configuration that says nothing but what they are.
func (e *engine) Unpack(ctx context.Context, hash string, img *archive.Image) (kept, error) {
	k := kept{Name: e.repository + ":" + hash}
	r, w := io.Pipe()
	go func() { w.CloseWithError(writeArchive(ctx, w, k.Name, img)) }()
	defer r.Close()
	answer, err := e.ImageLoad(ctx, r, client.ImageLoadWithQuiet(true))
	if err != nil {
		return kept{}, failed(ctx, "load the image", err)
	}
	defer answer.Close()
	if err := loaded(answer); err != nil {
		return kept{}, whoseFault(ctx, err)
	}
	if !e.Present(ctx, k) {
		return kept{}, failed(ctx, "load the image", errors.New("it is not there afterwards"))
	}
	return k, nil
}

// loaded reads what the daemon says of a load, to its end.
func loaded(answer io.Reader) error {
	lines := json.NewDecoder(io.LimitReader(answer, 1<<20))
	for {
		var line struct{ Error string }
		switch err := lines.Decode(&line); {
		case errors.Is(err, io.EOF):
			return nil
		case err != nil:
			return err
		case line.Error != "":
			return errors.New(line.Error)
		}
	}
}

// whoseFault tells an image that cannot be unpacked (its links lead in circles, a
// file stands where a folder must be) from a machine that cannot unpack.
func whoseFault(ctx context.Context, err error) error {
	text := err.Error()
	if ctx.Err() != nil || !strings.Contains(text, "not a directory") && !strings.Contains(text, "is a directory") &&
		!strings.Contains(text, "symbolic links") && !strings.Contains(text, "invalid argument") && !strings.Contains(text, "file exists") {
		return failed(ctx, "load the image", err)
	}
	return launch.Bad("its layers cannot be unpacked: %.300s", text) // some of it is the image's own words
}

// Discard implements unpacked.Engine.
func (e *engine) Discard(ctx context.Context, k kept) error {
	_, err := e.ImageRemove(ctx, k.Name, client.ImageRemoveOptions{PruneChildren: true})
	if err != nil && !notFound(err) {
		return err
	}
	return nil
}

// writeArchive writes what `docker load` reads.
func writeArchive(ctx context.Context, to io.Writer, name string, img *archive.Image) error {
	config := ocispec.Image{Platform: ocispec.Platform{OS: "linux", Architecture: architecture}, RootFS: ocispec.RootFS{Type: "layers"}}
	entry := struct {
		Config           string
		RepoTags, Layers []string
	}{RepoTags: []string{name}}
	w := tar.NewWriter(to)
	written := map[digest.Digest]bool{}
	for i := range img.Layers {
		l := &img.Layers[i]
		config.RootFS.DiffIDs = append(config.RootFS.DiffIDs, l.DiffID)
		at := l.DiffID.Encoded() + "/layer.tar"
		entry.Layers = append(entry.Layers, at)
		if written[l.DiffID] {
			continue
		}
		written[l.DiffID] = true
		if err := writeLayer(ctx, w, at, l); err != nil {
			return err
		}
	}
	c, err := json.Marshal(config)
	if err != nil {
		return err
	}
	sum := sha256.Sum256(c)
	entry.Config = hex.EncodeToString(sum[:]) + ".json"
	manifest, err := json.Marshal([]any{entry})
	if err != nil {
		return err
	}
	for name, content := range map[string][]byte{entry.Config: c, "manifest.json": manifest} {
		if err := w.WriteHeader(&tar.Header{Name: name, Mode: 0o644, Size: int64(len(content))}); err != nil {
			return err
		}
		if _, err := w.Write(content); err != nil {
			return err
		}
	}
	return w.Close()
}

func writeLayer(ctx context.Context, w *tar.Writer, name string, l *archive.Layer) error {
	plain, err := l.Unpack()
	if err != nil {
		return err
	}
	defer plain.Close()
	if err := w.WriteHeader(&tar.Header{Name: name, Mode: 0o644, Size: l.Plain}); err != nil {
		return err
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	if _, err := io.Copy(w, plain); err != nil { // Verify has bounded it, and WriteHeader does
		return fmt.Errorf("%w: read a layer: %w", compute.ErrUnavailable, err)
	}
	return nil
}
