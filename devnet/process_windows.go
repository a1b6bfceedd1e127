package devnet

import (
	"os"
	"syscall"

	"golang.org/x/sys/windows"
)

// childAttr: a group of its own can be asked to end without ending this process.
// Without a parent-death signal, children outlive a devnet that is killed.
func childAttr() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{CreationFlags: windows.CREATE_NEW_PROCESS_GROUP}
}

// signalGroup asks with what a console sends for Ctrl-Break, which Go programs take
// for an interrupt, and else ends the process.
func signalGroup(p *os.Process, sig syscall.Signal) error {
	if sig != syscall.SIGKILL && windows.GenerateConsoleCtrlEvent(windows.CTRL_BREAK_EVENT, uint32(p.Pid)) == nil {
		return nil
	}
	return p.Kill()
}
