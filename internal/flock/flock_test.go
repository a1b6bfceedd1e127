package flock_test

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/moyai-network/moyai/internal/flock"
)

func TestOneHolder(t *testing.T) {
	path := filepath.Join(t.TempDir(), "lock")
	open := func() *os.File {
		f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = f.Close() })
		return f
	}
	first, second := open(), open()
	if err := flock.Try(first); err != nil {
		t.Fatal(err)
	}
	if err := flock.Try(second); !errors.Is(err, flock.ErrHeld) {
		t.Fatalf("a second holder: %v", err)
	}
	if err := os.WriteFile(path, []byte("words"), 0o600); err != nil {
		t.Errorf("it binds who does not ask: %v", err)
	}
	if err := first.Close(); err != nil {
		t.Fatal(err)
	}
	if err := flock.Try(second); err != nil {
		t.Fatalf("after the first is gone: %v", err)
	}
}
