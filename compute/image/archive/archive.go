// Package archive reads container images out of files that strangers made: OCI
// layouts and docker archives, as tar, plain or compressed. It finds the image
// for this machine, checks every digest, and bounds everything before anything
// is given to an engine that runs as root.
//
// It unpacks nothing and speaks to no engine.
package archive

import (
	"archive/tar"
	"bufio"
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"strings"

	"github.com/klauspost/compress/zstd"

	"github.com/moyai-network/moyai/compute"
)

// Limits bound what an archive may hold.
type Limits struct {
	UnpackedBytes int64 // of all layers, and of the archive itself if it is compressed
	Entries       int   // files in all layers, and in the archive
	Layers        int
}

// maxDocument bounds indexes, manifests and configurations.
const maxDocument = 4 << 20

// Archive is an open file of which it is known where everything lies, or a folder
// laid out like one.
type Archive struct {
	file   *os.File
	folder *os.Root   // in place of file
	opened []*os.File // of the folder
	temp   string     // of a compressed archive, the unpacked copy
	limits Limits
	parts  map[string]part
}

// part is one entry of the archive.
type part struct {
	offset, size int64
	link         string // a symbolic link's target, as docker saves layers twice
}

// Open indexes the archive at name, or opens the OCI layout in the folder there.
// A compressed one is first unpacked into a
// file in scratch, since its parts are needed in another order than they come.
//
// Errors: compute.ErrBadProgram if it is no archive, or out of bounds;
// compute.ErrUnavailable if this machine cannot read or write; ctx's.
func Open(ctx context.Context, name, scratch string, limits Limits) (*Archive, error) {
	if info, err := os.Stat(name); err == nil && info.IsDir() {
		folder, err := os.OpenRoot(name)
		if err != nil {
			return nil, unavailable(err)
		}
		return &Archive{folder: folder, limits: limits}, nil
	}
	f, err := os.Open(name)
	if err != nil {
		return nil, unavailable(err)
	}
	a := &Archive{file: f, limits: limits, parts: map[string]part{}}
	if err := a.unpack(ctx, scratch); err != nil {
		return nil, errors.Join(err, a.Close())
	}
	if err := a.index(ctx); err != nil {
		return nil, errors.Join(err, a.Close())
	}
	return a, nil
}

// Close releases the file and removes what Open wrote.
func (a *Archive) Close() error {
	if a.folder != nil {
		err := a.folder.Close()
		for _, f := range a.opened {
			err = errors.Join(err, f.Close())
		}
		return err
	}
	err := a.file.Close()
	if a.temp != "" {
		err = errors.Join(err, os.Remove(a.temp))
	}
	return err
}

// unpack replaces a compressed file by a plain copy.
func (a *Archive) unpack(ctx context.Context, scratch string) error {
	plain, compressed, err := decompress(a.file)
	if err != nil {
		return err
	}
	if !compressed {
		_, err := a.file.Seek(0, io.SeekStart)
		return asUnavailable(err)
	}
	defer plain.Close()
	temp, err := os.CreateTemp(scratch, "archive-")
	if err != nil {
		return unavailable(err)
	}
	a.temp = temp.Name()
	packed := a.file
	a.file = temp
	defer packed.Close()
	n, err := io.Copy(onlyWriter{temp}, io.LimitReader(withContext(ctx, plain), a.limits.UnpackedBytes+1))
	switch {
	case ctx.Err() != nil:
		return ctx.Err()
	case errors.As(err, new(writeError)):
		return unavailable(err)
	case err != nil:
		return bad("the archive is damaged or cut short: %v", err)
	case n > a.limits.UnpackedBytes:
		return bad("the archive unpacks to more than %d bytes, which is the limit here", a.limits.UnpackedBytes)
	}
	_, err = temp.Seek(0, io.SeekStart)
	return asUnavailable(err)
}

func (a *Archive) index(ctx context.Context) error {
	info, err := a.file.Stat()
	if err != nil {
		return unavailable(err)
	}
	if info.Size() == 0 {
		return bad("not an image: the file is empty")
	}
	tr := tar.NewReader(a.file)
	for n := 0; ; n++ {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		h, err := tr.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		switch {
		case err != nil && n == 0:
			return bad("not an image: give an OCI layout or a docker archive as a tar file, as `docker save` or `skopeo copy … oci-archive:` write it")
		case err != nil:
			return bad("the archive is damaged or cut short after %d entries: %v", n, err)
		case n >= a.limits.Entries:
			return bad("the archive has more than %d entries", a.limits.Entries)
		}
		name := path.Clean("/" + h.Name)[1:]
		switch h.Typeflag {
		case tar.TypeReg:
			offset, err := a.file.Seek(0, io.SeekCurrent) // the tar reader reads no further than the header
			if err != nil {
				return unavailable(err)
			}
			if h.Size > info.Size()-offset {
				return bad("the archive is cut short: %q should have %d bytes", h.Name, h.Size)
			}
			a.parts[name] = part{offset: offset, size: h.Size}
		case tar.TypeSymlink, tar.TypeLink:
			a.parts[name] = part{link: linkTarget(h, name)}
		}
	}
	return nil
}

func linkTarget(h *tar.Header, name string) string {
	if h.Typeflag == tar.TypeLink {
		return path.Clean("/" + h.Linkname)[1:]
	}
	return path.Join("/", path.Dir(name), h.Linkname)[1:] //nolint:gosec // a key of our own index, never a path
}

// section is the content of a part. Links are followed once.
func (a *Archive) section(name string) (*io.SectionReader, error) {
	if a.folder != nil {
		return a.inFolder(name)
	}
	p, ok := a.parts[path.Clean("/" + name)[1:]]
	if ok && p.link != "" {
		p, ok = a.parts[p.link]
	}
	if !ok || p.link != "" {
		return nil, bad("the archive lacks %q: it is damaged, or was not written whole", name)
	}
	return io.NewSectionReader(a.file, p.offset, p.size), nil
}

// inFolder is section for a folder. Its files stay open, as sections are read
// later and more than once.
func (a *Archive) inFolder(name string) (*io.SectionReader, error) {
	f, err := a.folder.Open(path.Clean("/" + name)[1:])
	if err != nil {
		return nil, bad("the image lacks %q: it is damaged, or was not written whole", name)
	}
	a.opened = append(a.opened, f)
	info, err := f.Stat()
	if err != nil {
		return nil, unavailable(err)
	}
	if !info.Mode().IsRegular() {
		return nil, bad("%q in the image is not a file", name)
	}
	return io.NewSectionReader(f, 0, info.Size()), nil
}

func (a *Archive) has(name string) bool {
	if a.folder != nil {
		_, err := a.folder.Stat(name)
		return err == nil
	}
	_, ok := a.parts[name]
	return ok
}

// document reads a small part.
func (a *Archive) document(name string) ([]byte, error) {
	s, err := a.section(name)
	if err != nil {
		return nil, err
	}
	if s.Size() > maxDocument {
		return nil, bad("%q has %d bytes, at most %d are accepted", name, s.Size(), maxDocument)
	}
	b, err := io.ReadAll(s)
	return b, asUnavailable(err)
}

// decompress looks at a stream's first bytes and undoes the compression they
// tell of. What a file calls itself proves nothing.
func decompress(r io.Reader) (plain io.ReadCloser, compressed bool, err error) {
	buffered := bufio.NewReaderSize(r, 64<<10)
	magic, err := buffered.Peek(4)
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, false, unavailable(err)
	}
	switch {
	case bytes.HasPrefix(magic, []byte{0x1f, 0x8b}):
		z, err := gzip.NewReader(buffered)
		if err != nil {
			return nil, false, bad("damaged gzip: %v", err)
		}
		return z, true, nil
	case bytes.Equal(magic, []byte{0x28, 0xb5, 0x2f, 0xfd}):
		z, err := zstd.NewReader(buffered, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxMemory(256<<20), zstd.WithDecoderMaxWindow(128<<20))
		if err != nil {
			return nil, false, bad("damaged zstd: %v", err)
		}
		return z.IOReadCloser(), true, nil
	}
	return io.NopCloser(buffered), false, nil
}

// withContext ends a read when ctx does.
func withContext(ctx context.Context, r io.Reader) io.Reader { return contextReader{ctx, r} }

type contextReader struct {
	ctx context.Context
	r   io.Reader
}

func (c contextReader) Read(p []byte) (int, error) {
	if err := c.ctx.Err(); err != nil {
		return 0, err
	}
	return c.r.Read(p)
}

// onlyWriter marks the errors of writing, to tell our disk's from the archive's.
type onlyWriter struct{ w io.Writer }

func (o onlyWriter) Write(p []byte) (int, error) {
	n, err := o.w.Write(p)
	if err != nil {
		err = writeError{err}
	}
	return n, err
}

type writeError struct{ error }

func bad(format string, args ...any) error {
	return fmt.Errorf("%w: %s", compute.ErrBadProgram, fmt.Sprintf(format, args...))
}

func unavailable(err error) error {
	return fmt.Errorf("%w: read the image: %w", compute.ErrUnavailable, err)
}

func asUnavailable(err error) error {
	if err == nil {
		return nil
	}
	return unavailable(err)
}

// local reports whether a name in a layer stays inside the root file system.
func local(name string) bool {
	for element := range strings.SplitSeq(name, "/") {
		if element == ".." {
			return false
		}
	}
	return name != "" && len(name) <= 4096 && strings.IndexByte(name, 0) < 0
}
