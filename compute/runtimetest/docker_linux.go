package runtimetest

import (
	"bytes"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// Docker is a Docker daemon of a test's own: nothing of the machine's network is
// changed, and everything it keeps is in one folder.
type Docker struct {
	Dir    string
	Socket string
	Flags  []string // further ones; may be changed while it does not run
	by     []string // what starts it, with its own arguments before dockerd's
	cmd    *exec.Cmd
	gone   chan struct{}
}

// NeedsDocker says what this machine lacks for one, or nothing.
func NeedsDocker() string {
	if os.Geteuid() != 0 {
		return "needs root, to start a Docker daemon of its own"
	}
	if _, err := exec.LookPath("dockerd"); err != nil {
		return "needs dockerd: `scripts/container-deps.sh dockerd` installs Debian's"
	}
	return ""
}

// StartDocker starts a daemon that keeps everything in dir, whose path is short.
// The socket belongs to group gid.
func StartDocker(dir string, gid int, flags ...string) (*Docker, error) {
	return StartDockerBy(nil, dir, gid, flags...)
}

// StartDockerBy is StartDocker by way of a program that becomes the daemon.
func StartDockerBy(by []string, dir string, gid int, flags ...string) (*Docker, error) {
	d := &Docker{Dir: dir, by: by, Socket: filepath.Join(dir, "docker.sock"), Flags: append([]string{fmt.Sprintf("--group=%d", gid)}, flags...)}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, err
	}
	return d, d.Start()
}

// Start starts it, for the first time or anew.
func (d *Docker) Start() error {
	args := append([]string{
		"--host=unix://" + d.Socket, "--data-root=" + filepath.Join(d.Dir, "data"), "--exec-root=" + filepath.Join(d.Dir, "exec"),
		"--pidfile=" + filepath.Join(d.Dir, "pid"), "--config-file=" + filepath.Join(d.Dir, "none.json"),
		"--bridge=none", "--iptables=false", "--ip-forward=false", "--ip-masq=false", "--log-level=warn",
	}, d.Flags...)
	if err := os.WriteFile(filepath.Join(d.Dir, "none.json"), []byte("{}"), 0o600); err != nil {
		return err
	}
	log, err := os.OpenFile(filepath.Join(d.Dir, "log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer log.Close()
	args = append(append(slices.Clone(d.by), "dockerd"), args...)
	cmd := exec.Command(args[0], args[1:]...)
	cmd.Stdout, cmd.Stderr = log, log
	cmd.Env = append(os.Environ(), "PATH="+os.Getenv("PATH")+":/usr/sbin:/sbin")
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if err := cmd.Start(); err != nil {
		return err
	}
	d.cmd, d.gone = cmd, make(chan struct{})
	go func() { _ = cmd.Wait(); close(d.gone) }()
	for {
		if d.answers() {
			return nil
		}
		select {
		case <-d.gone:
			said, _ := os.ReadFile(log.Name())
			return fmt.Errorf("dockerd ended: %s", said[max(0, len(said)-2000):])
		case <-time.After(20 * time.Millisecond):
		}
	}
}

func (d *Docker) answers() bool {
	c, err := net.Dial("unix", d.Socket)
	if err != nil {
		return false
	}
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(time.Second))
	if _, err := c.Write([]byte("GET /_ping HTTP/1.0\r\n\r\n")); err != nil {
		return false
	}
	b := make([]byte, 64)
	n, _ := c.Read(b)
	return bytes.Contains(b[:n], []byte("200"))
}

// Kill ends the daemon and its containerd as a crash would; its containers run on.
func (d *Docker) Kill() {
	_ = d.cmd.Process.Kill()
	<-d.gone
	// The kernel ends this containerd with its daemon. One that is only dead, and not
	// yet forgotten, would be taken for alive by the next daemon.
	for _, name := range []string{"containerd.pid", "containerd.sock"} {
		_ = os.Remove(filepath.Join(d.Dir, "exec", "containerd", name))
	}
	d.reap("containerd\x00--config")
}

// reap kills what still runs of this daemon's, by the folder that no other has.
func (d *Docker) reap(program string) {
	found, _ := filepath.Glob("/proc/[0-9]*/cmdline")
	for _, path := range found {
		b, err := os.ReadFile(path)
		if err != nil || !bytes.Contains(b, []byte(d.Dir+"/")) || !bytes.Contains(b, []byte(program)) {
			continue
		}
		if pid, err := strconv.Atoi(filepath.Base(filepath.Dir(path))); err == nil && pid != os.Getpid() {
			_ = syscall.Kill(pid, syscall.SIGKILL)
		}
	}
}

// Stop asks it to end, and its containers with it.
func (d *Docker) Stop() error {
	_ = d.cmd.Process.Signal(syscall.SIGTERM)
	select {
	case <-d.gone:
		return nil
	case <-time.After(time.Minute):
		d.Kill()
		return errors.New("dockerd did not end when asked")
	}
}

// Remove stops it and removes all that it kept. It is an error if containers were
// left.
func (d *Docker) Remove() error {
	left, err := filepath.Glob(filepath.Join(d.Dir, "data", "containers", "*"))
	if mapped, _ := filepath.Glob(filepath.Join(d.Dir, "data", "*.*", "containers", "*")); err == nil {
		left = append(left, mapped...)
	}
	if len(left) > 0 {
		err = errors.Join(err, fmt.Errorf("containers were left behind: %v", left))
	}
	err = errors.Join(err, d.Stop())
	d.reap("containerd") // its shims, where a test has failed
	mounts, readErr := os.ReadFile("/proc/self/mountinfo")
	for line := range strings.Lines(string(mounts)) {
		if fields := strings.Fields(line); len(fields) > 4 && strings.HasPrefix(fields[4], d.Dir+"/") {
			_ = syscall.Unmount(fields[4], syscall.MNT_DETACH) // a network namespace's, and the daemon's own root
		}
	}
	return errors.Join(err, readErr, os.RemoveAll(d.Dir))
}
