package seccomp

import "golang.org/x/sys/unix"

const auditArch = unix.AUDIT_ARCH_X86_64

// Calls that only this architecture has.
func init() {
	Never = append(Never, unix.SYS_FORK, unix.SYS_VFORK, unix.SYS_LINK, unix.SYS_SYMLINK, unix.SYS_MKNOD)
}
