package wasm

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
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
	if s.Boot != bootID() {
		return absent{}
	}
	fd, err := unix.PidfdOpen(s.PID, 0)
	if err != nil {
		return absent{}
	}
	// Checked after opening: what the descriptor names cannot change any more.
	if born, err := bornAt(s.PID); err != nil || born != s.Born {
		unix.Close(fd)
		return absent{}
	}
	return &orphan{pid: s.PID, fd: fd}
}

func (o *orphan) wait() ended {
	fds := []unix.PollFd{{Fd: int32(o.fd), Events: unix.POLLIN}}
	for {
		_, err := unix.Poll(fds, -1)
		if !errors.Is(err, unix.EINTR) {
			break
		}
	}
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
	err := unix.PidfdSendSignal(o.fd, unix.SIGKILL, nil, 0)
	if errors.Is(err, unix.ESRCH) {
		return nil
	}
	return err
}

func (o *orphan) sample() (cpu time.Duration, peak uint64) { return usageOf(o.pid) }

// statFields returns /proc/<pid>/stat from its third field on: the second is
// the program's name in parentheses and may hold anything.
func statFields(pid int) ([]string, error) {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return nil, err
	}
	i := bytes.LastIndexByte(b, ')')
	fields := strings.Fields(string(b[i+1:]))
	if i < 0 || len(fields) < 20 {
		return nil, fmt.Errorf("/proc/%d/stat is malformed", pid)
	}
	return fields, nil
}

// bornAt is the process's start in clock ticks since boot.
func bornAt(pid int) (uint64, error) {
	fields, err := statFields(pid)
	if err != nil {
		return 0, err
	}
	if fields[0] == "Z" {
		return 0, fmt.Errorf("process %d has ended", pid)
	}
	return strconv.ParseUint(fields[19], 10, 64)
}

// ticksPerSecond is what Linux reports on every architecture Go runs on.
const ticksPerSecond = 100

func usageOf(pid int) (cpu time.Duration, peak uint64) {
	if fields, err := statFields(pid); err == nil {
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

var bootID = sync.OnceValue(func() string {
	b, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(b))
})

func peakOf(s *os.ProcessState) uint64 {
	if ru, ok := s.SysUsage().(*syscall.Rusage); ok {
		return uint64(ru.Maxrss) << 10
	}
	return 0
}
