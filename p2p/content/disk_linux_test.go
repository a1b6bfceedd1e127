package content_test

import (
	"errors"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/moyai-network/moyai/p2p/content"
)

func TestDiskFull(t *testing.T) {
	dir := t.TempDir()
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "size=2m"); err != nil {
		t.Skipf("cannot mount a small disk here: %v", err)
	}
	t.Cleanup(func() { _ = syscall.Unmount(dir, 0) })
	p := newPair(t, nil)
	src, err := content.BuildBytes(random(8<<20, 3))
	if err != nil {
		t.Fatal(err)
	}
	dest := filepath.Join(dir, "out")
	if err := p.fetch(t, src, dest, content.Limits{}); !errors.Is(err, content.ErrDiskFull) {
		t.Errorf("got %v, want ErrDiskFull", err)
	}
	nothingLeft(t, dest)
}
