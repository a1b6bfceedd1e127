package journal

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/moyai-network/moyai/internal/flock"
)

// ErrLocked: another process holds the lock.
var ErrLocked = errors.New("held by another process")

// Lock is one process's right to attend to a job. The kernel releases it when
// the process dies, however it dies.
type Lock struct{ f *os.File }

// LockJob takes the job's lock without waiting, or returns ErrLocked.
func (j *Journal) LockJob(job []byte) (*Lock, error) {
	dir := filepath.Join(filepath.Dir(j.path), "jobs")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("lock job: %w", err)
	}
	f, err := os.OpenFile(filepath.Join(dir, JobName(job)+".lock"), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fmt.Errorf("lock job: %w", err)
	}
	if err := flock.Try(f); err != nil {
		_ = f.Close()
		if errors.Is(err, flock.ErrHeld) {
			return nil, fmt.Errorf("job %s: %w", JobName(job), ErrLocked)
		}
		return nil, fmt.Errorf("lock job: %w", err)
	}
	return &Lock{f}, nil
}

// Unlock gives the right back. The file stays: removing it would let two
// processes lock two files of one name.
func (l *Lock) Unlock() { _ = l.f.Close() }
