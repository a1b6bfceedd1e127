package taskrecord

import (
	"fmt"

	"golang.org/x/sys/unix"
)

// Identify names a running process.
func Identify(pid int) (Process, error) {
	info, err := unix.SysctlKinfoProc("kern.proc.pid", pid)
	if err != nil {
		return Process{}, err
	}
	if int(info.Proc.P_pid) != pid {
		return Process{}, fmt.Errorf("process %d has ended", pid)
	}
	// Born is a time of day in microseconds, so no two boots have it in common.
	born := info.Proc.P_starttime
	return Process{PID: pid, Born: uint64(born.Sec)*1e6 + uint64(born.Usec)}, nil
}

// zombie is a process that has ended and that nobody has asked about (SZOMB).
const zombie = 5

// Lives reports that the process has not ended.
func (p Process) Lives() bool {
	info, err := unix.SysctlKinfoProc("kern.proc.pid", p.PID)
	if err != nil || info.Proc.P_stat == zombie {
		return false
	}
	now, err := Identify(p.PID)
	return err == nil && now == p
}
