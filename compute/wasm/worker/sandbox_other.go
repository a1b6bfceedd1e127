//go:build !linux && !windows

package worker

import (
	"fmt"
	"os"
	"runtime"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/moyai-network/moyai/compute/wasm/internal/guestfs"
	"github.com/moyai-network/moyai/compute/wasm/internal/job"
)

type walls struct {
	up      []string
	missing []string
}

// confine relies on WebAssembly and guestfs alone and says so.
func confine(job.Load) (walls, error) {
	return walls{missing: []string{"landlock: Linux only", "seccomp: Linux only", "memory: of the program only, not of the process around it"}}, nil
}

func narrow(job.Exec) error { return nil }

var watchdog *time.Timer

// killAfter is best effort here: the runtime's own kill is the deadline.
func killAfter(d time.Duration) error {
	if watchdog != nil {
		watchdog.Stop()
	}
	watchdog = time.AfterFunc(until(d), func() { os.Exit(137) })
	return nil
}

// mapCounters shares the quota's counters with whoever reads the file.
func mapCounters(path string) (*guestfs.Counters, error) {
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	b, err := unix.Mmap(int(f.Fd()), 0, job.Counters, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	if err != nil {
		return nil, fmt.Errorf("map %s: %w", path, err)
	}
	return (*guestfs.Counters)(unsafe.Pointer(&b[0])), nil //nolint:gosec // three aligned words, as job.Counters says
}

// detach turns the pipes to the parent into the worker's log: the parent may go
// now, and a crash of this process leaves its reason behind.
func (t *task) detach() {
	for fd := 0; fd <= 2; fd++ {
		_ = unix.Dup2(int(t.log.Fd()), fd)
	}
}

func usage() (cpu time.Duration, peak uint64) {
	var ru unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_SELF, &ru); err != nil {
		return 0, 0
	}
	peak = uint64(ru.Maxrss)
	if runtime.GOOS != "darwin" { // which counts bytes
		peak <<= 10
	}
	return time.Duration(ru.Utime.Nano() + ru.Stime.Nano()), peak
}
