package worker

import (
	"errors"
	"fmt"
	"math"
	"os"
	"time"
	"unsafe"

	"golang.org/x/sys/windows"

	"github.com/moyai-network/moyai/compute/internal/taskrecord"
	"github.com/moyai-network/moyai/compute/wasm/internal/guestfs"
	"github.com/moyai-network/moyai/compute/wasm/internal/job"
)

// walls says which layers of the sandbox hold.
type walls struct {
	up      []string
	missing []string
}

func (w *walls) add(name string, err error) {
	if err != nil {
		w.missing = append(w.missing, fmt.Sprintf("%s: %v", name, err))
		return
	}
	w.up = append(w.up, name)
}

// confine puts this process into a job object of its own. WebAssembly and guestfs
// are what keeps the guest from the machine; there is no second wall before files
// and system calls as Linux has it, and that is said.
func confine(load job.Load) (walls, error) {
	w := walls{missing: []string{"landlock: Linux only", "seccomp: Linux only"}}
	limit := load.Memory + load.Process
	err := enclose(limit)
	if err == nil {
		err = tryMemory(limit)
	}
	w.add("memory", err)
	w.add("no-children", err) // the same job holds both
	return w, nil
}

// enclose limits what this process may commit, and how many it may be: one. The job
// has no name and is never closed, so it lives as long as the process.
func enclose(memory uint64) error {
	h, err := windows.CreateJobObject(nil, nil)
	if err != nil {
		return fmt.Errorf("make a job object: %w", err)
	}
	limits := windows.JOBOBJECT_EXTENDED_LIMIT_INFORMATION{
		BasicLimitInformation: windows.JOBOBJECT_BASIC_LIMIT_INFORMATION{
			LimitFlags: windows.JOB_OBJECT_LIMIT_PROCESS_MEMORY | windows.JOB_OBJECT_LIMIT_ACTIVE_PROCESS |
				windows.JOB_OBJECT_LIMIT_DIE_ON_UNHANDLED_EXCEPTION,
			ActiveProcessLimit: 1,
		},
		ProcessMemoryLimit: uintptr(memory),
	}
	_, err = windows.SetInformationJobObject(h, windows.JobObjectExtendedLimitInformation,
		uintptr(unsafe.Pointer(&limits)), uint32(unsafe.Sizeof(limits)))
	if err == nil {
		err = windows.AssignProcessToJobObject(h, windows.CurrentProcess())
	}
	if err != nil {
		_ = windows.CloseHandle(h)
		return fmt.Errorf("limit the job object: %w", err)
	}
	return nil
}

// tryMemory asks for all of the limit and more: what is advertised has been tried.
func tryMemory(limit uint64) error {
	addr, err := windows.VirtualAlloc(0, uintptr(limit), windows.MEM_COMMIT|windows.MEM_RESERVE, windows.PAGE_READWRITE)
	if err != nil {
		return nil //nolint:nilerr // it was refused, as it should be
	}
	_ = windows.VirtualFree(addr, 0, windows.MEM_RELEASE)
	return errors.New("this system does not hold the limit of a job object")
}

// narrow: there is nothing that could be given up between loading and running.
func narrow(job.Exec) error { return nil }

var (
	kernel32    = windows.NewLazySystemDLL("kernel32.dll")
	createTimer = kernel32.NewProc("CreateTimerQueueTimer")
	changeTimer = kernel32.NewProc("ChangeTimerQueueTimer")
	exitProcess = kernel32.NewProc("ExitProcess")
)

// watchdog is the system's timer that ends this process; zero until armed.
var watchdog windows.Handle

// killAfter has a thread of the system's end this process in d, by calling
// ExitProcess itself. No goroutine could: while compiled code runs, Go's scheduler
// may be waiting for it to stop.
func killAfter(d time.Duration) error {
	const (
		inTimerThread = 0x20
		once          = 0x8
		killed        = 137
	)
	ms := uintptr(min(until(d).Milliseconds()+1, math.MaxUint32-1))
	var ok uintptr
	var err error
	if watchdog == 0 {
		ok, _, err = createTimer.Call(uintptr(unsafe.Pointer(&watchdog)), 0, exitProcess.Addr(), killed, ms, 0, inTimerThread|once)
	} else {
		ok, _, err = changeTimer.Call(0, uintptr(watchdog), ms, 0)
	}
	if ok == 0 {
		return fmt.Errorf("arm the watchdog: %w", err)
	}
	return nil
}

// mapCounters shares the quota's counters with whoever reads the file.
func mapCounters(path string) (*guestfs.Counters, error) {
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	h, err := windows.CreateFileMapping(windows.Handle(f.Fd()), nil, windows.PAGE_READWRITE, 0, job.Counters, nil)
	if err != nil {
		return nil, fmt.Errorf("map %s: %w", path, err)
	}
	defer windows.CloseHandle(h) // the view keeps it
	addr, err := windows.MapViewOfFile(h, windows.FILE_MAP_READ|windows.FILE_MAP_WRITE, 0, 0, job.Counters)
	if err != nil {
		return nil, fmt.Errorf("map %s: %w", path, err)
	}
	//nolint:gosec,govet // three aligned words that no garbage collector knows, as job.Counters says
	return *(**guestfs.Counters)(unsafe.Pointer(&addr)), nil
}

// detach turns the pipe to the parent into the worker's log: a crash of this process
// leaves its reason behind. Go's runtime asks for the handle each time.
func (t *task) detach() {
	_ = windows.SetStdHandle(windows.STD_ERROR_HANDLE, windows.Handle(t.log.Fd()))
}

func usage() (cpu time.Duration, peak uint64) { return taskrecord.Usage(windows.CurrentProcess()) }
