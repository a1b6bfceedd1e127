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
	"github.com/moyai-network/moyai/compute/internal/account"
	"github.com/moyai-network/moyai/compute/internal/outdir"
	"github.com/moyai-network/moyai/compute/internal/taskrecord"
	"github.com/moyai-network/moyai/internal/steady"
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
	alarm, full, cutOff := s.logs.Alarm(), s.logs.Full(), s.cutOff()
	for {
		select {
		case status := <-s.end: // the kernel has ended all others of its pid namespace with it
			end := ended{status: status}
			end.cpu, end.peak = s.cgroup.Usage()
			end.oom = s.cgroup.OutOfMemory(s.job.MemoryBytes + s.job.OverheadBytes)
			end.broke = s.broke(end.status)
			end.disk = outdir.DiskFull(s.job.Dir)
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
		case <-full:
			full = nil
			s.kill(compute.ReasonDisk)
		case why := <-s.unbounded:
			fmt.Fprintln(os.Stderr, "supervise: the limit of processes could not be set:", why)
			tooFree = time.After(endingPatience)
		case <-tooFree:
			s.kill(compute.ReasonCrashed)
		case <-look.C:
			begin := time.Now()
			if steady.Up()-s.up > s.job.Timeout {
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
	s.out = outdir.Measure(filepath.Join(s.job.Dir, "out"), s.job.room(), s.cgroup.Processes())
	writeCounter(s.job.Dir, s.out.Bytes)
	if s.out.Over(s.job.room(), s.logs.Kept()) {
		s.kill(compute.ReasonOutputLimit)
	}
}

// room is what the container may have under /out.
func (j *Job) room() outdir.Limits { return outdir.Limits{Bytes: j.OutputBytes, Files: j.OutputFiles} }

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
	grace := account.GraceLeft(s.job.Dir)
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
	s.out = outdir.Measure(dir, s.job.room(), nil)
	outdir.Tidy(dir)
	writeCounter(s.job.Dir, s.out.Bytes)
	f := s.judge(end)
	f.Wall, f.CPU, f.MemoryPeak = time.Since(s.begun), end.cpu, end.peak
	f.OutputBytes, f.LogBytes = s.out.Bytes, s.logs.Kept()
	if e := s.job.Egress; e != nil {
		f.EgressBytes = uplink.Count(e.Counter)
		if f.Message != "" && uplink.Count(e.Egress.Ledger) >= e.Egress.Bytes {
			f.Message += fmt.Sprintf(" (its egress budget of %s is spent)", account.Size(e.Egress.Bytes))
		}
	}
	f.LogsTruncated = s.job.TruncateLogs && s.logs.Over()
	err := account.Write(s.job.Dir, f)
	s.remove()
	return err
}

// drain waits for the last words. Nothing can hold the pipes open but the
// container, which is gone; the bound is against what we did not think of.
func (s *supervisor) drain() {
	done := make(chan struct{})
	go func() {
		s.logs.Wait()
		close(done)
	}()
	select {
	case <-done:
	case <-time.After(5 * time.Second):
	}
}

// judge decides the reason.
func (s *supervisor) judge(end ended) account.Final {
	return account.Judge(s.job.limits(), account.End{
		Status: end.status, Refused: s.refused, Why: s.why, Asked: s.asked, LogsOver: s.logs.Over(), Out: s.out,
		OutOfMemory: end.oom, DiskFull: end.disk, Broke: end.broke, CutOff: "what carried the container's network ended on the provider's machine",
	})
}

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
	case account.Fatal: // as gVisor's kernel ends when its program was killed, too
		return s.runcSaid(nil) != ""
	}
	return false
}

// panicked is what a Go program ends with when it fails by itself.
const panicked = 2

// writeCounter tells who looks how much is under /out. Losing one is no loss.
func writeCounter(dir string, bytes uint64) {
	f, err := os.OpenFile(filepath.Join(dir, CountersFile), os.O_WRONLY, 0)
	if err != nil {
		return
	}
	defer f.Close()
	_, _ = fmt.Fprintf(f, "%20d\n", bytes)
}
