package wasm

import (
	"errors"
	"os"
	"os/exec"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// detach gives the worker a session of its own: neither a terminal's signals nor
// the end of this process reach it.
func detach(cmd *exec.Cmd) { cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true} }

// orphan is a worker that another process started and left behind. Nothing holds a
// process that is not a child here, so its start is compared before each use.
type orphan struct{ s *state }

// findOrphan returns the process of s if it still runs.
func findOrphan(s *state) process {
	if !s.Lives() {
		return absent{}
	}
	return orphan{s}
}

// wait looks again and again: the parent is another process.
func (o orphan) wait() ended {
	const pause = 50 * time.Millisecond
	for o.s.Lives() {
		time.Sleep(pause)
	}
	return ended{}
}

func (o orphan) kill() error {
	if !o.s.Lives() {
		return nil
	}
	err := unix.Kill(o.s.PID, unix.SIGKILL)
	if errors.Is(err, unix.ESRCH) {
		return nil
	}
	return err
}

func (orphan) sample() (cpu time.Duration, peak uint64) { return 0, 0 }

// usageOf: what another process has used is not told here; its own account is.
func usageOf(int) (cpu time.Duration, peak uint64) { return 0, 0 }

func peakOf(s *os.ProcessState) uint64 {
	if ru, ok := s.SysUsage().(*syscall.Rusage); ok {
		return uint64(ru.Maxrss) // bytes
	}
	return 0
}
