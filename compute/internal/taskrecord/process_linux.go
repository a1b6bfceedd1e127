package taskrecord

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"sync"

	"golang.org/x/sys/unix"
)

// Identify names a running process.
func Identify(pid int) (Process, error) {
	born, err := bornAt(pid)
	return Process{PID: pid, Born: born, Boot: bootID()}, err
}

// ThisBoot reports that the machine has not started anew since.
func (p Process) ThisBoot() bool { return p.Boot == bootID() }

// Open takes hold of the process by a file descriptor, or returns -1 if it is
// gone.
func (p Process) Open() int {
	if !p.ThisBoot() {
		return -1
	}
	fd, err := unix.PidfdOpen(p.PID, 0)
	if err != nil {
		return -1
	}
	// Checked after opening: what the descriptor names cannot change any more.
	if born, err := bornAt(p.PID); err != nil || born != p.Born {
		unix.Close(fd)
		return -1
	}
	return fd
}

// Await returns when the process that fd names is gone.
func Await(fd int) {
	fds := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}
	for {
		_, err := unix.Poll(fds, -1)
		if !errors.Is(err, unix.EINTR) {
			return
		}
	}
}

// Signal reaches the process that fd names; it is no error if that has ended.
func Signal(fd int, sig unix.Signal) error {
	err := unix.PidfdSendSignal(fd, sig, nil, 0)
	if errors.Is(err, unix.ESRCH) {
		return nil
	}
	return err
}

// Stat is /proc/PID/stat from its third field on: the second is the program's
// name in parentheses and may hold anything. There are at least 20.
func Stat(pid int) ([]string, error) {
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

// bornAt is a process's start in clock ticks since boot.
func bornAt(pid int) (uint64, error) {
	fields, err := Stat(pid)
	if err != nil {
		return 0, err
	}
	if fields[0] == "Z" {
		return 0, fmt.Errorf("process %d has ended", pid)
	}
	return strconv.ParseUint(fields[19], 10, 64)
}

var bootID = sync.OnceValue(func() string {
	b, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(b))
})
