package container

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"runtime"
	"time"

	"golang.org/x/sys/unix"

	"github.com/moyai-network/moyai/compute"
)

// Dial implements compute.Interactive. With runc only the socket is made in the container's
// network; it stays there, whoever uses it, so bytes take no detour through a
// process of their own.
func (t *task) Dial(ctx context.Context, port uint16) (io.ReadWriteCloser, error) {
	if t.operator != nil {
		return t.dialInside(ctx, port)
	}
	network, err := t.network()
	if err != nil {
		return nil, err
	}
	defer network.Close()
	refused := fmt.Errorf("%w: nothing listens on port %d", compute.ErrRefused, port)
	tried := map[[16]byte]bool{}
	for _, list := range []func() ([]net.IP, error){loopback, func() ([]net.IP, error) { return addressesIn(network) }} {
		addresses, err := list()
		if err != nil {
			return nil, unavailable("list the task's addresses", err)
		}
		for _, ip := range addresses {
			key := [16]byte(ip.To16())
			if tried[key] {
				continue
			}
			tried[key] = true
			conn, err := dialIn(ctx, network, ip, port)
			if err == nil {
				return conn, nil
			}
			if ctx.Err() != nil {
				return nil, ctx.Err()
			}
			if !nobodyThere(err) {
				return nil, unavailable("connect to the task", err)
			}
		}
	}
	return nil, refused
}

// loopback is where nearly everything listens that is to be reached.
func loopback() ([]net.IP, error) {
	return []net.IP{net.IPv4(127, 0, 0, 1), net.IPv6loopback}, nil
}

// nobodyThere tells that from a machine that cannot connect.
func nobodyThere(err error) bool {
	for _, no := range []error{unix.ECONNREFUSED, unix.ECONNRESET, unix.ENETUNREACH, unix.EHOSTUNREACH, unix.EADDRNOTAVAIL, unix.EAFNOSUPPORT, unix.EINVAL} {
		if errors.Is(err, no) {
			return true
		}
	}
	return false
}

// network is a handle of the container's network namespace.
func (t *task) network() (*os.File, error) {
	if err := t.lives(); err != nil {
		return nil, err
	}
	init := t.state.Init.Open()
	if init < 0 {
		return nil, t.ended()
	}
	defer unix.Close(init)
	f, err := os.Open(fmt.Sprintf("/proc/%d/ns/net", t.state.Init.PID))
	// Looked at after opening: while the process is there, its number is its own.
	if unix.PidfdSendSignal(init, 0, nil, 0) != nil {
		if err == nil {
			f.Close()
		}
		return nil, t.ended()
	}
	if err != nil {
		if errors.Is(err, os.ErrNotExist) { // it is about to be gone
			return nil, t.ended()
		}
		return nil, unavailable("open the task's network", err)
	}
	return f, nil
}

// within runs f in another network namespace, on a thread that does nothing else
// meanwhile. A thread that cannot return ends with its goroutine.
func within(network *os.File, f func() error) error {
	result := make(chan error, 1)
	go func() {
		runtime.LockOSThread()
		result <- func() error {
			home, err := os.Open("/proc/thread-self/ns/net")
			if err != nil {
				runtime.UnlockOSThread()
				return err
			}
			defer home.Close()
			if err := unix.Setns(int(network.Fd()), unix.CLONE_NEWNET); err != nil {
				runtime.UnlockOSThread()
				return fmt.Errorf("enter the task's network: %w", err)
			}
			err = f()
			if unix.Setns(int(home.Fd()), unix.CLONE_NEWNET) == nil {
				runtime.UnlockOSThread()
			}
			return err
		}()
	}()
	return <-result
}

// addressesIn lists the addresses of a network namespace.
func addressesIn(network *os.File) (ips []net.IP, err error) {
	err = within(network, func() error {
		all, err := net.InterfaceAddrs()
		for _, a := range all {
			if n, ok := a.(*net.IPNet); ok && !n.IP.IsLinkLocalUnicast() { // those need a zone
				ips = append(ips, n.IP)
			}
		}
		return err
	})
	return ips, err
}

// dialIn connects to one address in a network namespace.
func dialIn(ctx context.Context, network *os.File, ip net.IP, port uint16) (net.Conn, error) {
	family, to := unix.AF_INET6, unix.Sockaddr(&unix.SockaddrInet6{Port: int(port), Addr: [16]byte(ip.To16())})
	if v4 := ip.To4(); v4 != nil {
		family, to = unix.AF_INET, &unix.SockaddrInet4{Port: int(port), Addr: [4]byte(v4)}
	}
	fd := -1
	err := within(network, func() (err error) {
		fd, err = unix.Socket(family, unix.SOCK_STREAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, unix.IPPROTO_TCP)
		return err
	})
	if err != nil {
		return nil, err
	}
	connecting := unix.Connect(fd, to)
	f := os.NewFile(uintptr(fd), "socket")
	defer f.Close() // net takes a copy
	if errors.Is(connecting, unix.EINPROGRESS) {
		connecting = connected(ctx, f)
	}
	if connecting != nil {
		return nil, connecting
	}
	return net.FileConn(f)
}

// connected waits until a socket is, or until ctx is over.
func connected(ctx context.Context, f *os.File) error {
	raw, err := f.SyscallConn()
	if err != nil {
		return err
	}
	stop := context.AfterFunc(ctx, func() { _ = f.SetWriteDeadline(time.Unix(1, 0)) })
	defer stop()
	var failed error
	err = raw.Write(func(fd uintptr) bool {
		var number int
		if number, failed = unix.GetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_ERROR); failed != nil {
			return true
		}
		if number != 0 {
			failed = unix.Errno(number)
			return true
		}
		_, err := unix.Getpeername(int(fd))
		return err == nil
	})
	return errors.Join(err, failed)
}
