package wasm

import (
	"errors"
	"os"
	"syscall"
	"time"
)

// child is a process this one started.
type child struct{ w *worker }

func (c child) wait() ended {
	<-c.w.done
	s := c.w.cmd.ProcessState
	return ended{seen: true, how: s.String(), cpu: s.UserTime() + s.SystemTime(), peak: peakOf(s)}
}

func (c child) kill() error {
	err := c.w.cmd.Process.Kill()
	if errors.Is(err, os.ErrProcessDone) || errors.Is(err, syscall.EINVAL) { // on Windows, of who has been waited for
		return nil
	}
	return err
}

func (c child) sample() (cpu time.Duration, peak uint64) { return usageOf(c.w.cmd.Process.Pid) }

// absent is a process that is no more.
type absent struct{}

func (absent) wait() ended                              { return ended{} }
func (absent) kill() error                              { return nil }
func (absent) sample() (cpu time.Duration, peak uint64) { return 0, 0 }
