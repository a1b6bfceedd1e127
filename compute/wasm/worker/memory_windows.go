package worker

import (
	"unsafe"

	"golang.org/x/sys/windows"
)

// reserveMemory takes address space that nothing stands behind yet, and that counts
// for no limit.
func reserveMemory(size int) ([]byte, error) {
	addr, err := windows.VirtualAlloc(0, uintptr(size), windows.MEM_RESERVE, windows.PAGE_NOACCESS)
	if err != nil {
		return nil, err
	}
	//nolint:gosec,govet // memory that no garbage collector knows
	return unsafe.Slice(*(**byte)(unsafe.Pointer(&addr)), size), nil
}

// useMemory makes a part of it usable.
func useMemory(part []byte) error {
	_, err := windows.VirtualAlloc(uintptr(unsafe.Pointer(&part[0])), uintptr(len(part)), windows.MEM_COMMIT, windows.PAGE_READWRITE)
	return err
}
