package wasm

import (
	"os"
	"os/exec"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/windows"

	"github.com/moyai-network/moyai/compute/internal/taskrecord"
)

// detach keeps a console's Ctrl-C, and its closing, from the worker, which has no
// window. That it outlives this process needs nothing here.
func detach(cmd *exec.Cmd) {
	cmd.SysProcAttr = &syscall.SysProcAttr{CreationFlags: windows.CREATE_NEW_PROCESS_GROUP | windows.DETACHED_PROCESS}
}

// orphan is a worker that another process started and left behind. The handle names
// it for good, even if its number is given to another.
type orphan struct {
	handle windows.Handle

	mu   sync.Mutex
	gone bool // handle is closed
}

// findOrphan returns the process of s if it still runs.
func findOrphan(s *state) process {
	h := s.Open()
	if h == 0 {
		return absent{}
	}
	return &orphan{handle: h}
}

func (o *orphan) wait() ended {
	_, _ = windows.WaitForSingleObject(o.handle, windows.INFINITE)
	o.mu.Lock()
	defer o.mu.Unlock()
	o.gone = true
	_ = windows.CloseHandle(o.handle)
	return ended{}
}

// killedCode is the exit code of who is killed: what a shell shows for SIGKILL.
const killedCode = 137

func (o *orphan) kill() error {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.gone {
		return nil
	}
	err := windows.TerminateProcess(o.handle, killedCode)
	if ended, _ := windows.WaitForSingleObject(o.handle, 0); ended == windows.WAIT_OBJECT_0 {
		return nil
	}
	return err
}

func (o *orphan) sample() (cpu time.Duration, peak uint64) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.gone {
		return 0, 0
	}
	return taskrecord.Usage(o.handle)
}

func usageOf(pid int) (cpu time.Duration, peak uint64) {
	h, err := windows.OpenProcess(windows.PROCESS_QUERY_LIMITED_INFORMATION, false, uint32(pid))
	if err != nil {
		return 0, 0
	}
	defer windows.CloseHandle(h)
	return taskrecord.Usage(h)
}

// peakOf: nothing is kept of a process that has ended; its own account says it.
func peakOf(*os.ProcessState) uint64 { return 0 }
