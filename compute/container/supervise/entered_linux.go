package supervise

import (
	"fmt"
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/moyai-network/moyai/compute/internal/fault"
)

// entered is a visitor that runc has let in. It is our child, as runc has left it
// to us.
type entered struct {
	s   *supervisor
	pid int
	out <-chan int
}

// enterContainer starts a program with runc, which leaves it to us, and takes hold
// of it. Names of files begin with base.
func (s *supervisor) enterContainer(base string, e Entry, streams []*os.File) (visitor, *os.File, error) {
	process, pidFile, log := base+".json", base+".pid", base+".log"
	defer func() {
		for _, path := range []string{process, pidFile, log} {
			os.Remove(path)
		}
	}()
	if err := os.WriteFile(process, e.Process, 0o600); err != nil {
		return nil, nil, err
	}
	args := []string{"exec", "--detach", "--process", process, "--pid-file", pidFile}
	var c *console
	if e.Terminal {
		var err error
		if c, err = listenForConsole(base + ".tty"); err != nil {
			return nil, nil, err
		}
		defer c.close()
		args = append(args, "--console-socket", base+".tty")
	}
	cmd := s.job.OCI.Command(s.job.ID, log, append(args, s.job.ID)...)
	if !e.Terminal {
		cmd.Stdin, cmd.Stdout, cmd.Stderr = streams[0], streams[1], streams[2]
	}
	defer s.children.claim()()
	if err := s.children.run(cmd); err != nil {
		return nil, nil, whyNotIn(runcSaid(log, err))
	}
	b, err := os.ReadFile(pidFile)
	if err != nil {
		return nil, nil, err
	}
	v := &entered{s: s}
	if v.pid, err = strconv.Atoi(strings.TrimSpace(string(b))); err != nil {
		return nil, nil, fmt.Errorf("read the program's pid: %w", err)
	}
	status, out := s.children.wait(v.pid), make(chan int, 1)
	go func() { out <- exitCode(<-status) }()
	v.out = out
	if c == nil {
		return v, nil, nil
	}
	terminal, err := c.take()
	if err != nil {
		v.kill()
		return nil, nil, err
	}
	return v, terminal, nil
}

func (v *entered) end() <-chan int { return v.out }

func (v *entered) signal(sig unix.Signal) { v.s.children.signal(v.pid, sig) }

func (v *entered) kill() {
	if v.s.children.lives(v.pid) {
		killSession(v.s.cgroup, v.pid)
	}
}

// whyNotIn sorts runc's words: the tenant's own doing, a container that is full,
// and all else.
func whyNotIn(said string) error {
	if why := fault.Images(said); why != "" {
		return refusal{why}
	}
	for _, words := range []string{"resource temporarily unavailable", "cannot allocate memory"} {
		if strings.Contains(said, words) {
			return fmt.Errorf("the task has used up its processes or its memory, so nothing more can begin in there (%s)", words)
		}
	}
	return fmt.Errorf("let a program in: %s", said)
}
