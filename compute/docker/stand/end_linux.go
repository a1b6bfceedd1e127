package stand

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/containerd/errdefs"
	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/client"
	"golang.org/x/sys/unix"

	"github.com/moyai-network/moyai/internal/steady"
)

// ended is how the container's first process went, as Docker tells.
type ended struct {
	code int
	oom  bool
	// gone: nobody knows how, as Docker lost it or did not come back.
	gone bool
	// others: somebody told Docker to end it, and it was not us.
	others bool
}

// fatal and more is what Docker says of a program that a signal ended, and also what a
// program may say of itself.
const fatal = 128

// status is what the kernel would say. A container that we killed, or whose memory
// was short, did not choose its 137; one that others had Docker end did not choose
// anything.
func (e ended) status(ours bool) syscall.WaitStatus {
	if e.gone || e.others && !ours || e.code == fatal+int(syscall.SIGKILL) && (ours || e.oom) {
		return syscall.WaitStatus(syscall.SIGKILL)
	}
	return syscall.WaitStatus((e.code & 0xff) << 8)
}

// A machine under load tells of short memory after the end that it caused. A program
// that was killed and nobody knows by whom is asked about again.
const (
	lateWords = 10
	lateWord  = 300 * time.Millisecond
)

// await registers for the container's end, before its start so that it cannot be
// missed.
func (s *supervisor) await() client.ContainerWaitResult {
	return s.docker.ContainerWait(context.Background(), s.job.Name, client.ContainerWaitOptions{Condition: container.WaitConditionNextExit})
}

// see tells the watch when the container has ended, however often Docker itself
// ends and comes back meanwhile.
func (s *supervisor) see(wait client.ContainerWaitResult) {
	lost := false
	for {
		select {
		case <-wait.Result:
		case err := <-wait.Error:
			fmt.Fprintln(os.Stderr, "moyai-docker: wait:", err)
			lost = true
		}
		state, there := s.inspect()
		switch {
		case !there:
			s.end <- ended{gone: true}
			return
		case state.Running || state.Paused || state.Restarting:
			ctx, cancel := context.WithTimeout(context.Background(), patience)
			if err := s.said.attach(ctx, s.docker); err != nil {
				fmt.Fprintln(os.Stderr, "moyai-docker:", err)
			}
			cancel()
			wait = s.docker.ContainerWait(context.Background(), s.job.Name, client.ContainerWaitOptions{Condition: container.WaitConditionNotRunning})
		default:
			e := ended{code: state.ExitCode, oom: state.OOMKilled}
			s.hear(&e)
			for range lateWords {
				if e.code != fatal+int(syscall.SIGKILL) || e.oom || e.others {
					break
				}
				time.Sleep(lateWord)
				s.hear(&e)
			}
			// A Docker that starts anew ends what it finds running.
			e.others = e.others || lost && e.code >= fatal
			s.end <- e
			return
		}
	}
}

// A Docker that is gone is waited for once its container has ended as well: longer if
// only Docker knows why it has.
const (
	dockerPatience = 2 * time.Minute
	knownPatience  = 5 * time.Second
)

// inspect asks for the container's state until Docker answers, or until there is
// none to ask for.
func (s *supervisor) inspect() (state container.State, there bool) {
	var over time.Time // since when the process is known to be gone
	for ; ; time.Sleep(100 * time.Millisecond) {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		i, err := s.docker.ContainerInspect(ctx, s.job.Name, client.ContainerInspectOptions{})
		cancel()
		switch {
		case err == nil && i.Container.State != nil:
			return *i.Container.State, true
		case notFound(err):
			return state, false
		}
		patience := dockerPatience
		if s.ours.Load() {
			patience = knownPatience
		}
		switch {
		case s.pidfd >= 0 && !processGone(s.pidfd):
		case over.IsZero():
			over = time.Now()
		case time.Since(over) > patience:
			return state, false
		}
	}
}

// hear asks Docker what befell the container: whether it was short of memory, which
// the state alone has sometimes not been told yet, and whether somebody ended it.
func (s *supervisor) hear(e *ended) {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	now := time.Now()
	told := s.docker.Events(ctx, client.EventsListOptions{
		Since: moment(now.Add(s.up - steady.Up() - time.Second)), Until: moment(now), // one to come would be waited for
		Filters: make(client.Filters).Add("container", s.job.Name).Add("event", "oom", "kill"),
	})
	for {
		select {
		case m := <-told.Messages:
			switch m.Action {
			case "oom":
				e.oom = true
			case "kill":
				e.others = e.others || ends(m.Actor.Attributes["signal"])
			}
		case err := <-told.Err:
			if !errors.Is(err, io.EOF) {
				fmt.Fprintln(os.Stderr, "moyai-docker: events:", err)
			}
			return
		}
	}
}

// ends reports that a signal is one to end a program with.
func ends(signal string) bool {
	n, err := strconv.Atoi(signal)
	return err != nil || n == int(syscall.SIGKILL) || n == int(syscall.SIGTERM) || n == int(syscall.SIGINT) || n == int(syscall.SIGQUIT)
}

func moment(t time.Time) string { return fmt.Sprintf("%d.%09d", t.Unix(), t.Nanosecond()) }

// signal reaches the container's first process: directly, so that any kill that Docker
// tells of was not ours, and through Docker only if that fails.
func (s *supervisor) signal(sig syscall.Signal) {
	if s.pidfd >= 0 && unix.PidfdSendSignal(s.pidfd, sig, nil, 0) == nil {
		return
	}
	go func() {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		if _, err := s.docker.ContainerKill(ctx, s.job.Name, client.ContainerKillOptions{Signal: strconv.Itoa(int(sig))}); err != nil && !errdefs.IsConflict(err) {
			fmt.Fprintln(os.Stderr, "moyai-docker: kill:", err)
		}
	}()
}

// usage is what the container used, as far as it was seen.
type usage struct {
	CPU  time.Duration
	Peak uint64
}

// sample looks at what the container used.
func (s *supervisor) sample() {
	if s.pidfd >= 0 {
		cpu, peak := s.cgroup.Usage()
		s.used.CPU, s.used.Peak = max(s.used.CPU, cpu), max(s.used.Peak, peak)
	}
}

// belongs reports that a process of this machine is in the container's control
// group.
func belongs(pid int, id string) bool {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/cgroup", pid))
	return err == nil && len(id) >= 12 && strings.Contains(string(b), id)
}

func processGone(pidfd int) bool {
	fds := []unix.PollFd{{Fd: int32(pidfd), Events: unix.POLLIN}}
	n, err := unix.Poll(fds, 0)
	return err == nil && n > 0
}

func notFound(err error) bool { return err != nil && errdefs.IsNotFound(err) }
