package stand

import (
	"fmt"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"github.com/moyai-network/moyai/compute"
	"github.com/moyai-network/moyai/compute/internal/account"
	"github.com/moyai-network/moyai/compute/internal/outdir"
	"github.com/moyai-network/moyai/internal/steady"
)

const (
	// lookEvery is the shortest pause between two looks at /out: what a container can
	// write meanwhile is what it can have beyond its limit.
	lookEvery = 20 * time.Millisecond
	// killEvery is the pause between two attempts to end what should have ended.
	killEvery = 2 * time.Second
	// mostBlind is how many looks in a row may not see all of what is open: a process
	// that begins or ends cannot be looked into for a moment.
	mostBlind = 5
)

// watch holds the container to its limits until nothing of it runs.
func (s *supervisor) watch(signals <-chan os.Signal) ended {
	if s.refused != "" {
		return ended{}
	}
	deadline := time.NewTimer(s.job.Limits.Timeout)
	defer deadline.Stop()
	look := time.NewTimer(0)
	defer look.Stop()
	var graceOver <-chan time.Time
	alarm, full := s.logs.Alarm(), s.logs.Full()
	for {
		select {
		case end := <-s.end: // the kernel has ended all others of its pid namespace with it
			return end
		case <-deadline.C:
			s.kill(compute.ReasonDeadline)
		case <-signals:
			graceOver = s.askToEnd()
		case <-graceOver:
			s.kill(compute.ReasonStopped)
		case <-alarm:
			alarm = nil
			if !s.job.Limits.TruncateLogs {
				s.kill(compute.ReasonLogLimit)
			}
		case <-full:
			full = nil
			s.kill(compute.ReasonDisk)
		case <-look.C:
			begin := time.Now()
			if steady.Up()-s.up > s.job.Limits.Timeout {
				s.kill(compute.ReasonDeadline) // also for a machine that slept meanwhile
			}
			s.look()
			// Looking must stay cheap beside the work.
			look.Reset(max(lookEvery, 20*time.Since(begin)))
		}
	}
}

// look measures what was written and used, and ends what wrote too much.
func (s *supervisor) look() {
	s.sample()
	var processes []int
	if s.pidfd >= 0 {
		processes = s.cgroup.Processes()
	}
	s.out = outdir.Measure(s.outDir(), s.room(), processes)
	s.blind++
	if !s.out.Blind {
		s.blind = 0
	}
	s.count()
	if s.out.Over(s.room(), s.logs.Kept()) || s.blind >= mostBlind {
		s.kill(compute.ReasonOutputLimit)
	}
	if s.why != compute.ReasonUnknown && time.Since(s.killed) > killEvery {
		s.kill(s.why)
	}
}

// room is what the container may have under /out.
func (s *supervisor) room() outdir.Limits {
	return outdir.Limits{Bytes: s.job.Limits.OutputBytes, Files: s.job.Limits.OutputFiles}
}

// kill ends the container and remembers why, the first reason winning.
func (s *supervisor) kill(why compute.Reason) {
	if s.why == compute.ReasonUnknown {
		s.why = why
	}
	s.killed = time.Now()
	s.ours.Store(true)
	s.signal(syscall.SIGKILL)
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
		s.ours.Store(true)
		s.signal(syscall.SIGTERM)
	}
	return time.After(grace)
}

// account writes down how it ended, before the last trace of the container is
// removed.
func (s *supervisor) account(end ended) error {
	if s.refused == "" {
		select { // the last words
		case <-s.said.drained():
		case <-time.After(drainPatience):
		}
	}
	s.said.close()
	s.out = outdir.Measure(s.outDir(), s.room(), nil)
	outdir.Tidy(s.outDir())
	s.count()
	f := account.Judge(s.job.Limits, account.End{
		Status: end.status(s.why != compute.ReasonUnknown), Refused: s.refused, Why: s.why, Asked: s.asked, LogsOver: s.logs.Over(), Out: s.out,
		OutOfMemory: end.oom, DiskFull: outdir.DiskFull(s.job.Dir),
	})
	if s.blind >= mostBlind && f.Reason == compute.ReasonOutputLimit.String() {
		f.Message = "the program hides what it has open, so that its output could not be measured: a provider that runs as root can"
	}
	f.Wall, f.CPU, f.MemoryPeak = time.Since(s.begun), s.used.CPU, s.used.Peak
	f.OutputBytes, f.LogBytes = s.out.Bytes, s.logs.Kept()
	f.LogsTruncated = s.job.Limits.TruncateLogs && s.logs.Over()
	err := account.Write(s.job.Dir, f)
	s.remove()
	return err
}

// drainPatience is for a Docker that died with its container and never says that a
// stream has ended.
const drainPatience = 5 * time.Second

// count tells who looks what was used. Losing one is no loss.
func (s *supervisor) count() {
	f, err := os.OpenFile(filepath.Join(s.job.Dir, CountersFile), os.O_WRONLY, 0)
	if err != nil {
		return
	}
	defer f.Close()
	_, _ = fmt.Fprintf(f, "%20d %20d %20d\n", s.out.Bytes, s.used.CPU.Nanoseconds(), s.used.Peak)
}
