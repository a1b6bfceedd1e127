package fifo_test

import (
	"bytes"
	"io"
	"os"
	"path/filepath"
	"testing"

	"github.com/moyai-network/moyai/internal/fifo"
)

func TestAllArrivesAndThenTheEnd(t *testing.T) {
	path := filepath.Join(t.TempDir(), "stdin")
	w, err := fifo.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	r, err := fifo.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	sent := bytes.Repeat([]byte("0123456789abcdef"), 20_000)
	go func() {
		defer w.Close()
		_, _ = w.Write(sent)
	}()
	got, err := io.ReadAll(r)
	if err != nil || !bytes.Equal(got, sent) {
		t.Fatalf("%d bytes of %d, %v", len(got), len(sent), err)
	}
}

// TestCloseEndsAWrite: a reader that never reads holds nobody up for ever.
func TestCloseEndsAWrite(t *testing.T) {
	path := filepath.Join(t.TempDir(), "stdin")
	w, err := fifo.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	r, err := fifo.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	begun, done := make(chan struct{}), make(chan error)
	go func() {
		close(begun)
		_, err := w.Write(make([]byte, 1<<20))
		done <- err
	}()
	<-begun
	_ = w.Close()
	if err := <-done; err == nil {
		t.Fatal("a megabyte went into a pipe that nobody reads")
	}
}

// TestWriterGone: who comes when the writer has died meets the end of file.
func TestWriterGone(t *testing.T) {
	path := filepath.Join(t.TempDir(), "stdin")
	w, err := fifo.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	_ = w.Close()
	r, err := fifo.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	if got, err := io.ReadAll(r); err != nil || len(got) != 0 {
		t.Fatalf("%d bytes, %v", len(got), err)
	}
}

func TestPlainFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "stdin")
	if err := os.WriteFile(path, []byte("plain"), 0o600); err != nil {
		t.Fatal(err)
	}
	r, err := fifo.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	if got, err := io.ReadAll(r); err != nil || string(got) != "plain" {
		t.Fatalf("%q, %v", got, err)
	}
}
