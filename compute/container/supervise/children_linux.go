package supervise

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"
)

// children reaps all that ends below this process, known or not. A runc that
// meets a container's end half-way leaves children behind that nobody knows, and
// as long as one of them is not reaped, the container's first process does not end
// either. So nothing else in here may wait for a process.
type children struct {
	mu      sync.Mutex
	waiting map[int]chan syscall.WaitStatus
	// claims counts who may yet ask for a process that has ended already; while
	// there are any, ended keeps all that nobody has asked for.
	claims int
	ended  map[int]syscall.WaitStatus
}

func reapChildren() *children {
	c := &children{waiting: map[int]chan syscall.WaitStatus{}, ended: map[int]syscall.WaitStatus{}}
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, syscall.SIGCHLD)
	go func() {
		for range signals {
			c.reap()
		}
	}()
	return c
}

func (c *children) reap() {
	c.mu.Lock()
	defer c.mu.Unlock()
	for {
		var status syscall.WaitStatus
		pid, err := syscall.Wait4(-1, &status, syscall.WNOHANG, nil)
		switch {
		case errors.Is(err, syscall.EINTR):
			continue
		case err != nil || pid <= 0:
			return
		}
		if who := c.waiting[pid]; who != nil {
			delete(c.waiting, pid)
			who <- status
		} else if c.claims > 0 {
			c.ended[pid] = status
		}
	}
}

// claim keeps what ends from now on, until the release is called: for who starts
// a process and only later learns its number.
func (c *children) claim() (release func()) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.claims++
	return func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		if c.claims--; c.claims == 0 {
			clear(c.ended)
		}
	}
}

// wait returns where a child's end will be told. Whoever calls it holds a claim.
func (c *children) wait(pid int) <-chan syscall.WaitStatus {
	c.mu.Lock()
	defer c.mu.Unlock()
	end := make(chan syscall.WaitStatus, 1)
	if status, ok := c.ended[pid]; ok {
		delete(c.ended, pid)
		end <- status
	} else {
		c.waiting[pid] = end
	}
	return end
}

// run runs a command to its end. Its streams must be files.
func (c *children) run(cmd *exec.Cmd) error {
	defer c.claim()()
	if err := cmd.Start(); err != nil {
		return err
	}
	status := <-c.wait(cmd.Process.Pid)
	_ = cmd.Process.Release()
	switch {
	case status.Signaled():
		return fmt.Errorf("signal: %v", status.Signal())
	case status.ExitStatus() != 0:
		return fmt.Errorf("exit status %d", status.ExitStatus())
	}
	return nil
}

// lives reports that somebody waits for a child that was not reaped: that its
// number is its own.
func (c *children) lives(pid int) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.waiting[pid] != nil
}

// signal sends a signal to the process group that a child leads, unless its
// number may be another's by now.
func (c *children) signal(pid int, sig unix.Signal) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.waiting[pid] != nil {
		_ = unix.Kill(-pid, sig) // it may be gone
	}
}

// exitCode is how shells tell how a process ended.
func exitCode(status syscall.WaitStatus) int {
	if status.Signaled() {
		return 128 + int(status.Signal())
	}
	return status.ExitStatus()
}
