package archive

import (
	"archive/tar"
	"context"
	"crypto/sha256"
	"errors"
	"hash"
	"io"
	"path"
	"strings"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// budget is what the layers of one image may still use.
type budget struct {
	bytes   int64 // of the layers as tar streams
	logical int64 // of the files in them: a sparse one is small in the stream
	entries int
	limits  Limits
}

// maxDatabase bounds /etc/passwd and /etc/group.
const maxDatabase = 1 << 20

func verifyLayer(ctx context.Context, img *Image, l *Layer, budget *budget) error {
	packed := sha256.New()
	source := withContext(ctx, l.Open())
	plain, compressed, err := decompress(io.TeeReader(source, packed))
	if err != nil {
		return err
	}
	defer plain.Close()
	unpacked, before := sha256.New(), budget.bytes
	err = scan(img, &tally{r: plain, hash: unpacked, budget: budget}, budget)
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if err != nil {
		return err
	}
	// What follows the stream is part of the blob all the same.
	if _, err := io.Copy(packed, source); err != nil {
		return unavailable(err)
	}
	if got := sum(unpacked); got != l.DiffID {
		return bad("a layer's content is %s, but the configuration says %s: the archive was changed", got, l.DiffID)
	}
	got := sum(packed)
	if l.Digest != "" && got != l.Digest {
		return bad("a layer is %s, but the manifest says %s: the archive was changed", got, l.Digest)
	}
	l.Digest, l.Plain = got, before-budget.bytes
	l.MediaType = ocispec.MediaTypeImageLayer
	if compressed {
		l.MediaType, err = compressedType(l.Open())
	}
	return err
}

func compressedType(r io.Reader) (string, error) {
	var magic [2]byte
	if _, err := io.ReadFull(r, magic[:]); err != nil {
		return "", unavailable(err)
	}
	if magic[0] == 0x1f {
		return ocispec.MediaTypeImageLayerGzip, nil
	}
	return ocispec.MediaTypeImageLayerZstd, nil
}

func sum(h hash.Hash) digest.Digest { return digest.NewDigest(digest.SHA256, h) }

// scan reads a layer's tar to its end and looks at every header.
func scan(img *Image, t *tally, budget *budget) error {
	tr := tar.NewReader(t)
	for {
		h, err := tr.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err := t.explain(err); err != nil {
			return err
		}
		if budget.entries--; budget.entries < 0 {
			return bad("the image has more than %d files", budget.limits.Entries)
		}
		if !local(h.Name) {
			return bad("a layer holds %.200q, which leads out of the image", h.Name)
		}
		if h.Typeflag == tar.TypeLink && !local(h.Linkname) {
			return bad("a layer holds a link %.200q to %.200q, which leads out of the image", h.Name, h.Linkname)
		}
		if budget.logical -= h.Size; budget.logical < 0 {
			return tooLarge(budget)
		}
		if err := remember(img, tr, h); err != nil {
			return t.explain(err)
		}
	}
	_, err := io.Copy(io.Discard, t) // padding counts for the hash
	return t.explain(err)
}

// remember keeps the image's user database, which the topmost layer decides.
func remember(img *Image, r io.Reader, h *tar.Header) error {
	dir, base := path.Split(path.Clean("/" + h.Name))
	if dir != "/etc/" {
		return nil
	}
	gone := strings.HasPrefix(base, ".wh.")
	keep := func(into *[]byte) error {
		*into = nil
		if h.Typeflag != tar.TypeReg || h.Size > maxDatabase || gone {
			return nil
		}
		b, err := io.ReadAll(io.LimitReader(r, maxDatabase))
		*into = b
		return err
	}
	switch base {
	case "passwd", ".wh.passwd":
		return keep(&img.Passwd)
	case "group", ".wh.group":
		return keep(&img.Group)
	}
	return nil
}

// tally hashes and counts what is read of an unpacked layer.
type tally struct {
	r      io.Reader
	hash   hash.Hash
	budget *budget
	over   bool
}

var errOver = errors.New("over the limit")

func (t *tally) Read(p []byte) (int, error) {
	n, err := t.r.Read(p)
	t.hash.Write(p[:n])
	if t.budget.bytes -= int64(n); t.budget.bytes < 0 {
		t.over = true
		return n, errOver
	}
	return n, err
}

// explain turns an error of reading a layer into words for the tenant.
func (t *tally) explain(err error) error {
	switch {
	case err == nil:
		return nil
	case t.over:
		return tooLarge(t.budget)
	}
	return bad("a layer is damaged or cut short: %v", err)
}

func tooLarge(b *budget) error {
	return bad("the image unpacks to more than %d bytes, which is the limit here", b.limits.UnpackedBytes)
}
