package stand

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/moby/moby/client"
	"golang.org/x/sys/unix"

	"github.com/moyai-network/moyai/compute"
	"github.com/moyai-network/moyai/compute/internal/cgroup"
	"github.com/moyai-network/moyai/compute/internal/fault"
	"github.com/moyai-network/moyai/compute/internal/filelock"
	"github.com/moyai-network/moyai/compute/internal/outdir"
	"github.com/moyai-network/moyai/compute/internal/supervised"
	"github.com/moyai-network/moyai/compute/internal/tasklog"
	"github.com/moyai-network/moyai/internal/steady"
)

// Main stands over one container and returns the process's exit code.
func Main() int {
	if err := stand(os.Stdin, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "moyai-docker:", err)
		return 1
	}
	return 0
}

// patience bounds one question to Docker that takes no time of its own.
const patience = time.Minute

// removePatience is for a Docker that is just being started anew.
const removePatience = 10 * time.Second

// supervisor is one container being stood over.
type supervisor struct {
	job    Job
	docker *client.Client
	locks  []*os.File
	logs   *tasklog.Logs
	said   *streams
	begun  time.Time
	up     time.Duration // of the machine, at that time

	pidfd  int // of the container's first process; -1 if it ended before it was seen
	cgroup cgroup.Group

	end     chan ended
	refused string         // why its program cannot be executed, if so
	why     compute.Reason // why we killed it, if we did
	killed  time.Time      // when, last
	asked   bool           // SIGTERM was sent
	ours    atomic.Bool    // either of them: its end is our doing
	out     outdir.Used    // as last measured
	blind   int            // how often in a row something could not be seen
	used    usage
}

// stand does the whole of it: create, wait for the caller's word, start, watch,
// account. When the caller goes away before its word, everything is undone.
func stand(in io.Reader, out io.Writer) error {
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, syscall.SIGTERM)
	signal.Ignore(syscall.SIGHUP, syscall.SIGINT, syscall.SIGPIPE)
	words := bufio.NewReader(io.LimitReader(in, maxMessage))
	s := &supervisor{pidfd: -1, end: make(chan ended, 1)}
	line, err := words.ReadBytes('\n')
	if err == nil {
		err = json.Unmarshal(line, &s.job)
	}
	if err != nil {
		return fmt.Errorf("read the job: %w", err)
	}
	err = s.create()
	if err = errors.Join(err, supervised.Answer(out, 0, err)); err != nil {
		s.undo()
		return err
	}
	if line, err := words.ReadString('\n'); err != nil || line != supervised.Go {
		s.undo()
		return errors.New("the caller went away before the container was to start")
	}
	if err := s.start(); err != nil {
		s.undo()
		_ = supervised.Answer(out, 0, err)
		return err
	}
	_ = supervised.Answer(out, 0, nil) // who does not listen will recover the task
	supervised.Quiet()
	return s.account(s.watch(signals))
}

// create makes everything but the program's first instruction.
func (s *supervisor) create() error {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	for path, how := range map[string]int{s.job.TaskLock: unix.LOCK_EX, s.job.ImageLock: unix.LOCK_SH} {
		f, err := filelock.Wait(ctx, path, how)
		if err != nil {
			return err
		}
		s.locks = append(s.locks, f)
	}
	var err error
	if s.docker, err = client.New(client.WithHost(s.job.Host)); err != nil {
		return err
	}
	s.logs = tasklog.New(s.job.Limits.LogBytes)
	if s.said, err = openStreams(&s.job, s.logs); err != nil {
		return err
	}
	if _, err := s.docker.ContainerCreate(ctx, client.ContainerCreateOptions{Name: s.job.Name, Config: s.job.Config, HostConfig: s.job.HostConfig}); err != nil {
		return fmt.Errorf("create: %w", err)
	}
	return s.said.attach(ctx, s.docker)
}

// start lets the first instruction happen. A program that cannot be executed is a
// result, not a failure.
func (s *supervisor) start() error {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	wait := s.await()
	s.begun, s.up = time.Now(), steady.Up()
	if _, err := s.docker.ContainerStart(ctx, s.job.Name, client.ContainerStartOptions{}); err != nil {
		if s.refused = fault.Images(err.Error()); s.refused != "" {
			return nil
		}
		return fmt.Errorf("start: %w", err)
	}
	if err := s.hold(ctx); err != nil {
		return err
	}
	go s.see(wait)
	return nil
}

// endingPatience is how long Docker may take to notice that a process has ended.
const endingPatience = 15 * time.Second

// hold takes hold of the container's first process, by a handle that names it for
// good: then its limits hold although Docker dies. One that has ended needs no hold.
func (s *supervisor) hold(ctx context.Context) error {
	for end := time.Now().Add(endingPatience); ; time.Sleep(20 * time.Millisecond) {
		i, err := s.docker.ContainerInspect(ctx, s.job.Name, client.ContainerInspectOptions{})
		if err != nil || i.Container.State == nil {
			return fmt.Errorf("look at the container: %w", err)
		}
		if !i.Container.State.Running || i.Container.State.Pid <= 0 {
			return nil
		}
		if s.seize(i.Container.State.Pid, i.Container.ID) {
			return nil
		}
		if time.Now().After(end) {
			return errors.New(Elsewhere)
		}
	}
}

// seize is hold for a process that Docker knows by its number. A number from another
// machine means somebody else here.
func (s *supervisor) seize(pid int, id string) bool {
	fd, err := unix.PidfdOpen(pid, 0)
	if err != nil {
		return false
	}
	if group, err := cgroup.Of(pid); err == nil && belongs(pid, id) {
		s.pidfd, s.cgroup = fd, group
		return true
	}
	unix.Close(fd)
	return false
}

// undo leaves nothing behind of a container that is not to be.
func (s *supervisor) undo() {
	if s.said != nil {
		s.said.close()
	}
	s.remove()
}

// remove takes the container away. If Docker is not there to do it, whoever finds
// that nobody stands over it does.
func (s *supervisor) remove() {
	ctx, cancel := context.WithTimeout(context.Background(), removePatience)
	defer cancel()
	for s.docker != nil && ctx.Err() == nil {
		_, err := s.docker.ContainerRemove(ctx, s.job.Name, client.ContainerRemoveOptions{Force: true, RemoveVolumes: true})
		if err == nil || notFound(err) {
			break
		}
		fmt.Fprintln(os.Stderr, "moyai-docker: remove:", err)
		time.Sleep(time.Second)
	}
	os.Remove(s.job.TaskLock) // last: a container without it is taken for forsaken
}

func (s *supervisor) outDir() string { return filepath.Join(s.job.Dir, "out") }
