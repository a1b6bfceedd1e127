package account

import (
	"fmt"
	"syscall"

	"github.com/moyai-network/moyai/compute"
	"github.com/moyai-network/moyai/compute/internal/outdir"
)

// End is how a container went, as it was seen from outside.
type End struct {
	// Status is that of its first process. What killed it may have been us.
	Status syscall.WaitStatus
	// Refused says why its program cannot be executed; empty if it could.
	Refused string
	// Why is what we killed it for, if we did; Asked that it was asked to end.
	Why   compute.Reason
	Asked bool
	// LogsOver: it said more than is kept. Out is what it left.
	LogsOver bool
	Out      outdir.Used
	// OutOfMemory: its own limit was in the way. DiskFull: the machine's disk.
	OutOfMemory, DiskFull bool
	// Broke: the sandbox's own kernel gave up. CutOff says in whose stead we killed
	// it for ReasonCrashed.
	Broke  bool
	CutOff string
}

// Fatal and more is what shells answer for a program that a signal ended.
const Fatal = 128

// NotFound is what shells and container engines answer for a program that is not
// there.
const NotFound = 127

// Judge decides the reason. What the container did by itself comes before what we
// did to it, and a limit it broke before how it broke. Usage is left to the caller.
func Judge(l compute.Limits, end End) Final {
	logsOver := end.LogsOver && !l.TruncateLogs
	byItself := end.Status.Exited()
	code := -1
	if byItself {
		code = end.Status.ExitStatus()
	}
	failed := code != 0
	// The largest file a program may write is as large as all of them together.
	brim := failed && end.Out.Bytes >= l.OutputBytes || end.Status.Signal() == syscall.SIGXFSZ || code == Fatal+int(syscall.SIGXFSZ)
	over := end.Out.Over(outdir.Limits{Bytes: l.OutputBytes, Files: l.OutputFiles}, 0)
	final := func(why compute.Reason, code int, format string, args ...any) Final {
		return Final{Reason: why.String(), ExitCode: code, Message: fmt.Sprintf(format, args...)}
	}
	switch killed := !byItself && end.Status.Signal() == syscall.SIGKILL; {
	case end.Refused != "":
		return final(compute.ReasonExited, NotFound, "the image cannot run that: %s", end.Refused)
	case end.Why == compute.ReasonDisk, failed && end.DiskFull:
		return final(compute.ReasonDisk, -1, "the provider's disk was full")
	case logsOver:
		return final(compute.ReasonLogLimit, -1, "the program logged more than its limit of %s: log less, raise the limit, or let logs be truncated", Size(l.LogBytes))
	case over, brim && !end.Broke, killed && end.Why == compute.ReasonOutputLimit:
		return final(compute.ReasonOutputLimit, -1, "the program wrote more than its output limit of %s or %d files", Size(l.OutputBytes), l.OutputFiles)
	case end.Asked, killed && end.Why == compute.ReasonStopped:
		return final(compute.ReasonStopped, -1, "the task was stopped")
	case killed && end.Why == compute.ReasonDeadline:
		return final(compute.ReasonDeadline, -1, "the program did not end within its timeout of %v: raise --timeout or give it less to do", l.Timeout)
	case end.Broke && !end.OutOfMemory:
		return final(compute.ReasonCrashed, -1, "the sandbox's own kernel failed, not the program")
	case failed && end.OutOfMemory:
		return final(compute.ReasonMemory, code, "the program ran out of its memory limit of %s (files in /tmp, /run and /dev/shm count): raise --memory or use less", Size(l.MemoryBytes))
	case byItself && code == 0:
		return final(compute.ReasonExited, 0, "")
	case byItself:
		return final(compute.ReasonExited, code, "the program exited with code %d: its standard error may say why", code)
	case killed && end.Why == compute.ReasonCrashed:
		return final(compute.ReasonCrashed, -1, "%s, so the container was ended", end.CutOff)
	case killed:
		return final(compute.ReasonCrashed, -1, "something on the provider's machine killed the container: its owner, or a shortage of memory there")
	default:
		sig := end.Status.Signal()
		return final(compute.ReasonExited, Fatal+int(sig), "the program was ended by signal %d (%v)", int(sig), sig)
	}
}
