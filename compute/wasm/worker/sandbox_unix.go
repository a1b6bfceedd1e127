//go:build !windows

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
