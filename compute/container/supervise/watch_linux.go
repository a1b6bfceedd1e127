package supervise

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/moyai-network/moyai/compute"
	"github.com/moyai-network/moyai/compute/egress/uplink"
	"github.com/moyai-network/moyai/compute/internal/taskrecord"
)

// lookEvery is the shortest pause between two looks at /out: what a container
// can write meanwhile is what it can have beyond its limit.
const lookEvery = 20 * time.Millisecond

// endingPatience is how long a sandbox may take to end with its program: what
// cannot be told a limit has most likely ended.
const endingPatience = 5 * time.Second

// ended is how the container's first process went.
type ended struct {
	status syscall.WaitStatus
	cpu    time.Duration
	peak   uint64
	oom    bool
	disk   bool
	broke  bool // gVisor's kernel itself gave up
}

// watch holds the container to its limits until nothing of it runs.
func (s *supervisor) watch(signals <-chan os.Signal) ended {
	if s.refused != "" {
		s.finish()
		return ended{}
	}
	deadline := time.NewTimer(s.job.Timeout)
	defer deadline.Stop()
	look := time.NewTimer(0)
	defer look.Stop()
	var graceOver, tooFree <-chan time.Time
	alarm, cutOff := s.logs.alarm, s.cutOff()
	for {
		select {
		case status := <-s.end: // the kernel has ended all others of its pid namespace with it
			end := ended{status: status}
			end.cpu, end.peak = s.cgroup.Usage()
			end.oom = s.cgroup.OutOfMemory(s.job.MemoryBytes + s.job.OverheadBytes)
			end.broke = s.broke(end.status)
			end.disk = diskFull(s.job.Dir)
			return end
		case <-deadline.C:
			s.kill(compute.ReasonDeadline)
		case <-signals:
			graceOver = s.askToEnd()
		case <-graceOver:
			s.kill(compute.ReasonStopped)
		case <-alarm:
			alarm = nil
			if !s.job.TruncateLogs {
				s.kill(compute.ReasonLogLimit)
			}
		case <-cutOff:
			cutOff = nil
			s.kill(compute.ReasonCrashed)
		case <-s.logs.full:
			s.kill(compute.ReasonDisk)
			s.logs.full = nil
		case why := <-s.unbounded:
			fmt.Fprintln(os.Stderr, "supervise: the limit of processes could not be set:", why)
			tooFree = time.After(endingPatience)
		case <-tooFree:
			s.kill(compute.ReasonCrashed)
		case <-look.C:
			begin := time.Now()
			if begin.Sub(s.begun) > s.job.Timeout || begin.Round(0).Sub(s.begun.Round(0)) > s.job.Timeout {
				s.kill(compute.ReasonDeadline) // also for a machine that slept meanwhile
			}
			s.look()
			// Looking must stay cheap beside the work.
			look.Reset(max(lookEvery, 20*time.Since(begin)))
		}
	}
}

// look measures what was written and ends what wrote too much.
func (s *supervisor) look() {
	s.out = measure(filepath.Join(s.job.Dir, "out"), &s.job, s.cgroup.Processes())
	writeCounter(s.job.Dir, s.out.bytes)
	if s.out.over(&s.job, s.logs.kept.Load()) {
		s.kill(compute.ReasonOutputLimit)
	}
}

// kill ends the container and remembers why, the first reason winning.
func (s *supervisor) kill(why compute.Reason) {
	if s.why == compute.ReasonUnknown {
		s.why = why
	}
	if err := unix.PidfdSendSignal(s.pidfd, unix.SIGKILL, nil, 0); err != nil && !errors.Is(err, unix.ESRCH) {
		fmt.Fprintln(os.Stderr, "supervise: kill:", err)
	}
}

// askToEnd does what a caller's wish says: at once, or after some grace.
func (s *supervisor) askToEnd() <-chan time.Time {
	grace := graceLeft(s.job.Dir)
	if grace <= 0 {
		s.kill(compute.ReasonStopped)
		return nil
	}
	if !s.asked {
		s.asked = true
		_ = unix.PidfdSendSignal(s.pidfd, unix.SIGTERM, nil, 0) // it may be gone
	}
	return time.After(grace)
}

// account writes down how it ended, before the last trace of the container is
// removed.
func (s *supervisor) account(end ended) error {
	s.door.close()
	s.disconnect()
	s.drain()
	dir := filepath.Join(s.job.Dir, "out")
	s.out = measure(dir, &s.job, nil)
	tidy(dir)
	writeCounter(s.job.Dir, s.out.bytes)
	f := s.judge(end)
	f.Wall, f.CPU, f.MemoryPeak = time.Since(s.begun), end.cpu, end.peak
	f.OutputBytes, f.LogBytes = s.out.bytes, s.logs.kept.Load()
	if e := s.job.Egress; e != nil {
		f.EgressBytes = uplink.Count(e.Counter)
		if f.Message != "" && uplink.Count(e.Egress.Ledger) >= e.Egress.Bytes {
			f.Message += fmt.Sprintf(" (its egress budget of %s is spent)", size(e.Egress.Bytes))
		}
	}
	f.LogsTruncated = s.job.TruncateLogs && s.logs.over.Load()
	err := WriteFinal(s.job.Dir, f)
	s.remove()
	return err
}

// drain waits for the last words. Nothing can hold the pipes open but the
// container, which is gone; the bound is against what we did not think of.
func (s *supervisor) drain() {
	done := make(chan struct{})
	go func() {
		s.logs.wait.Wait()
		close(done)
	}()
	select {
	case <-done:
	case <-time.After(5 * time.Second):
	}
}

// judge decides the reason. What the container did by itself comes before what
// we did to it, and a limit it broke before how it broke.
func (s *supervisor) judge(end ended) Final {
	job := &s.job
	logsOver := s.logs.over.Load() && !job.TruncateLogs
	byItself := end.status.Exited()
	code := -1
	if byItself {
		code = end.status.ExitStatus()
	}
	failed := code != 0
	// The largest file a program may write is as large as all of them together.
	brim := failed && s.out.bytes >= job.OutputBytes || end.status.Signal() == syscall.SIGXFSZ || code == fatal+int(syscall.SIGXFSZ)
	final := func(why compute.Reason, code int, format string, args ...any) Final {
		return Final{Reason: why.String(), ExitCode: code, Message: fmt.Sprintf(format, args...)}
	}
	switch killed := !byItself && end.status.Signal() == syscall.SIGKILL; {
	case s.refused != "":
		return final(compute.ReasonExited, exitNotFound, "the image cannot run that: %s", s.refused)
	case s.why == compute.ReasonDisk, failed && end.disk:
		return final(compute.ReasonDisk, -1, "the provider's disk was full")
	case logsOver:
		return final(compute.ReasonLogLimit, -1, "the program logged more than its limit of %s: log less, raise the limit, or let logs be truncated", size(job.LogBytes))
	case s.out.over(job, 0), brim && !end.broke, killed && s.why == compute.ReasonOutputLimit:
		return final(compute.ReasonOutputLimit, -1, "the program wrote more than its output limit of %s or %d files", size(job.OutputBytes), job.OutputFiles)
	case s.asked, killed && s.why == compute.ReasonStopped:
		return final(compute.ReasonStopped, -1, "the task was stopped")
	case killed && s.why == compute.ReasonDeadline:
		return final(compute.ReasonDeadline, -1, "the program did not end within its timeout of %v: raise --timeout or give it less to do", job.Timeout)
	case end.broke && !end.oom:
		return final(compute.ReasonCrashed, -1, "the sandbox's own kernel failed, not the program")
	case failed && end.oom:
		return final(compute.ReasonMemory, code, "the program ran out of its memory limit of %s (files in /tmp, /run and /dev/shm count): raise --memory or use less", size(job.MemoryBytes))
	case byItself && code == 0:
		return final(compute.ReasonExited, 0, "")
	case byItself:
		return final(compute.ReasonExited, code, "the program exited with code %d: its standard error may say why", code)
	case killed && s.why == compute.ReasonCrashed:
		return final(compute.ReasonCrashed, -1, "what carried the container's network ended on the provider's machine, so the container was ended")
	case killed:
		return final(compute.ReasonCrashed, -1, "something on the provider's machine killed the container: its owner, or a shortage of memory there")
	default:
		sig := end.status.Signal()
		return final(compute.ReasonExited, fatal+int(sig), "the program was ended by signal %d (%v)", int(sig), sig)
	}
}

// fatal and more is what shells answer for a program that a signal ended. gVisor's
// kernel ends with that code when its program was.
const fatal = 128

// broke reports that gVisor's kernel ended by itself: it leaves a Go program's last
// words, or says with code 128 that it could not go on.
func (s *supervisor) broke(status syscall.WaitStatus) bool {
	if !s.job.OCI.GVisor() || !status.Exited() {
		return false
	}
	switch status.ExitStatus() {
	case panicked:
		said, err := taskrecord.Bounded(filepath.Join(s.job.Dir, BundleDir, PanicLog), 1<<20)
		return err == nil && bytes.Contains(said, []byte("\ngoroutine "))
	case fatal:
		return s.runcSaid(nil) != ""
	}
	return false
}

// panicked is what a Go program ends with when it fails by itself.
const panicked = 2

// exitNotFound is what shells and container engines answer for a program that
// is not there.
const exitNotFound = 127

// writeCounter tells who looks how much is under /out. Losing one is no loss.
func writeCounter(dir string, bytes uint64) {
	f, err := os.OpenFile(filepath.Join(dir, CountersFile), os.O_WRONLY, 0)
	if err != nil {
		return
	}
	defer f.Close()
	_, _ = fmt.Fprintf(f, "%20d\n", bytes)
}
