package main

import (
	"bytes"
	"fmt"
	"os"
	"runtime"
	"strconv"
	"strings"
	"syscall"

	"github.com/moyai-network/moyai/provider"
)

// discover finds what this machine can lend from where it stands: a container's
// limits count, not the host's hardware. memory is what its owner chose, or 0.
func discover(home string, memory uint64) (provider.Capacity, error) {
	var fs syscall.Statfs_t
	if err := syscall.Statfs(home, &fs); err != nil {
		return provider.Capacity{}, fmt.Errorf("disk space of %s: %w", home, err)
	}
	if memory == 0 {
		free, err := freeMemory()
		if err != nil {
			return provider.Capacity{}, err
		}
		memory = free / 4 * 3
	}
	return provider.Capacity{
		// Go's default already follows affinity and cgroup quotas.
		CPUMilli:     uint64(runtime.GOMAXPROCS(0)) * 1000,
		MemoryBytes:  memory,
		StorageBytes: uint64(fs.Bsize) * fs.Bavail / 2,
	}, nil
}

// freeMemory is what could be used without swapping, within the cgroup.
func freeMemory() (uint64, error) {
	raw, err := os.ReadFile("/proc/meminfo")
	if err != nil {
		return 0, withHint(fmt.Errorf("cannot tell how much memory there is: %w", err), "say it with --memory, such as --memory 4Gi")
	}
	free := meminfo(raw, "MemAvailable:")
	if free == 0 {
		return 0, withHint(fmt.Errorf("/proc/meminfo does not tell how much memory is available"), "say it with --memory, such as --memory 4Gi")
	}
	for _, path := range []string{"/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"} {
		text, err := os.ReadFile(path)
		if err != nil {
			continue
		}
		// "max" does not parse and means no limit, as huge numbers do.
		if limit, err := strconv.ParseUint(strings.TrimSpace(string(text)), 10, 64); err == nil && limit < free {
			free = limit
		}
	}
	return free, nil
}

func meminfo(raw []byte, field string) uint64 {
	for line := range bytes.Lines(raw) {
		words := bytes.Fields(line)
		if len(words) >= 2 && string(words[0]) == field {
			kib, err := strconv.ParseUint(string(words[1]), 10, 64)
			if err != nil {
				return 0
			}
			return kib << 10
		}
	}
	return 0
}
