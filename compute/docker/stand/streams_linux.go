package stand

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sync"

	"github.com/moby/moby/client"
	"golang.org/x/sys/unix"

	"github.com/moyai-network/moyai/compute/internal/tasklog"
)

// streams carries what a container reads and says between Docker's connection and
// the task's files.
type streams struct {
	name                  string
	logs                  *tasklog.Logs
	stdin, stdout, stderr *os.File // stdin is nil if there is none

	mu   sync.Mutex
	conn *client.HijackedResponse
	all  sync.WaitGroup // what reads from Docker
}

func openStreams(job *Job, logs *tasklog.Logs) (*streams, error) {
	s := &streams{name: job.Name, logs: logs}
	var err error
	for name, f := range map[string]**os.File{"stdout": &s.stdout, "stderr": &s.stderr} {
		if *f, err = os.OpenFile(filepath.Join(job.Dir, name), os.O_WRONLY|os.O_APPEND, 0); err != nil {
			return nil, err
		}
	}
	if job.Stdin == "" {
		return s, nil
	}
	// A FIFO that nobody writes to is at its end at once, so opening must not wait
	// for a writer, while reading must.
	fd, err := unix.Open(job.Stdin, unix.O_RDONLY|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	if err == nil {
		err = unix.SetNonblock(fd, false)
	}
	if err != nil {
		return nil, fmt.Errorf("open the program's input %s: %w", job.Stdin, err)
	}
	s.stdin = os.NewFile(uintptr(fd), job.Stdin)
	return s, nil
}

// attach begins to carry. It may be called again, after Docker was gone: what was
// said meanwhile is lost.
func (s *streams) attach(ctx context.Context, docker *client.Client) error {
	again := s.swap(nil)
	a, err := docker.ContainerAttach(ctx, s.name, client.ContainerAttachOptions{Stream: true, Stdin: s.stdin != nil && !again, Stdout: true, Stderr: true})
	if err != nil {
		return fmt.Errorf("attach: %w", err)
	}
	conn := &a.HijackedResponse
	s.swap(conn)
	s.all.Go(func() { _ = s.carry(conn.Reader) }) // how it ends is for the container's state to say
	if s.stdin != nil && !again {
		go func() {
			_, _ = io.Copy(onlyWriter{conn.Conn}, s.stdin) // it need not be read
			_ = conn.CloseWrite()
		}()
	}
	return nil
}

// onlyWriter hides what would let a copy bypass this process's own reading: a FIFO
// spliced into a socket is not read while the socket's buffer has room.
type onlyWriter struct{ io.Writer }

// swap puts a connection in the place of another, which it closes if there was one.
func (s *streams) swap(conn *client.HijackedResponse) (had bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	had = s.conn != nil
	if had {
		s.conn.Close()
	}
	s.conn = conn
	return had
}

var errFrame = errors.New("docker sent a stream that is neither of the two")

// carry takes Docker's frames apart: which of the two streams, three bytes of
// nothing, a length, the bytes. It never stops reading: a program must not hang
// because nobody takes what it says.
func (s *streams) carry(r io.Reader) error {
	var head [8]byte
	buffer := make([]byte, 32<<10)
	for {
		if _, err := io.ReadFull(r, head[:]); err != nil {
			return err
		}
		to := s.stdout
		switch head[0] {
		case 1:
		case 2:
			to = s.stderr
		default:
			return errFrame
		}
		for left := int(binary.BigEndian.Uint32(head[4:])); left > 0; {
			n, err := r.Read(buffer[:min(left, len(buffer))])
			s.logs.Keep(to, buffer[:n])
			if left -= n; err != nil {
				return err
			}
		}
	}
}

// drained is closed when Docker has nothing more to say.
func (s *streams) drained() <-chan struct{} {
	done := make(chan struct{})
	go func() {
		s.all.Wait()
		close(done)
	}()
	return done
}

func (s *streams) close() {
	s.swap(nil)
	for _, f := range []*os.File{s.stdout, s.stderr} {
		_ = f.Close()
	}
}
