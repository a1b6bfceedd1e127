//go:build !linux && !windows

package devnet

import (
	"os"
	"syscall"
)

// childAttr: without a parent-death signal, children outlive a devnet that is
// killed; one that is stopped ends them.
func childAttr() *syscall.SysProcAttr { return &syscall.SysProcAttr{} }

func signalGroup(p *os.Process, sig syscall.Signal) error { return p.Signal(sig) }
