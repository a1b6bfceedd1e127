package provider

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"

	"github.com/moyai-network/moyai/internal/fifo"
)

// maxStdin bounds what a tenant may send as standard input.
const maxStdin = 1 << 30

// errStdin: the tenant sent more than maxStdin.
var errStdin = errors.New("standard input is longer than 1 GiB: send it as an input instead")

// stdin is the standard input of task 0. What arrives is spooled to a file, so
// that neither a program that has not started nor one that reads slowly holds up
// the stream, on which receipts are countersigned; from there it goes through a
// FIFO to the program. It does not survive a restart of the daemon: the program
// then reads end of file.
type stdin struct {
	dir string

	mu    sync.Mutex
	news  *sync.Cond // spool grew, end came, or it is over
	spool *os.File
	size  int64
	eof   bool     // the tenant sends nothing more
	over  bool     // nobody reads any more
	fifo  *os.File // this process's hold on the FIFO
}

func newStdin(dir string) *stdin {
	s := &stdin{dir: dir}
	s.news = sync.NewCond(&s.mu)
	return s
}

func (s *stdin) path() string { return filepath.Join(s.dir, "stdin") }

// write takes a piece in. It never waits for the program.
func (s *stdin) write(data []byte) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.over || s.eof {
		return nil // like a pipe nobody reads
	}
	if s.size+int64(len(data)) > maxStdin {
		return errStdin
	}
	if s.spool == nil {
		if err := os.MkdirAll(s.dir, 0o700); err != nil {
			return fmt.Errorf("standard input: %w", err)
		}
		f, err := os.OpenFile(s.path()+".spool", os.O_CREATE|os.O_TRUNC|os.O_RDWR, 0o600)
		if err != nil {
			return fmt.Errorf("standard input: %w", err)
		}
		s.spool = f
	}
	n, err := s.spool.WriteAt(data, s.size)
	s.size += int64(n)
	s.news.Broadcast()
	if err != nil {
		return fmt.Errorf("standard input: %w", err)
	}
	return nil
}

// finish says that nothing more will come. On nil it does nothing.
func (s *stdin) finish() {
	if s == nil {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.eof = true
	s.news.Broadcast()
}

// open makes the FIFO, before the program starts. It waits for nobody, and the
// program sees end of file only when feed says so.
func (s *stdin) open() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.over || s.fifo != nil {
		return nil
	}
	f, err := fifo.Create(s.path())
	if err != nil {
		return fmt.Errorf("standard input: %w", err)
	}
	s.fifo = f
	return nil
}

// feed hands the spool to the program until its end. Call it once the program
// holds its own end of the FIFO: closing before that would lose what is in it.
func (s *stdin) feed(ctx context.Context) {
	stop := context.AfterFunc(ctx, s.close)
	defer stop()
	defer s.close()
	var at int64
	buf := make([]byte, 32<<10)
	for {
		s.mu.Lock()
		for at == s.size && !s.eof && !s.over {
			s.news.Wait()
		}
		if s.over || at == s.size {
			s.mu.Unlock()
			return
		}
		spool, fifo, left := s.spool, s.fifo, s.size-at
		s.mu.Unlock()
		if fifo == nil {
			return
		}
		n, err := spool.ReadAt(buf[:min(left, int64(len(buf)))], at)
		if n == 0 && err != nil {
			return
		}
		if _, err := fifo.Write(buf[:n]); err != nil { // close unblocks it
			return
		}
		at += int64(n)
	}
}

// close ends it: the program is gone, or is to read end of file. It may be called
// again, and on nil.
func (s *stdin) close() {
	if s == nil {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.over = true
	s.news.Broadcast()
	if s.fifo != nil {
		_ = s.fifo.Close()
		s.fifo = nil
	}
	if s.spool != nil {
		_ = s.spool.Close()
		_ = os.Remove(s.spool.Name())
		s.spool = nil
	}
}
