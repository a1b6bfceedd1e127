// Package seccomp takes system calls away from a process of ours that reads what
// strangers wrote: the wall for the day that its code has a hole. It forbids
// rather than allows, because Go's runtime changes what it calls between releases
// and kernels. Containers have a filter of their own, which runc installs.
package seccomp

import (
	"fmt"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Never are calls that no child of ours makes once it has begun: other programs,
// other processes, other namespaces, other users, and the kernel's larger attack
// surfaces.
var Never = []uint32{
	unix.SYS_EXECVE, unix.SYS_EXECVEAT, unix.SYS_CLONE3,
	unix.SYS_PTRACE, unix.SYS_PROCESS_VM_READV, unix.SYS_PROCESS_VM_WRITEV, unix.SYS_PIDFD_GETFD, unix.SYS_KCMP,
	unix.SYS_UNSHARE, unix.SYS_SETNS, unix.SYS_MOUNT, unix.SYS_UMOUNT2, unix.SYS_PIVOT_ROOT, unix.SYS_CHROOT,
	unix.SYS_OPEN_TREE, unix.SYS_MOVE_MOUNT, unix.SYS_FSOPEN, unix.SYS_FSMOUNT, unix.SYS_MOUNT_SETATTR,
	unix.SYS_BPF, unix.SYS_PERF_EVENT_OPEN, unix.SYS_USERFAULTFD, unix.SYS_KEYCTL, unix.SYS_ADD_KEY, unix.SYS_REQUEST_KEY,
	unix.SYS_IO_URING_SETUP, unix.SYS_IO_URING_ENTER, unix.SYS_IO_URING_REGISTER,
	unix.SYS_INIT_MODULE, unix.SYS_FINIT_MODULE, unix.SYS_DELETE_MODULE, unix.SYS_KEXEC_LOAD, unix.SYS_REBOOT,
	unix.SYS_SWAPON, unix.SYS_SWAPOFF, unix.SYS_SETTIMEOFDAY, unix.SYS_CLOCK_SETTIME, unix.SYS_ADJTIMEX,
	unix.SYS_MKNODAT, unix.SYS_LINKAT, unix.SYS_SYMLINKAT, unix.SYS_OPEN_BY_HANDLE_AT, unix.SYS_NAME_TO_HANDLE_AT,
	unix.SYS_SETUID, unix.SYS_SETGID, unix.SYS_SETREUID, unix.SYS_SETREGID, unix.SYS_SETRESUID, unix.SYS_SETRESGID,
	unix.SYS_SETGROUPS, unix.SYS_SETXATTR, unix.SYS_FSETXATTR, unix.SYS_LSETXATTR, unix.SYS_MEMFD_CREATE,
	unix.SYS_SHMGET, unix.SYS_MSGGET, unix.SYS_SEMGET, unix.SYS_MQ_OPEN, unix.SYS_FANOTIFY_INIT, unix.SYS_INOTIFY_INIT1,
}

// Offsets in struct seccomp_data (little-endian machines).
const (
	offNumber = 0
	offArch   = 4
	offArg0   = 16
)

// Deny has the kernel refuse the listed calls to every thread of the process, for
// good, and new processes with them.
func Deny(denied []uint32) error {
	if auditArch == 0 {
		return fmt.Errorf("no filter for this processor")
	}
	program := filter(denied)
	if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
		return fmt.Errorf("no new privileges: %w", err)
	}
	fprog := unix.SockFprog{Len: uint16(len(program)), Filter: &program[0]}
	// SPEC_ALLOW: older kernels would otherwise slow all memory access down to
	// guard secrets in this process, and it holds none.
	const flags = unix.SECCOMP_FILTER_FLAG_TSYNC | unix.SECCOMP_FILTER_FLAG_SPEC_ALLOW
	r, _, errno := unix.Syscall(unix.SYS_SECCOMP, unix.SECCOMP_SET_MODE_FILTER, flags, uintptr(unsafe.Pointer(&fprog))) //nolint:gosec // the kernel takes addresses
	if errno != 0 {
		return fmt.Errorf("install the filter: %w", errno)
	}
	if r != 0 {
		return fmt.Errorf("install the filter: thread %d cannot take it", r)
	}
	return nil
}

// filter assembles the BPF program: foreign architectures die, listed calls and
// new processes are refused, the rest passes.
func filter(denied []uint32) []unix.SockFilter {
	const (
		load  = unix.BPF_LD | unix.BPF_W | unix.BPF_ABS
		equal = unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K
		bits  = unix.BPF_JMP | unix.BPF_JSET | unix.BPF_K
		above = unix.BPF_JMP | unix.BPF_JGE | unix.BPF_K
		ret   = unix.BPF_RET | unix.BPF_K
	)
	refuse := unix.SockFilter{Code: ret, K: unix.SECCOMP_RET_ERRNO | uint32(unix.EPERM)}
	allow := unix.SockFilter{Code: ret, K: unix.SECCOMP_RET_ALLOW}
	p := []unix.SockFilter{
		{Code: load, K: offArch},
		{Code: equal, K: auditArch, Jt: 1},
		{Code: ret, K: unix.SECCOMP_RET_KILL_PROCESS},
		{Code: load, K: offNumber},
		// Numbers from here on are x86's x32 calls, which would bypass the list.
		{Code: above, K: 0x40000000, Jf: 1},
		refuse,
		// Go makes threads by clone; anything that is no thread is refused.
		{Code: equal, K: unix.SYS_CLONE, Jf: 4},
		{Code: load, K: offArg0},
		{Code: bits, K: unix.CLONE_THREAD, Jf: 1},
		allow,
		refuse,
	}
	for _, nr := range denied {
		p = append(p, unix.SockFilter{Code: equal, K: nr, Jf: 1}, refuse)
	}
	return append(p, allow)
}
