// Package unpacked keeps images that are ready to run, by the hash of what they came
// in: it checks an image once, has an engine unpack it, remembers how it is to be
// run, and makes room by letting the least recently used go.
//
// It knows no engine: where an unpacked image lies is the engine's own.
package unpacked

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sort"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/moyai-network/moyai/compute"
	"github.com/moyai-network/moyai/compute/image/archive"
	"github.com/moyai-network/moyai/compute/image/launch"
	"github.com/moyai-network/moyai/compute/internal/filelock"
	"github.com/moyai-network/moyai/compute/internal/taskrecord"
)

// Engine unpacks images. K is what it needs to find one again: plain data.
type Engine[K any] interface {
	// Unpack makes a verified image ready. Errors: compute.ErrBadProgram,
	// compute.ErrUnavailable, ctx's.
	Unpack(ctx context.Context, hash string, img *archive.Image) (K, error)
	// Present reports that it still is.
	Present(ctx context.Context, kept K) bool
	// Discard lets it go, at once.
	Discard(ctx context.Context, kept K) error
}

// Config says where a Store keeps things, and how much.
type Config struct {
	Dir          string // of records and locks; several stores may share it
	Scratch      string // a folder with room for an archive
	Architecture string // of the images, as they name it
	Limits       archive.Limits
	CacheBytes   int64 // of all images
}

// Store is unpacked images, by the hash of the archive they came in. Each has a
// record that says where it is, and a lock file: who runs it holds a shared lock,
// so that whoever makes room sees across processes, and after any of them was
// killed, what is in use.
type Store[K any] struct {
	config Config
	engine Engine[K]

	mu     sync.Mutex
	hashes map[fileID]string
}

// New makes a Store over an engine. Config.Dir must exist.
func New[K any](config Config, engine Engine[K]) *Store[K] {
	return &Store[K]{config: config, engine: engine, hashes: map[fileID]string{}}
}

// fileID is a file as it was when it was hashed.
type fileID struct {
	dev, ino     uint64
	size         int64
	mtime, ctime syscall.Timespec
}

// Image is an unpacked image. It is plain data: the record on disk.
type Image[K any] struct {
	Kept        K // by the engine
	Unpacked    int64
	launch.Plan // how to run it
}

// maxRecord bounds a record: a configuration and a path per layer.
const maxRecord = 8 << 20

func (s *Store[K]) record(hash string) string {
	return filepath.Join(s.config.Dir, hash+".json")
}

// Lock is the file to hold a shared lock on while the image is in use.
func (s *Store[K]) Lock(hash string) string {
	return filepath.Join(s.config.Dir, hash+".lock")
}

// Ensure returns the image in the file, unpacking it if it is not here yet, and
// the hash to lock it by. The returned file holds a shared lock.
//
// Errors: compute.ErrBadProgram, compute.ErrUnavailable, ctx's.
func (s *Store[K]) Ensure(ctx context.Context, program string) (*Image[K], string, *os.File, error) {
	hash, err := s.hash(ctx, program)
	if err != nil {
		return nil, "", nil, err
	}
	for {
		held, err := filelock.Wait(ctx, s.Lock(hash), unix.LOCK_SH)
		if err != nil {
			return nil, "", nil, err
		}
		if img := s.find(ctx, hash); img != nil {
			return img, hash, held, nil
		}
		held.Close()
		if err := s.add(ctx, program, hash); err != nil {
			return nil, "", nil, err
		}
	}
}

// find returns what the record says if the image is where it says.
func (s *Store[K]) find(ctx context.Context, hash string) *Image[K] {
	b, err := taskrecord.Bounded(s.record(hash), maxRecord)
	img := new(Image[K])
	if err != nil || json.Unmarshal(b, img) != nil || !s.engine.Present(ctx, img.Kept) {
		return nil
	}
	now := time.Now()
	_ = os.Chtimes(s.record(hash), now, now) // only the order of eviction depends on it
	return img
}

// add checks and unpacks an image, then makes room.
func (s *Store[K]) add(ctx context.Context, program, hash string) error {
	held, err := filelock.Wait(ctx, s.Lock(hash), unix.LOCK_EX)
	if err != nil {
		return err
	}
	defer held.Close()
	if s.find(ctx, hash) != nil {
		return nil // somebody else was quicker
	}
	a, err := archive.Open(ctx, program, s.config.Scratch, s.config.Limits)
	if err != nil {
		return err
	}
	defer a.Close()
	checked, err := a.Image(s.config.Architecture)
	if err != nil {
		return err
	}
	plan, err := launch.Of(checked)
	if err != nil {
		return err
	}
	if err := a.Verify(ctx, checked); err != nil {
		return err
	}
	if err := plan.As(checked); err != nil {
		return err
	}
	img := &Image[K]{Plan: *plan, Unpacked: checked.Unpacked}
	if err := s.makeRoom(ctx, img.Unpacked); err != nil {
		return err
	}
	if img.Kept, err = s.engine.Unpack(ctx, hash, checked); err != nil {
		return err
	}
	return writeWhole(s.record(hash), img)
}

// makeRoom removes images that nobody runs, the least recently used first, until
// more bytes fit.
func (s *Store[K]) makeRoom(ctx context.Context, more int64) error {
	records, err := filepath.Glob(filepath.Join(s.config.Dir, "*.json"))
	if err != nil {
		return unavailable("list images", err)
	}
	type old struct {
		hash string
		used time.Time
		img  Image[K]
	}
	var all []old
	total := more
	for _, path := range records {
		var o old
		info, err := os.Stat(path)
		if err != nil {
			continue
		}
		b, err := taskrecord.Bounded(path, maxRecord)
		if err != nil || json.Unmarshal(b, &o.img) != nil {
			continue
		}
		o.hash, o.used = strings.TrimSuffix(filepath.Base(path), ".json"), info.ModTime()
		total += o.img.Unpacked
		all = append(all, o)
	}
	sort.Slice(all, func(i, j int) bool { return all[i].used.Before(all[j].used) })
	for _, o := range all {
		if total <= s.config.CacheBytes {
			return nil
		}
		held := filelock.Try(s.Lock(o.hash))
		if held == nil {
			continue // in use
		}
		err := os.Remove(s.record(o.hash))
		if err == nil {
			err = s.engine.Discard(ctx, o.img.Kept)
		}
		held.Close()
		if err != nil {
			return unavailable("remove an old image", err)
		}
		total -= o.img.Unpacked
	}
	if total > s.config.CacheBytes {
		return fmt.Errorf("%w: images in use take all of the %d bytes that are set aside for images", compute.ErrUnavailable, s.config.CacheBytes)
	}
	return nil
}

// hash names an image: by the SHA-256 of its archive, remembered while the file
// stays the same, or of a layout's index, which names all the rest by hashes.
func (s *Store[K]) hash(ctx context.Context, path string) (string, error) {
	if info, err := os.Stat(path); err == nil && info.IsDir() {
		index, err := taskrecord.Bounded(filepath.Join(path, "index.json"), maxRecord)
		if err != nil {
			return "", launch.Bad("it is a folder without an index.json: %v", err)
		}
		sum := sha256.Sum256(append([]byte("oci layout\n"), index...))
		return hex.EncodeToString(sum[:]), nil
	}
	f, err := os.Open(path)
	if err != nil {
		return "", unavailable("read the image", err)
	}
	defer f.Close()
	var st syscall.Stat_t
	if err := syscall.Fstat(int(f.Fd()), &st); err != nil {
		return "", unavailable("read the image", err)
	}
	id := fileID{st.Dev, st.Ino, st.Size, st.Mtim, st.Ctim}
	s.mu.Lock()
	known := s.hashes[id]
	s.mu.Unlock()
	if known != "" {
		return known, nil
	}
	h := sha256.New()
	buffer := make([]byte, 1<<20)
	for {
		if err := ctx.Err(); err != nil {
			return "", err
		}
		n, err := f.Read(buffer)
		h.Write(buffer[:n])
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return "", unavailable("read the image", err)
		}
	}
	known = hex.EncodeToString(h.Sum(nil))
	s.mu.Lock()
	if len(s.hashes) >= 1024 {
		clear(s.hashes)
	}
	s.hashes[id] = known
	s.mu.Unlock()
	return known, nil
}

// writeWhole writes JSON so that a reader sees all of it or nothing.
func writeWhole(path string, v any) error {
	b, err := json.Marshal(v)
	if err != nil {
		return unavailable("write "+path, err)
	}
	tmp, err := os.CreateTemp(filepath.Dir(path), filepath.Base(path)+".")
	if err != nil {
		return unavailable("write "+path, err)
	}
	defer os.Remove(tmp.Name())
	_, err = io.Copy(tmp, bytes.NewReader(b))
	err = errors.Join(err, tmp.Sync(), tmp.Close())
	if err == nil {
		err = os.Rename(tmp.Name(), path)
	}
	if err != nil {
		return unavailable("write "+path, err)
	}
	return nil
}

func unavailable(what string, err error) error {
	return fmt.Errorf("%w: %s: %w", compute.ErrUnavailable, what, err)
}
