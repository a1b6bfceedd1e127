package provider

import (
	"bytes"
	"context"
	"errors"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"

	"github.com/moyai-network/moyai/internal/fifo"
)

// TestStdinSurvivesAnyOrder: what the tenant sends before the program has started,
// and more than a pipe holds, arrives whole; and then the end of file.
func TestStdinSurvivesAnyOrder(t *testing.T) {
	text := make([]byte, 300<<10)
	rng := rand.NewChaCha8([32]byte{1})
	_, _ = rng.Read(text)
	for _, early := range []int{0, 100, len(text)} {
		s := newStdin(filepath.Join(t.TempDir(), "not", "there", "yet"))
		feed := func(b []byte) {
			for len(b) > 0 {
				n := min(len(b), 1000)
				if err := s.write(b[:n]); err != nil {
					t.Fatal(err)
				}
				b = b[n:]
			}
		}
		feed(text[:early])
		if early == len(text) {
			s.finish()
		}
		if err := os.MkdirAll(s.dir, 0o700); err != nil {
			t.Fatal(err)
		}
		if err := s.open(); err != nil {
			t.Fatal(err)
		}
		program, err := fifo.Open(s.path()) // as the runtime does, within Start
		if err != nil {
			t.Fatal(err)
		}
		go s.feed(context.Background())
		if early < len(text) {
			feed(text[early:]) // nobody reads yet: it must not wait
			s.finish()
		}
		got, err := io.ReadAll(program)
		if err != nil || !bytes.Equal(got, text) {
			t.Fatalf("early %d: %d bytes of %d, %v", early, len(got), len(text), err)
		}
		_ = program.Close()
	}
}

func TestStdinIsBoundedAndEnds(t *testing.T) {
	s := newStdin(t.TempDir())
	if err := s.write([]byte("x")); err != nil {
		t.Fatal(err)
	}
	s.size = maxStdin
	if err := s.write([]byte("x")); !errors.Is(err, errStdin) {
		t.Fatalf("past the bound: %v", err)
	}
	s.close()
	s.close()
	if err := s.write([]byte("x")); err != nil {
		t.Fatalf("after the end it is like a pipe nobody reads: %v", err)
	}
	if left, _ := os.ReadDir(s.dir); len(left) != 0 {
		t.Fatalf("left behind: %v", left)
	}
	// A program that never reads does not hold the feeder for ever.
	s = newStdin(t.TempDir())
	if err := errors.Join(s.open(), s.write(make([]byte, 200<<10))); err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() { s.feed(context.Background()); close(done) }()
	s.close()
	<-done
	var none *stdin
	none.close()
	none.finish()
}
