package pull

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/google/go-containerregistry/pkg/v1/remote/transport"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// Store keeps verified blobs by their digests, so that images with layers in
// common, and the same image again, are pulled once. What is linked from a layout
// stays with the layout when it leaves the store.
type Store struct {
	dir  string
	most uint64

	mu   sync.Mutex
	busy map[digest.Digest]chan struct{}

	hints hints
}

// OpenStore opens or makes a store in dir of at most so many bytes. One process
// at a time may have it.
func OpenStore(dir string, most uint64) (*Store, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("image store: %w", err)
	}
	s := &Store{dir: dir, most: most, busy: map[digest.Digest]chan struct{}{}}
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, fmt.Errorf("image store: %w", err)
	}
	for _, e := range entries {
		s.hints.remember(e.Name())
	}
	return s, nil
}

func (s *Store) path(d digest.Digest) string { return filepath.Join(s.dir, d.Encoded()) }

// has reports that a blob is here. It was verified before it got its name.
func (s *Store) has(d ocispec.Descriptor) bool {
	info, err := os.Stat(s.path(d.Digest))
	if err != nil || info.Size() != d.Size {
		return false
	}
	now := time.Now()
	_ = os.Chtimes(s.path(d.Digest), now, now) // only the order of leaving depends on it
	return true
}

// put stores a small blob that is in memory.
func (s *Store) put(d digest.Digest, content []byte) error {
	f, err := os.CreateTemp(s.dir, "new-*.partial")
	if err != nil {
		return err
	}
	_, err = f.Write(content)
	if err = errors.Join(err, f.Close()); err == nil {
		err = os.Rename(f.Name(), s.path(d))
	}
	if err != nil {
		return errors.Join(err, os.Remove(f.Name()))
	}
	return nil
}

// lock lets one pull at a time have a blob.
func (s *Store) lock(ctx context.Context, d digest.Digest) (unlock func(), err error) {
	for {
		s.mu.Lock()
		wait := s.busy[d]
		if wait == nil {
			done := make(chan struct{})
			s.busy[d] = done
			s.mu.Unlock()
			return func() {
				s.mu.Lock()
				defer s.mu.Unlock()
				delete(s.busy, d)
				close(done)
			}, nil
		}
		s.mu.Unlock()
		select {
		case <-wait:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

// room lets blobs go, the longest unused first, until more bytes fit. Those that
// a layout has take no room of their own, and stay.
func (s *Store) room(more uint64) error {
	entries, err := os.ReadDir(s.dir)
	if err != nil {
		return err
	}
	type blob struct {
		path string
		used time.Time
		size uint64
	}
	var idle []blob
	total := more
	for _, e := range entries {
		info, err := e.Info()
		if err != nil {
			continue // gone meanwhile
		}
		path := filepath.Join(s.dir, e.Name())
		total += uint64(info.Size())
		if linked(info) || s.pulling(strings.TrimSuffix(e.Name(), ".partial")) {
			continue
		}
		idle = append(idle, blob{path, info.ModTime(), uint64(info.Size())})
	}
	slices.SortFunc(idle, func(a, b blob) int { return a.used.Compare(b.used) })
	for _, b := range idle {
		if total <= s.most {
			break
		}
		if err := os.Remove(b.path); err != nil && !errors.Is(err, os.ErrNotExist) {
			return err
		}
		total -= b.size
	}
	return nil // images in use may take more: the lease that wants more has paid for it
}

// shed gives a full disk back what a pull that failed for it has taken, and whatever
// else no image has: it is what keeps the machine from all other work.
func (s *Store) shed(d digest.Digest) error {
	return errors.Join(os.Remove(s.path(d)+".partial"), s.room(s.most))
}

func (s *Store) pulling(hex string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.busy[digest.NewDigestFromEncoded(digest.SHA256, hex)] != nil
}

// Here is how many bytes of the given blobs are in the store.
func (s *Store) Here(digests ...digest.Digest) (n uint64) {
	for _, d := range digests {
		if info, err := os.Stat(s.path(d)); err == nil {
			n += uint64(info.Size())
		}
	}
	return n
}

// final: asking again would bring the same answer.
func final(err error) bool {
	said := new(transport.Error)
	if errors.As(err, &said) {
		return said.StatusCode < http.StatusInternalServerError && said.StatusCode != http.StatusTooManyRequests
	}
	return errors.Is(err, ErrMismatch) || errors.Is(err, ErrPrivate) || full(err)
}

// full: the machine's disk has no room.
func full(err error) bool { return errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) }
