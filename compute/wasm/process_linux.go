package wasm

import (
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/moyai-network/moyai/compute/internal/taskrecord"
)

// detach gives the worker a session of its own: neither a terminal's signals
// nor the end of this process reach it.
func detach(cmd *exec.Cmd) { cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true} }

// orphan is a worker that another process started and left behind. The pid file
// descriptor names it for good, even if its number is given to another.
type orphan struct {
	pid int
	fd  int

	mu   sync.Mutex
	gone bool // fd is closed
}

// findOrphan returns the process of s if it still runs.
func findOrphan(s *state) process {
	fd := s.Open()
	if fd < 0 {
		return absent{}
	}
	return &orphan{pid: s.PID, fd: fd}
}

func (o *orphan) wait() ended {
	taskrecord.Await(o.fd)
	o.mu.Lock()
	defer o.mu.Unlock()
	o.gone = true
	unix.Close(o.fd)
	return ended{}
}

func (o *orphan) kill() error {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.gone {
		return nil
	}
	return taskrecord.Signal(o.fd, unix.SIGKILL)
}

func (o *orphan) sample() (cpu time.Duration, peak uint64) { return usageOf(o.pid) }

// ticksPerSecond is what Linux reports on every architecture Go runs on.
const ticksPerSecond = 100

func usageOf(pid int) (cpu time.Duration, peak uint64) {
	if fields, err := taskrecord.Stat(pid); err == nil {
		user, _ := strconv.ParseInt(fields[11], 10, 64)
		system, _ := strconv.ParseInt(fields[12], 10, 64)
		cpu = time.Duration(user+system) * time.Second / ticksPerSecond
	}
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return cpu, 0
	}
	for line := range strings.Lines(string(b)) {
		if rest, ok := strings.CutPrefix(line, "VmHWM:"); ok {
			kib, _ := strconv.ParseUint(strings.TrimSuffix(strings.TrimSpace(rest), " kB"), 10, 64)
			return cpu, kib << 10
		}
	}
	return cpu, 0
}

func peakOf(s *os.ProcessState) uint64 {
	if ru, ok := s.SysUsage().(*syscall.Rusage); ok {
		return uint64(ru.Maxrss) << 10
	}
	return 0
}
