package content

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/moyai-network/moyai/p2p"

	"github.com/moyai-network/moyai/internal/oserror"
)

// partialSuffix marks what is not complete.
const partialSuffix = ".partial"

// Fetch gets get.Root from a peer and puts the file or folder at dest, which must
// not exist while its parent must. It writes to dest+".partial" (removing what an
// interrupted Fetch left there) and renames when every block has been verified;
// on any error nothing is left. Files get mode 0644, folders 0755, less the umask.
// It does not sync: after a power failure, fetch again. progress, if not nil, is
// called with the file bytes written so far, from Fetch's own goroutine.
//
// Errors are this package's sentinels, ctx's, the network's or the file system's.
// A sender of wrong blocks is struck.
func Fetch(ctx context.Context, h *p2p.Host, from peer.AddrInfo, get Get, dest string, lim Limits, progress func(written uint64)) error {
	dest, err := filepath.Abs(dest)
	if err != nil {
		return fmt.Errorf("fetch: %w", err)
	}
	if _, err := os.Lstat(dest); err == nil {
		return fmt.Errorf("fetch: %w: %s", ErrExists, dest)
	}
	parent, err := os.OpenRoot(filepath.Dir(dest))
	if err != nil {
		return fmt.Errorf("fetch: %w", err)
	}
	defer func() { _ = parent.Close() }()
	partial := filepath.Base(dest) + partialSuffix
	if err := parent.RemoveAll(partial); err != nil {
		return fmt.Errorf("fetch: %w", err)
	}
	err = fetch(ctx, h, from, get, rootSink{parent}, partial, lim, progress)
	if err == nil {
		err = parent.Rename(partial, filepath.Base(dest))
	}
	if err != nil {
		err = errors.Join(err, parent.RemoveAll(partial))
		return fmt.Errorf("fetch %s: %w", dest, explain(err))
	}
	return nil
}

// FetchBytes gets a file of at most limit bytes into memory.
func FetchBytes(ctx context.Context, h *p2p.Host, from peer.AddrInfo, get Get, limit int) ([]byte, error) {
	var to memorySink
	err := fetch(ctx, h, from, get, &to, "content", Limits{Bytes: uint64(max(limit, 1)), Entries: 1, Depth: 1}, nil)
	if err != nil {
		return nil, fmt.Errorf("fetch: %w", err)
	}
	return to.Bytes(), nil
}

func fetch(ctx context.Context, h *p2p.Host, from peer.AddrInfo, get Get, to sink, name string, lim Limits, progress func(uint64)) error {
	lim.EnsureDefaults()
	if progress == nil {
		progress = func(uint64) {}
	}
	root, err := ParseRoot(get.Root)
	if err != nil {
		return err
	}
	s, err := h.OpenStream(ctx, from, p2p.ContentProtocol)
	if err != nil {
		return err
	}
	defer s.Reset()
	defer context.AfterFunc(ctx, s.Reset)()

	if err := s.Send(maxGet, &get); err != nil {
		return because(ctx, err)
	}
	var a answer
	if err := s.Recv(maxAnswer, blockTimeout, &a); err != nil {
		return because(ctx, cut(err))
	}
	if err := a.err(); err != nil {
		return fmt.Errorf("%s: %w", from.ID, err)
	}
	if a.Bytes > lim.Bytes {
		return fmt.Errorf("%w: %d bytes are offered, %d are allowed", ErrLimit, a.Bytes, lim.Bytes)
	}
	r := receiver{
		ctx: ctx, in: s.Reader(), lim: lim, to: to, progress: progress,
		patience: func() { _ = s.Raw().SetReadDeadline(time.Now().Add(blockTimeout)) },
	}
	if err := r.receive(root, name); err != nil {
		if errors.Is(err, ErrMismatch) {
			h.Strike(from.ID, err)
		}
		return because(ctx, err)
	}
	return nil
}

// because prefers the context's reason to the "stream reset" its end caused.
func because(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	return err
}

// explain names the one failure of a file system that a person can mend.
func explain(err error) error {
	if oserror.DiskFull(err) {
		return fmt.Errorf("%w: %w; free some space and try again", ErrDiskFull, err)
	}
	return err
}

// rootSink writes below a folder and cannot be led out of it, even by a symlink
// that somebody else plants meanwhile.
type rootSink struct{ root *os.Root }

func (s rootSink) mkdir(path string) error { return s.root.Mkdir(path, 0o755) }

func (s rootSink) create(path string) (io.WriteCloser, error) {
	return s.root.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
}

// memorySink holds one file.
type memorySink struct{ bytes.Buffer }

func (*memorySink) mkdir(path string) error {
	return &fs.PathError{Op: "mkdir", Path: path, Err: ErrUnsupported}
}

func (s *memorySink) create(string) (io.WriteCloser, error) { return nopCloser{&s.Buffer}, nil }

type nopCloser struct{ io.Writer }

func (nopCloser) Close() error { return nil }
