package load

import "syscall"

// childAttr gives the child a process group of its own, so that Ctrl-C reaches
// only us and we end it in order, and ties its life to ours.
func childAttr() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
}
