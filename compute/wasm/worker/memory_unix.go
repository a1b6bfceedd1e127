//go:build unix

package worker

import "golang.org/x/sys/unix"

// reserveMemory takes address space that nothing stands behind yet.
func reserveMemory(size int) ([]byte, error) {
	region, err := unix.Mmap(-1, 0, size, unix.PROT_NONE, unix.MAP_PRIVATE|unix.MAP_ANON|noReserve)
	if err == nil {
		adviseHuge(region)
	}
	return region, err
}

// useMemory makes a part of it usable.
func useMemory(part []byte) error { return unix.Mprotect(part, unix.PROT_READ|unix.PROT_WRITE) }
