//go:build !linux

package load

import "syscall"

// childAttr gives the child a process group of its own, so that Ctrl-C reaches
// only us and we end it in order.
func childAttr() *syscall.SysProcAttr { return &syscall.SysProcAttr{Setpgid: true} }
