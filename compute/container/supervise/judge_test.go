//go:build linux

package supervise

import (
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/moyai-network/moyai/compute"
)

// TestJudge: what the container did by itself comes before what was done to it,
// and the cause before the symptom.
func TestJudge(t *testing.T) {
	exit := func(code int) syscall.WaitStatus { return syscall.WaitStatus(code << 8) }
	signal := func(sig syscall.Signal) syscall.WaitStatus { return syscall.WaitStatus(sig) }
	type s = supervisor
	limits := Job{MemoryBytes: 64 << 20, OutputBytes: 1 << 20, OutputFiles: 10, LogBytes: 100, Timeout: time.Second}
	for _, tc := range []struct {
		name string
		s    s
		end  ended
		over bool // logs
		want compute.Reason
		code int
		text string
	}{
		{name: "success", end: ended{status: exit(0)}, want: compute.ReasonExited, code: 0},
		{name: "failure", end: ended{status: exit(3)}, want: compute.ReasonExited, code: 3, text: "code 3"},
		{name: "137 is not a memory limit", end: ended{status: exit(137)}, want: compute.ReasonExited, code: 137},
		{name: "a signal of its own", end: ended{status: signal(syscall.SIGSEGV)}, want: compute.ReasonExited, code: 139, text: "segmentation"},
		{name: "memory", end: ended{status: signal(syscall.SIGKILL), oom: true}, want: compute.ReasonMemory, code: -1, text: "64 MiB"},
		{name: "memory, and it lived to say so", end: ended{status: exit(1), oom: true}, want: compute.ReasonMemory, code: 1},
		{name: "memory of a child, borne", end: ended{status: exit(0), oom: true}, want: compute.ReasonExited, code: 0},
		{name: "killed by a stranger", end: ended{status: signal(syscall.SIGKILL)}, want: compute.ReasonCrashed, code: -1},
		{name: "deadline", s: s{why: compute.ReasonDeadline}, end: ended{status: signal(syscall.SIGKILL)}, want: compute.ReasonDeadline, code: -1, text: "1s"},
		{name: "ended just before the deadline", s: s{why: compute.ReasonDeadline}, end: ended{status: exit(0)}, want: compute.ReasonExited, code: 0},
		{name: "ended just before the stop", s: s{why: compute.ReasonStopped}, end: ended{status: exit(7)}, want: compute.ReasonExited, code: 7},
		{name: "stopped", s: s{why: compute.ReasonStopped}, end: ended{status: signal(syscall.SIGKILL)}, want: compute.ReasonStopped, code: -1},
		{name: "asked, and it complied", s: s{asked: true}, end: ended{status: exit(0)}, want: compute.ReasonStopped, code: -1},
		{name: "asked, then the deadline", s: s{asked: true, why: compute.ReasonDeadline}, end: ended{status: signal(syscall.SIGKILL)}, want: compute.ReasonStopped, code: -1},
		{name: "output", s: s{why: compute.ReasonOutputLimit}, end: ended{status: signal(syscall.SIGKILL)}, want: compute.ReasonOutputLimit, code: -1, text: "1 MiB"},
		{name: "output, and success", s: s{out: used{bytes: 2 << 20}}, end: ended{status: exit(0)}, want: compute.ReasonOutputLimit, code: -1},
		{name: "output to the brim, and success", s: s{out: used{bytes: 1 << 20}}, end: ended{status: exit(0)}, want: compute.ReasonExited, code: 0},
		{name: "output to the brim, and failure", s: s{out: used{bytes: 1 << 20}}, end: ended{status: exit(1)}, want: compute.ReasonOutputLimit, code: -1},
		{name: "one file too large", end: ended{status: signal(syscall.SIGXFSZ)}, want: compute.ReasonOutputLimit, code: -1},
		{name: "files", s: s{out: used{files: 11}}, end: ended{status: exit(0)}, want: compute.ReasonOutputLimit, code: -1},
		{name: "unclear", s: s{out: used{unclear: true}}, end: ended{status: exit(0)}, want: compute.ReasonOutputLimit, code: -1},
		{name: "logs", over: true, end: ended{status: exit(0)}, want: compute.ReasonLogLimit, code: -1, text: "100 bytes"},
		{name: "disk", end: ended{status: exit(1), disk: true}, want: compute.ReasonDisk, code: -1},
		{name: "full disk, borne", end: ended{status: exit(0), disk: true}, want: compute.ReasonExited, code: 0},
		{name: "no such program", s: s{refused: `"x": not found`}, want: compute.ReasonExited, code: 127, text: `"x"`},
	} {
		t.Run(tc.name, func(t *testing.T) {
			tc.s.job, tc.s.logs = limits, newLogs(limits.LogBytes)
			tc.s.logs.over.Store(tc.over)
			got := tc.s.judge(tc.end)
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
	if _, ok := ReadFinal(dir); ok {
		t.Error("an account out of nothing")
	}
	first := Final{Reason: "exited", ExitCode: 3, Message: strings.Repeat("ü", FinalRoom)}
	if err := WriteFinal(dir, first); err != nil {
		t.Fatal(err)
	}
	if err := WriteFinal(dir, Final{Reason: "lost"}); err != nil {
		t.Fatal(err)
	}
	if got, ok := ReadFinal(dir); !ok || got.Reason != "exited" || got.ExitCode != 3 || len(got.Message) > FinalRoom {
		t.Errorf("got %v %.200v", ok, got)
	}
}
