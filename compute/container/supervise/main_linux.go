package supervise

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/moyai-network/moyai/compute"
	"github.com/moyai-network/moyai/compute/egress/uplink"
	"github.com/moyai-network/moyai/compute/internal/cgroup"
	"github.com/moyai-network/moyai/compute/internal/fault"
	"github.com/moyai-network/moyai/compute/internal/outdir"
	"github.com/moyai-network/moyai/compute/internal/supervised"
	"github.com/moyai-network/moyai/compute/internal/tasklog"
	"github.com/moyai-network/moyai/internal/steady"
)

// Main runs the mode that args name and returns the process's exit code.
func Main(args []string) int {
	switch args[0] {
	case idle:
		return beIdle()
	case listener:
		return listen()
	case Inside:
		return lookAround(args[1:])
	case Export:
		return export(args[1:])
	case Mode:
	default:
		fmt.Fprintf(os.Stderr, "moyai-worker: no mode %q: it is started by moyai and of no use by hand\n", args[0])
		return 64
	}
	if err := stand(os.Stdin, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "supervise:", err)
		return 1
	}
	return 0
}

// supervisor is one container being stood over.
type supervisor struct {
	job    Job
	locks  []*os.File
	logs   *tasklog.Logs
	pid    int
	pidfd  int
	end    <-chan syscall.WaitStatus // of pid
	cgroup cgroup.Group
	door   *door          // nil where there is nothing to enter
	sentry sentry         // where that is gVisor's
	uplink *uplink.Uplink // nil without egress
	begun  time.Time
	up     time.Duration // of the machine, at that time

	children  *children
	unbounded chan string   // why a limit could not be set
	limiting  chan struct{} // closed when that is over; nil if nobody does it

	refused string         // why its program cannot be executed, if so
	why     compute.Reason // why we killed it, if we did
	asked   bool           // SIGTERM was sent
	out     outdir.Used    // as last measured
}

// stand does the whole of it: create, wait for the caller's word, start, watch,
// account. When the caller goes away before its word, everything is undone.
func stand(in io.Reader, out io.Writer) error {
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, syscall.SIGTERM)
	signal.Ignore(syscall.SIGHUP, syscall.SIGINT, syscall.SIGPIPE)
	said := bufio.NewReader(io.LimitReader(in, maxMessage))
	s := &supervisor{pidfd: -1, children: reapChildren(), unbounded: make(chan string, 1)}
	line, err := said.ReadBytes('\n')
	if err == nil {
		err = json.Unmarshal(line, &s.job)
	}
	if err != nil {
		return fmt.Errorf("read the job: %w", err)
	}
	err = s.create()
	if err = errors.Join(err, supervised.Answer(out, s.pid, err)); err != nil {
		s.undo()
		return err
	}
	if line, err := said.ReadString('\n'); err != nil || line != supervised.Go {
		s.undo()
		return errors.New("the caller went away before the container was to start")
	}
	if err := s.start(); err != nil {
		s.undo()
		_ = supervised.Answer(out, 0, err)
		return err
	}
	_ = supervised.Answer(out, s.pid, nil) // who does not listen will recover the task
	supervised.Quiet()
	return s.account(s.watch(signals))
}

// create makes everything but the program's first instruction.
func (s *supervisor) create() error {
	// The container's first process becomes our child when runc ends.
	if err := unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0); err != nil {
		return fmt.Errorf("become a reaper: %w", err)
	}
	for path, how := range map[string]int{s.job.TaskLock: unix.LOCK_EX, s.job.ImageLock: unix.LOCK_SH} {
		f, err := lock(path, how)
		if err != nil {
			return err
		}
		s.locks = append(s.locks, f)
	}
	if err := furnish(&s.job); err != nil {
		return err
	}
	volumes, err := mountVolumes(&s.job)
	s.locks = append(s.locks, volumes...)
	if err != nil {
		return err
	}
	stdin, err := openStdin(s.job.Stdin)
	if err != nil {
		return err
	}
	defer stdin.Close()
	s.logs = tasklog.New(s.job.LogBytes)
	stdout, err := s.stream("stdout")
	if err != nil {
		return err
	}
	defer stdout.Close()
	stderr, err := s.stream("stderr")
	if err != nil {
		return err
	}
	defer stderr.Close()
	pidFile := filepath.Join(s.job.Dir, BundleDir, "pid")
	cmd := s.oci("create", "--bundle", filepath.Join(s.job.Dir, BundleDir), "--pid-file", pidFile, s.job.ID)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = stdin, stdout, stderr
	defer s.children.claim()()
	if err := s.children.run(cmd); err != nil {
		why := s.runcSaid(err)
		if s.refused = fault.Images(why); s.refused != "" {
			return nil // a result, not a failure: reported once the caller has its record
		}
		return fmt.Errorf("create: %s", why)
	}
	if err := s.hold(pidFile); err != nil {
		return err
	}
	if s.door, err = openDoor(s); err != nil {
		return err
	}
	return s.connect()
}

// connect gives the container its way to the internet, if it is to have one.
func (s *supervisor) connect() error {
	if s.job.Egress == nil {
		return nil
	}
	up, err := uplink.Lay(*s.job.Egress, s.pid, os.Stderr)
	if err != nil {
		return fmt.Errorf("give it egress: %w", err)
	}
	s.uplink = up
	return nil
}

// disconnect ends the container's way to the internet and with it its log.
func (s *supervisor) disconnect() {
	if s.uplink != nil {
		s.uplink.Close()
	}
}

// cutOff is closed when what carries the container's network is gone; nil, and
// so never ready, without egress.
func (s *supervisor) cutOff() <-chan struct{} {
	if s.uplink == nil {
		return nil
	}
	return s.uplink.Gone()
}

// stream makes a pipe that ends in one of the task's log files. It belongs to the
// container's user, or opening /dev/stdout would fail in there.
func (s *supervisor) stream(name string) (*os.File, error) {
	to, err := os.OpenFile(filepath.Join(s.job.Dir, name), os.O_WRONLY|os.O_APPEND, 0)
	if err != nil {
		return nil, err
	}
	r, w, err := os.Pipe()
	if err != nil {
		to.Close()
		return nil, err
	}
	if err := w.Chown(s.job.UID, s.job.GID); err != nil {
		return nil, errors.Join(err, to.Close(), r.Close(), w.Close())
	}
	s.logs.Carry(r, to)
	return w, nil
}

// hold takes hold of the container's first process, by a handle that names it
// for good.
func (s *supervisor) hold(pidFile string) error {
	b, err := os.ReadFile(pidFile)
	if err != nil {
		return err
	}
	if s.pid, err = strconv.Atoi(strings.TrimSpace(string(b))); err != nil {
		return fmt.Errorf("read the container's pid: %w", err)
	}
	s.end = s.children.wait(s.pid)
	if s.pidfd, err = unix.PidfdOpen(s.pid, 0); err != nil {
		return fmt.Errorf("take hold of the container's process: %w", err)
	}
	s.cgroup, err = cgroup.Of(s.pid)
	return err
}

func (s *supervisor) start() error {
	s.begun, s.up = time.Now(), steady.Up()
	if s.refused != "" {
		return nil
	}
	if err := s.children.run(s.oci("start", s.job.ID)); err != nil {
		// runsc looks for the program only now.
		if s.refused = fault.Images(s.runcSaid(err)); s.refused != "" {
			return nil
		}
		return fmt.Errorf("start: %s", s.runcSaid(err))
	}
	if s.job.OCI.CountsPids {
		s.limiting = make(chan struct{})
		go s.limitPids()
	}
	return nil
}

// limitPids bounds the processes within gVisor. Those of the host are its own and
// their number follows from it, so that the control group there is a second wall.
func (s *supervisor) limitPids() {
	defer close(s.limiting)
	cmd := s.oci("write-control", s.job.ID, "pids", "/"+s.job.ID, "pids.max", strconv.FormatUint(s.job.Pids, 10))
	cmd.Stdout = os.Stderr // where it says what is wrong
	if err := s.children.run(cmd); err != nil {
		s.unbounded <- err.Error()
	}
}

func (s *supervisor) oci(args ...string) *exec.Cmd {
	return s.job.OCI.Command(s.job.ID, s.runcLog(), args...)
}

// runcLog is where runc or runsc says what went wrong.
func (s *supervisor) runcLog() string { return filepath.Join(s.job.Dir, BundleDir, RuncLog) }

func (s *supervisor) runcSaid(err error) string { return runcSaid(s.runcLog(), err) }

// runcSaid is the program's own explanation of err: the errors in its log.
func runcSaid(log string, err error) string {
	var said []string
	if f, openErr := os.Open(log); openErr == nil {
		defer f.Close()
		lines := json.NewDecoder(io.LimitReader(f, 1<<20)) // not all of it is in lines
		for {
			var line struct{ Level, Msg string }
			if lines.Decode(&line) != nil {
				break
			}
			if line.Level == "error" {
				said = append(said, line.Msg)
			}
		}
	}
	if len(said) == 0 && err != nil {
		return err.Error()
	}
	return strings.Join(said, "; ")
}

// undo leaves nothing behind of a container that is not to be.
func (s *supervisor) undo() {
	s.finish()
	s.door.close()
	s.disconnect()
	s.remove()
}

// finish kills what has not ended by itself.
func (s *supervisor) finish() {
	if s.pidfd >= 0 {
		_ = unix.PidfdSendSignal(s.pidfd, unix.SIGKILL, nil, 0) // it may be gone
		<-s.end
		unix.Close(s.pidfd)
		s.pidfd = -1
	}
}

// remove takes the container, its cgroup and its bundle away.
func (s *supervisor) remove() {
	if s.limiting != nil {
		<-s.limiting // it writes into the bundle, and fails soon without its sandbox
	}
	if err := s.children.run(s.oci("delete", "--force", s.job.ID)); err != nil && !strings.Contains(s.runcSaid(err), "does not exist") {
		fmt.Fprintln(os.Stderr, "supervise: delete:", s.runcSaid(err))
	}
	if err := s.job.OCI.forget(s.job.ID); err != nil {
		fmt.Fprintln(os.Stderr, "supervise:", err)
	}
	os.RemoveAll(filepath.Join(s.job.Dir, BundleDir))
	os.Remove(s.job.TaskLock) // last: a container without it is taken for forsaken
}
