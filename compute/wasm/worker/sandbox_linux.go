package worker

import (
	"fmt"
	"os"
	"path/filepath"
	"syscall"
	"time"
	"unsafe"

	"github.com/landlock-lsm/go-landlock/landlock"
	ll "github.com/landlock-lsm/go-landlock/landlock/syscall"
	"golang.org/x/sys/unix"

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

// confine gives up everything that loading and running do not need. WebAssembly
// itself is the first wall; these are for the day it has a hole. Only limits
// must hold; the rest is reported, and the provider advertises what holds.
func confine(load job.Load) (walls, error) {
	var w walls
	if err := limitProcess(load.Memory + load.Process); err != nil {
		return w, err
	}
	w.add("memory", nil)
	w.add("no-capabilities", dropCapabilities())
	abi, err := ll.LandlockGetABIVersion()
	if err == nil && abi < 1 {
		err = syscall.ENOSYS
	}
	if err == nil {
		err = restrict(abi, loadRules(load, abi))
	}
	w.add("landlock", err)
	if err == nil && abi >= 4 {
		w.add("landlock-net", nil)
	}
	w.add("seccomp", filterSyscalls())
	return w, nil
}

const (
	readFile  = landlock.AccessFSSet(ll.AccessFSReadFile)
	readDir   = readFile | landlock.AccessFSSet(ll.AccessFSReadDir)
	writeTree = readDir | landlock.AccessFSSet(ll.AccessFSWriteFile|ll.AccessFSTruncate|ll.AccessFSRemoveDir|
		ll.AccessFSRemoveFile|ll.AccessFSMakeDir|ll.AccessFSMakeReg)
)

func loadRules(load job.Load, abi int) []landlock.Rule {
	if load.Compile {
		return []landlock.Rule{landlock.PathAccess(readFile, load.Module), tree(abi, load.Cache)}
	}
	rules := []landlock.Rule{landlock.PathAccess(readDir, load.Cache), tree(abi, load.Dir)}
	return append(rules, inputRules(load.Inputs)...)
}

// narrow leaves the task its inputs and its writable directories.
func narrow(exec job.Exec) error {
	limit := max(exec.OutputBytes, exec.LogBytes) + 1<<20 // per file; the quota is exact and in all
	if err := unix.Setrlimit(unix.RLIMIT_FSIZE, &unix.Rlimit{Cur: limit, Max: limit}); err != nil {
		return fmt.Errorf("limit file size: %w", err)
	}
	abi, err := ll.LandlockGetABIVersion()
	if err != nil || abi < 1 {
		return nil //nolint:nilerr // reported by confine
	}
	rules := inputRules(exec.Inputs)
	for _, dir := range []string{guestfs.OutDir, guestfs.TmpDir} {
		rules = append(rules, tree(abi, filepath.Join(exec.Dir, dir)))
	}
	return restrict(abi, rules)
}

func inputRules(inputs []job.Input) []landlock.Rule {
	var rules []landlock.Rule
	for _, in := range inputs {
		access := readFile
		if info, err := os.Stat(in.Path); err == nil && info.IsDir() {
			access = readDir
		}
		rules = append(rules, landlock.PathAccess(access, in.Path))
	}
	return rules
}

func tree(abi int, dir string) landlock.Rule {
	rule := landlock.PathAccess(writeTree, dir)
	if abi >= 2 {
		return rule.WithRefer() // renames between directories; older kernels refuse them
	}
	return rule
}

// restrict forbids every path, port, signal and abstract socket but the rules'.
func restrict(_ int, rules []landlock.Rule) error {
	return landlock.V11.BestEffort().Restrict(rules...)
}

// limitProcess bounds what a hostile module can make its host allocate: tables,
// compiled code, buffers. RLIMIT_AS would count address space that Go and the
// guest's memory merely reserve; RLIMIT_DATA counts what can be written.
func limitProcess(memory uint64) error {
	for _, l := range []struct {
		name  string
		which int
		value uint64
	}{
		{"memory", unix.RLIMIT_DATA, memory},
		{"core size", unix.RLIMIT_CORE, 0},
		{"open files", unix.RLIMIT_NOFILE, 1024},
	} {
		var old unix.Rlimit
		if err := unix.Getrlimit(l.which, &old); err != nil {
			return fmt.Errorf("read limit of %s: %w", l.name, err)
		}
		value := min(l.value, old.Max)
		if err := unix.Setrlimit(l.which, &unix.Rlimit{Cur: value, Max: value}); err != nil {
			return fmt.Errorf("limit %s: %w", l.name, err)
		}
	}
	return nil
}

// dropCapabilities matters where a provider runs as root: the worker keeps the
// user id, to own its files, and none of its powers.
func dropCapabilities() error {
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var data [2]unix.CapUserData
	if _, _, errno := syscall.AllThreadsSyscall(unix.SYS_CAPSET,
		uintptr(unsafe.Pointer(&header)), uintptr(unsafe.Pointer(&data[0])), 0); errno != 0 { //nolint:gosec // the kernel takes addresses
		return fmt.Errorf("drop capabilities: %w", errno)
	}
	return nil
}

// watchdog is the kernel timer that ends this process; zero until armed.
var watchdog struct {
	armed bool
	id    int32
}

// killAfter has the kernel end this process in d. No goroutine could: while
// compiled code runs, Go's scheduler may be waiting for it to stop.
func killAfter(d time.Duration) error {
	if !watchdog.armed {
		event := sigevent{Signo: int32(unix.SIGKILL), Notify: sigevSignal}
		if _, _, errno := unix.RawSyscall(unix.SYS_TIMER_CREATE, unix.CLOCK_MONOTONIC,
			uintptr(unsafe.Pointer(&event)), uintptr(unsafe.Pointer(&watchdog.id))); errno != 0 { //nolint:gosec // as above
			return fmt.Errorf("arm the watchdog: %w", errno)
		}
		watchdog.armed = true
	}
	spec := unix.ItimerSpec{Value: unix.NsecToTimespec(int64(until(d)))}
	if _, _, errno := unix.RawSyscall6(unix.SYS_TIMER_SETTIME, uintptr(watchdog.id), 0,
		uintptr(unsafe.Pointer(&spec)), 0, 0, 0); errno != 0 { //nolint:gosec // as above
		return fmt.Errorf("arm the watchdog: %w", errno)
	}
	return nil
}

// sigevent is struct sigevent of 64-bit Linux.
type sigevent struct {
	Value  uint64
	Signo  int32
	Notify int32
	_      [48]byte
}

const sigevSignal = 0

// detach turns the pipes to the parent into the worker's log: the parent may go
// now, and a crash of this process leaves its reason behind.
func (t *task) detach() {
	for fd := 0; fd <= 2; fd++ {
		_ = unix.Dup3(int(t.log.Fd()), fd, 0)
	}
}
