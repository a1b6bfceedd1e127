//go:build linux

package account

import (
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/moyai-network/moyai/compute"
	"github.com/moyai-network/moyai/compute/internal/outdir"
)

// TestJudge: what the container did by itself comes before what was done to it,
// and the cause before the symptom.
func TestJudge(t *testing.T) {
	exit := func(code int) syscall.WaitStatus { return syscall.WaitStatus(code << 8) }
	signal := func(sig syscall.Signal) syscall.WaitStatus { return syscall.WaitStatus(sig) }
	limits := compute.Limits{MemoryBytes: 64 << 20, OutputBytes: 1 << 20, OutputFiles: 10, LogBytes: 100, Timeout: time.Second}
	for _, tc := range []struct {
		name string
		end  End
		want compute.Reason
		code int
		text string
	}{
		{name: "success", end: End{Status: exit(0)}, want: compute.ReasonExited, code: 0},
		{name: "failure", end: End{Status: exit(3)}, want: compute.ReasonExited, code: 3, text: "code 3"},
		{name: "137 is not a memory limit", end: End{Status: exit(137)}, want: compute.ReasonExited, code: 137},
		{name: "a signal of its own", end: End{Status: signal(syscall.SIGSEGV)}, want: compute.ReasonExited, code: 139, text: "segmentation"},
		{name: "memory", end: End{Status: signal(syscall.SIGKILL), OutOfMemory: true}, want: compute.ReasonMemory, code: -1, text: "64 MiB"},
		{name: "memory, and it lived to say so", end: End{Status: exit(1), OutOfMemory: true}, want: compute.ReasonMemory, code: 1},
		{name: "memory of a child, borne", end: End{Status: exit(0), OutOfMemory: true}, want: compute.ReasonExited, code: 0},
		{name: "killed by a stranger", end: End{Status: signal(syscall.SIGKILL)}, want: compute.ReasonCrashed, code: -1},
		{name: "deadline", end: End{Why: compute.ReasonDeadline, Status: signal(syscall.SIGKILL)}, want: compute.ReasonDeadline, code: -1, text: "1s"},
		{name: "ended just before the deadline", end: End{Why: compute.ReasonDeadline, Status: exit(0)}, want: compute.ReasonExited, code: 0},
		{name: "ended just before the stop", end: End{Why: compute.ReasonStopped, Status: exit(7)}, want: compute.ReasonExited, code: 7},
		{name: "stopped", end: End{Why: compute.ReasonStopped, Status: signal(syscall.SIGKILL)}, want: compute.ReasonStopped, code: -1},
		{name: "asked, and it complied", end: End{Asked: true, Status: exit(0)}, want: compute.ReasonStopped, code: -1},
		{name: "asked, then the deadline", end: End{Asked: true, Why: compute.ReasonDeadline, Status: signal(syscall.SIGKILL)}, want: compute.ReasonStopped, code: -1},
		{name: "output", end: End{Why: compute.ReasonOutputLimit, Status: signal(syscall.SIGKILL)}, want: compute.ReasonOutputLimit, code: -1, text: "1 MiB"},
		{name: "output, and success", end: End{Out: outdir.Used{Bytes: 2 << 20}, Status: exit(0)}, want: compute.ReasonOutputLimit, code: -1},
		{name: "output to the brim, and success", end: End{Out: outdir.Used{Bytes: 1 << 20}, Status: exit(0)}, want: compute.ReasonExited, code: 0},
		{name: "output to the brim, and failure", end: End{Out: outdir.Used{Bytes: 1 << 20}, Status: exit(1)}, want: compute.ReasonOutputLimit, code: -1},
		{name: "one file too large", end: End{Status: signal(syscall.SIGXFSZ)}, want: compute.ReasonOutputLimit, code: -1},
		{name: "files", end: End{Out: outdir.Used{Files: 11}, Status: exit(0)}, want: compute.ReasonOutputLimit, code: -1},
		{name: "unclear", end: End{Out: outdir.Used{Unclear: true}, Status: exit(0)}, want: compute.ReasonOutputLimit, code: -1},
		{name: "logs", end: End{Status: exit(0), LogsOver: true}, want: compute.ReasonLogLimit, code: -1, text: "100 bytes"},
		{name: "disk", end: End{Status: exit(1), DiskFull: true}, want: compute.ReasonDisk, code: -1},
		{name: "full disk, borne", end: End{Status: exit(0), DiskFull: true}, want: compute.ReasonExited, code: 0},
		{name: "no such program", end: End{Refused: `"x": not found`}, want: compute.ReasonExited, code: 127, text: `"x"`},
	} {
		t.Run(tc.name, func(t *testing.T) {
			got := Judge(limits, tc.end)
			if got.Reason != tc.want.String() || got.ExitCode != tc.code || !strings.Contains(got.Message, tc.text) {
				t.Errorf("got %+v, want %v %d with %q", got, tc.want, tc.code, tc.text)
			}
			if (got.Message == "") != (tc.want == compute.ReasonExited && tc.code == 0) {
				t.Errorf("message %q", got.Message)
			}
		})
	}
}

// TestFinal: the first whole account stands, and a torn one is none.
func TestFinal(t *testing.T) {
	dir := t.TempDir()
	if _, ok := Read(dir); ok {
		t.Error("an account out of nothing")
	}
	first := Final{Reason: "exited", ExitCode: 3, Message: strings.Repeat("ü", Room)}
	if err := Write(dir, first); err != nil {
		t.Fatal(err)
	}
	if err := Write(dir, Final{Reason: "lost"}); err != nil {
		t.Fatal(err)
	}
	if got, ok := Read(dir); !ok || got.Reason != "exited" || got.ExitCode != 3 || len(got.Message) > Room {
		t.Errorf("got %v %.200v", ok, got)
	}
}
