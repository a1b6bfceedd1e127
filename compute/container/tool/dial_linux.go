package tool

import (
	"context"
	"errors"
	"net"
	"strconv"

	"golang.org/x/sys/unix"

	"github.com/moyai-network/moyai/compute/container/internal/switchboard"
)

// connect tries a port on each address that there is: the loopback's, where nearly
// everything listens that is to be reached, and then the others.
func connect(ctx context.Context, port uint16) (*net.TCPConn, error) {
	addresses := []net.IP{net.IPv4(127, 0, 0, 1), net.IPv6loopback}
	if all, err := net.InterfaceAddrs(); err == nil {
		for _, a := range all {
			if n, ok := a.(*net.IPNet); ok && !n.IP.IsLoopback() && !n.IP.IsLinkLocalUnicast() { // the last need a zone
				addresses = append(addresses, n.IP)
			}
		}
	}
	for _, ip := range addresses {
		c, err := new(net.Dialer).DialContext(ctx, "tcp", net.JoinHostPort(ip.String(), strconv.Itoa(int(port))))
		if err == nil {
			tcp, ok := c.(*net.TCPConn)
			if !ok {
				c.Close()
				return nil, errors.New("not a TCP connection")
			}
			return tcp, nil
		}
		if !nobodyThere(err) {
			return nil, err
		}
	}
	return nil, switchboard.ErrRefused
}

// nobodyThere tells that from a system that cannot connect.
func nobodyThere(err error) bool {
	for _, no := range []error{unix.ECONNREFUSED, unix.ECONNRESET, unix.ENETUNREACH, unix.EHOSTUNREACH, unix.EADDRNOTAVAIL, unix.EAFNOSUPPORT, unix.EINVAL} {
		if errors.Is(err, no) {
			return true
		}
	}
	return false
}
