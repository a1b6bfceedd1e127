package wasm

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"sort"
	"strings"
	"sync"
	"time"
)

// cache is the shared store of compiled code: one directory per module, named
// by what identifies the module's bytes.
//
// An entry appears whole, by rename, or not at all, so that runtimes of several
// processes share a cache without locks: the first writer wins, and the others'
// work is the same. A module's compiler can write to its own staging directory
// only, so a module that subverts it harms nobody else's code.
type cache struct {
	dir   string
	limit uint64

	mu      sync.Mutex
	running map[string]chan struct{} // compilations under way, by module
}

const stagingPrefix = "staging-"

func openCache(dir string, limit uint64) (*cache, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	c := &cache{dir: dir, limit: limit, running: map[string]chan struct{}{}}
	c.sweep()
	return c, nil
}

func (c *cache) path(module string) string { return filepath.Join(c.dir, module) }

// ensure returns the directory with module's code, calling compile to make it
// if it is not there. Callers that want the same module wait for one compile.
func (c *cache) ensure(ctx context.Context, module string, compile func(ctx context.Context, dir string) error) (string, error) {
	for {
		if c.touch(module) {
			return c.path(module), nil
		}
		c.mu.Lock()
		busy, ok := c.running[module]
		if !ok {
			busy = make(chan struct{})
			c.running[module] = busy
		}
		c.mu.Unlock()
		if ok {
			select {
			case <-busy:
				continue
			case <-ctx.Done():
				return "", ctx.Err()
			}
		}
		err := c.fill(ctx, module, compile)
		c.mu.Lock()
		delete(c.running, module)
		c.mu.Unlock()
		close(busy)
		if err != nil {
			return "", err
		}
	}
}

func (c *cache) fill(ctx context.Context, module string, compile func(ctx context.Context, dir string) error) error {
	if c.touch(module) {
		return nil // made by whoever was busy a moment ago
	}
	staging, err := os.MkdirTemp(c.dir, stagingPrefix)
	if err != nil {
		return unavailable("cache", err)
	}
	defer os.RemoveAll(staging)
	if err := compile(ctx, staging); err != nil {
		return err
	}
	err = os.Rename(staging, c.path(module))
	if err != nil && !c.touch(module) { // somebody else may have been first
		return unavailable("cache", err)
	}
	c.evict(module)
	return nil
}

// touch reports whether module's code is there, and notes its use.
func (c *cache) touch(module string) bool {
	now := time.Now()
	return os.Chtimes(c.path(module), now, now) == nil
}

// drop forgets an entry that cannot be used.
func (c *cache) drop(module string) {
	// Renamed first: nobody shall find half of it.
	staging, err := os.MkdirTemp(c.dir, stagingPrefix)
	if err != nil {
		return
	}
	_ = os.Rename(c.path(module), filepath.Join(staging, "dropped"))
	_ = os.RemoveAll(staging)
}

// evict keeps the cache within its limit, sparing keep.
func (c *cache) evict(keep string) {
	type entry struct {
		name string
		used time.Time
		size uint64
	}
	var entries []entry
	var total uint64
	list, _ := os.ReadDir(c.dir)
	for _, e := range list {
		info, err := e.Info()
		if err != nil || strings.HasPrefix(e.Name(), stagingPrefix) {
			continue
		}
		size := treeSize(c.path(e.Name()))
		total += size
		entries = append(entries, entry{e.Name(), info.ModTime(), size})
	}
	sort.Slice(entries, func(i, j int) bool { return entries[i].used.Before(entries[j].used) })
	for _, e := range entries {
		if total <= c.limit {
			return
		}
		if e.name != keep {
			c.drop(e.name)
			total -= e.size
		}
	}
}

// sweep removes what killed processes left half done.
func (c *cache) sweep() {
	list, _ := os.ReadDir(c.dir)
	for _, e := range list {
		info, err := e.Info()
		if err == nil && strings.HasPrefix(e.Name(), stagingPrefix) && time.Since(info.ModTime()) > time.Hour {
			_ = os.RemoveAll(c.path(e.Name()))
		}
	}
}

func treeSize(dir string) (total uint64) {
	_ = filepath.WalkDir(dir, func(_ string, d fs.DirEntry, err error) error {
		if err != nil {
			return nil //nolint:nilerr // vanished meanwhile
		}
		if info, err := d.Info(); err == nil && info.Mode().IsRegular() {
			total += uint64(info.Size())
		}
		return nil
	})
	return total
}

func hashFile(path string) (string, error) {
	f, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer f.Close()
	h := sha256.New()
	if _, err := io.Copy(h, f); err != nil {
		return "", err
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}
