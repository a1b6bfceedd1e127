package pull

import (
	"context"
	"errors"
	"math/rand/v2"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/opencontainers/go-digest"
)

// TestDiskFull: a pull that a full disk ends says so and gives back what it took,
// at whichever of its parts it happens; the next one has the room.
func TestDiskFull(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("a small file system can be mounted by root only")
	}
	dir := t.TempDir()
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "size=4m"); err != nil {
		t.Skipf("no tmpfs can be mounted here: %v", err)
	}
	t.Cleanup(func() {
		if err := syscall.Unmount(dir, 0); err != nil {
			t.Errorf("still in use: %v", err)
		}
	})
	s := newShop(t)
	noise := func(size int) string { // does not compress
		b := make([]byte, size)
		_, _ = rand.NewChaCha8([32]byte{byte(size >> 20)}).Read(b)
		return string(b)
	}
	store, err := OpenStore(filepath.Join(dir, "store"), 1<<30)
	if err != nil {
		t.Fatal(err)
	}
	c := Client{Allow: []string{s.host}}
	pull := func(n Name, name string) error {
		_, err := c.Pull(context.Background(), store, n, "linux/amd64", Credentials{}, 1<<30, filepath.Join(dir, name), Watch{Pinned: func(digest.Digest) error { return nil }})
		return err
	}
	for _, tc := range []struct {
		name   string
		layers []string
	}{
		{"first", []string{noise(8 << 20)}},
		{"second", []string{noise(2 << 20), noise(3 << 20)}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			n := s.push(t, tc.name, "amd64", tc.layers...)
			if err := pull(n, tc.name); !errors.Is(err, syscall.ENOSPC) {
				t.Fatalf("got %v, want a full disk", err)
			}
			err := filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
				if err == nil && !d.IsDir() {
					t.Errorf("%s is left", path)
				}
				return err
			})
			if err != nil {
				t.Error(err)
			}
			if _, err := os.Lstat(filepath.Join(dir, tc.name)); !errors.Is(err, os.ErrNotExist) {
				t.Errorf("half an image: %v", err)
			}
		})
	}
	if err := pull(s.push(t, "fits", "amd64", noise(1<<20)), "fits"); err != nil {
		t.Errorf("afterwards: %v", err)
	}
}
