package taskrecord

import (
	"time"
	"unsafe"

	"golang.org/x/sys/windows"
)

// Identify names a running process.
func Identify(pid int) (Process, error) {
	h, err := windows.OpenProcess(windows.PROCESS_QUERY_LIMITED_INFORMATION, false, uint32(pid))
	if err != nil {
		return Process{}, err
	}
	defer windows.CloseHandle(h)
	born, err := bornAt(h)
	// Born is a time of day, so no two boots have it in common.
	return Process{PID: pid, Born: born}, err
}

// Open takes hold of the process by a handle, or returns 0 if it is gone.
func (p Process) Open() windows.Handle {
	const access = windows.PROCESS_QUERY_LIMITED_INFORMATION | windows.PROCESS_TERMINATE | windows.SYNCHRONIZE
	h, err := windows.OpenProcess(access, false, uint32(p.PID))
	if err != nil {
		return 0
	}
	// Checked after opening: what the handle names cannot change any more. A process
	// that has ended is there while anybody holds it.
	born, err := bornAt(h)
	if ended, _ := windows.WaitForSingleObject(h, 0); err != nil || born != p.Born || ended == windows.WAIT_OBJECT_0 {
		_ = windows.CloseHandle(h)
		return 0
	}
	return h
}

// bornAt is a process's start in 100 ns since 1601.
func bornAt(h windows.Handle) (uint64, error) {
	var born, gone, kernel, user windows.Filetime
	if err := windows.GetProcessTimes(h, &born, &gone, &kernel, &user); err != nil {
		return 0, err
	}
	return ticks(born), nil
}

func ticks(t windows.Filetime) uint64 { return uint64(t.HighDateTime)<<32 | uint64(t.LowDateTime) }

// Usage is the processor time a process has had, and the most memory it held.
func Usage(h windows.Handle) (cpu time.Duration, peak uint64) {
	var born, gone, kernel, user windows.Filetime
	if err := windows.GetProcessTimes(h, &born, &gone, &kernel, &user); err == nil {
		cpu = time.Duration(ticks(kernel)+ticks(user)) * 100
	}
	var c memoryCounters
	c.size = uint32(unsafe.Sizeof(c))
	if ok, _, _ := getProcessMemoryInfo.Call(uintptr(h), uintptr(unsafe.Pointer(&c)), uintptr(c.size)); ok == 0 {
		return cpu, 0
	}
	return cpu, uint64(c.peakWorkingSet)
}

// memoryCounters is PROCESS_MEMORY_COUNTERS.
type memoryCounters struct {
	size           uint32
	faults         uint32
	peakWorkingSet uintptr
	_              [7]uintptr
}

var getProcessMemoryInfo = windows.NewLazySystemDLL("kernel32.dll").NewProc("K32GetProcessMemoryInfo")
