package uplink

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"runtime"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/moyai-network/moyai/compute"
)

// Uplink is a gateway that carries.
type Uplink struct {
	cmd  *exec.Cmd
	hold io.Closer // its standard input
	gone chan struct{}
	once sync.Once
}

// closeSlack is how long a gateway may take to write its last lines.
const closeSlack = 3 * time.Second

// Lay gives the network namespace of process pid its way out. What the gateway
// says about itself goes to log.
func Lay(job Job, pid int, log *os.File) (*Uplink, error) {
	job.Egress.EnsureDefaults()
	order := Order{Egress: job.Egress, Task: job.Task, IPv6: hasIPv6(), UID: job.UID, GID: job.GID}
	tun, err := device(pid, order.IPv6)
	if err != nil {
		return nil, err
	}
	defer tun.Close()
	files, err := job.open()
	defer func() {
		for _, f := range files {
			f.Close()
		}
	}()
	if err != nil {
		return nil, err
	}
	cmd := exec.Command(job.Gateway)
	cmd.Env, cmd.Dir, cmd.Stderr = []string{"GOMAXPROCS=2", "GOMEMLIMIT=192MiB"}, "/", log
	cmd.ExtraFiles = append([]*os.File{tun}, files...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	in, inErr := cmd.StdinPipe()
	out, outErr := cmd.StdoutPipe()
	if err := errors.Join(inErr, outErr); err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("start %s: %w", job.Gateway, err)
	}
	u := &Uplink{cmd: cmd, hold: in, gone: make(chan struct{})}
	go func() {
		_, _ = cmd.Process.Wait() // not cmd.Wait, which would close the pipe under a reader
		close(u.gone)
	}()
	if err := begin(in, out, order); err != nil {
		u.Close()
		return nil, err
	}
	return u, nil
}

func begin(in io.Writer, out io.ReadCloser, order Order) error {
	defer out.Close()
	b, err := json.Marshal(order)
	if err != nil {
		return err
	}
	if _, err := in.Write(append(b, '\n')); err != nil {
		return fmt.Errorf("tell the gateway: %w", err)
	}
	said, err := bufio.NewReader(io.LimitReader(out, 4<<10)).ReadString('\n')
	if said != Ready {
		return fmt.Errorf("the gateway did not begin: %w", errors.Join(err, errors.New(said)))
	}
	return nil
}

// Gone is closed when the gateway has ended.
func (u *Uplink) Gone() <-chan struct{} { return u.gone }

// Close takes the uplink away and waits until nothing of it runs. It may be
// called twice.
func (u *Uplink) Close() {
	u.once.Do(func() {
		_ = u.hold.Close() // it ends by itself
		select {
		case <-u.gone:
		case <-time.After(closeSlack):
			_ = u.cmd.Process.Kill()
		}
	})
	<-u.gone
}

// open opens, with our rights, what the gateway could not.
func (j *Job) open() ([]*os.File, error) {
	var files []*os.File
	e := &j.Egress
	for _, f := range []struct {
		path string
		flag int
		size int64
	}{
		{e.Ledger, os.O_RDWR | os.O_CREATE, compute.EgressLedgerSize},
		{j.Counter, os.O_RDWR | os.O_CREATE, compute.EgressLedgerSize},
		{e.Log, os.O_WRONLY | os.O_APPEND | os.O_CREATE, 0},
		{e.Shunned, os.O_RDONLY, 0},
	} {
		path := f.path
		if path == "" {
			path = os.DevNull
		}
		file, err := os.OpenFile(path, f.flag, 0o600)
		if err != nil {
			return files, err
		}
		files = append(files, file)
		if f.size > 0 {
			if err := file.Truncate(f.size); err != nil {
				return files, err
			}
		}
	}
	return files, nil
}

// hasIPv6 reports whether this machine has a way to IPv6's internet. Nothing is
// sent.
func hasIPv6() bool {
	c, err := net.Dial("udp6", "[2000::1]:9")
	if err != nil {
		return false
	}
	defer c.Close()
	local, ok := c.LocalAddr().(*net.UDPAddr)
	return ok && local.IP.IsGlobalUnicast() && !local.IP.IsPrivate()
}

// device makes the TUN in the namespace of a process and configures it there.
func device(pid int, ipv6 bool) (*os.File, error) {
	there, err := os.Open(fmt.Sprintf("/proc/%d/ns/net", pid))
	if err != nil {
		return nil, err
	}
	defer there.Close()
	return within(there, func() (*os.File, error) {
		tun, index, err := makeTUN()
		if err != nil {
			return nil, err
		}
		if err := configure(index, ipv6); err != nil {
			tun.Close()
			return nil, fmt.Errorf("configure the TUN device: %w", err)
		}
		return tun, nil
	})
}

// within runs f in another network namespace.
func within(there *os.File, f func() (*os.File, error)) (*os.File, error) {
	runtime.LockOSThread()
	here, err := os.Open(fmt.Sprintf("/proc/self/task/%d/ns/net", unix.Gettid()))
	if err != nil {
		runtime.UnlockOSThread()
		return nil, err
	}
	defer here.Close()
	if err := unix.Setns(int(there.Fd()), unix.CLONE_NEWNET); err != nil {
		runtime.UnlockOSThread()
		return nil, fmt.Errorf("enter the task's network: %w", err)
	}
	file, err := f()
	if back := unix.Setns(int(here.Fd()), unix.CLONE_NEWNET); back != nil {
		// The thread stays locked, so that nothing else runs there.
		return file, errors.Join(err, fmt.Errorf("come back from the task's network: %w", back))
	}
	runtime.UnlockOSThread()
	return file, err
}

func makeTUN() (*os.File, int, error) {
	const path = "/dev/net/tun"
	fd, err := unix.Open(path, unix.O_RDWR|unix.O_CLOEXEC|unix.O_NONBLOCK, 0)
	if err != nil {
		return nil, 0, fmt.Errorf("%s (modprobe tun): %w", path, err)
	}
	tun := os.NewFile(uintptr(fd), path)
	request, err := unix.NewIfreq(Device)
	if err == nil {
		request.SetUint16(unix.IFF_TUN | unix.IFF_NO_PI)
		err = unix.IoctlIfreq(fd, unix.TUNSETIFF, request)
	}
	if err != nil {
		tun.Close()
		return nil, 0, fmt.Errorf("make a TUN device: %w", err)
	}
	index, err := net.InterfaceByName(Device)
	if err != nil {
		tun.Close()
		return nil, 0, err
	}
	return tun, index.Index, nil
}
