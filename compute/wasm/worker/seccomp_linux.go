package worker

import (
	"golang.org/x/sys/unix"

	"github.com/moyai-network/moyai/compute/internal/seccomp"
)

// sockets are what a worker has no business with beside what no child of ours
// has; Landlock holds the files.
var sockets = []uint32{
	unix.SYS_SOCKET, unix.SYS_SOCKETPAIR, unix.SYS_CONNECT, unix.SYS_BIND, unix.SYS_LISTEN,
	unix.SYS_ACCEPT, unix.SYS_ACCEPT4, unix.SYS_SENDTO, unix.SYS_SENDMSG, unix.SYS_SENDMMSG,
	unix.SYS_RECVMSG, unix.SYS_RECVMMSG,
}

// filterSyscalls installs the filter on every thread of the process.
func filterSyscalls() error { return seccomp.Deny(append(sockets, seccomp.Never...)) }
