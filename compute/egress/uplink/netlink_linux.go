package uplink

import (
	"encoding/binary"
	"fmt"
	"net/netip"

	"golang.org/x/sys/unix"
)

// configure brings the device up with its addresses, as the way to everything.
// It speaks rtnetlink itself: four messages do not need a library.
func configure(index int, ipv6 bool) error {
	n, err := dialNetlink()
	if err != nil {
		return err
	}
	defer unix.Close(n.fd)
	steps := []message{linkUp(index), address(index, Guest4), defaultRoute(index, via4)}
	if ipv6 {
		steps = append(steps, address(index, Guest6), defaultRoute(index, via6))
	}
	for _, m := range steps {
		if err := n.do(m); err != nil {
			return err
		}
	}
	return nil
}

// message is one request of rtnetlink (man 7 rtnetlink).
type message struct {
	kind uint16
	body []byte
}

func (m *message) attribute(kind uint16, value []byte) {
	m.body = binary.NativeEndian.AppendUint16(m.body, uint16(4+len(value)))
	m.body = binary.NativeEndian.AppendUint16(m.body, kind)
	m.body = append(m.body, value...)
	for len(m.body)%4 != 0 {
		m.body = append(m.body, 0)
	}
}

func word(n int) []byte { return binary.NativeEndian.AppendUint32(nil, uint32(n)) }

// linkUp is struct ifinfomsg and the MTU.
func linkUp(index int) message {
	m := message{kind: unix.RTM_NEWLINK, body: make([]byte, 4, 64)}
	m.body = append(m.body, word(index)...)
	m.body = append(m.body, word(unix.IFF_UP)...)
	m.body = append(m.body, word(unix.IFF_UP)...)
	m.attribute(unix.IFLA_MTU, word(MTU))
	return m
}

// address is struct ifaddrmsg.
func address(index int, p netip.Prefix) message {
	m := message{kind: unix.RTM_NEWADDR, body: append([]byte{family(p.Addr()), byte(p.Bits()), unix.IFA_F_NODAD, unix.RT_SCOPE_UNIVERSE}, word(index)...)}
	m.attribute(unix.IFA_LOCAL, p.Addr().AsSlice())
	m.attribute(unix.IFA_ADDRESS, p.Addr().AsSlice())
	return m
}

func family(a netip.Addr) byte {
	if a.Is6() {
		return unix.AF_INET6
	}
	return unix.AF_INET
}

// defaultRoute is struct rtmsg.
func defaultRoute(index int, via netip.Addr) message {
	m := message{kind: unix.RTM_NEWROUTE, body: []byte{family(via), 0, 0, 0, unix.RT_TABLE_MAIN, unix.RTPROT_STATIC, unix.RT_SCOPE_UNIVERSE, unix.RTN_UNICAST, 0, 0, 0, 0}}
	m.attribute(unix.RTA_OIF, word(index))
	m.attribute(unix.RTA_GATEWAY, via.AsSlice())
	return m
}

type netlink struct{ fd int }

func dialNetlink() (*netlink, error) {
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.NETLINK_ROUTE)
	if err != nil {
		return nil, fmt.Errorf("netlink: %w", err)
	}
	return &netlink{fd}, nil
}

// do sends a request and waits for its acknowledgement.
func (n *netlink) do(m message) error {
	const flags = unix.NLM_F_REQUEST | unix.NLM_F_ACK | unix.NLM_F_CREATE | unix.NLM_F_EXCL
	b := binary.NativeEndian.AppendUint32(nil, uint32(unix.NLMSG_HDRLEN+len(m.body)))
	b = binary.NativeEndian.AppendUint16(b, m.kind)
	how := uint16(flags)
	if m.kind == unix.RTM_NEWLINK {
		how = unix.NLM_F_REQUEST | unix.NLM_F_ACK // it is there
	}
	b = binary.NativeEndian.AppendUint16(b, how)
	b = append(append(b, word(1)...), word(0)...)
	if err := unix.Sendto(n.fd, append(b, m.body...), 0, &unix.SockaddrNetlink{Family: unix.AF_NETLINK}); err != nil {
		return fmt.Errorf("netlink message %d: %w", m.kind, err)
	}
	answer := make([]byte, 8<<10)
	for {
		got, _, err := unix.Recvfrom(n.fd, answer, 0)
		if err == unix.EINTR {
			continue
		}
		if err != nil {
			return fmt.Errorf("netlink message %d: %w", m.kind, err)
		}
		if got < unix.NLMSG_HDRLEN+4 || binary.NativeEndian.Uint16(answer[4:]) != unix.NLMSG_ERROR {
			continue
		}
		if code := int32(binary.NativeEndian.Uint32(answer[unix.NLMSG_HDRLEN:])); code != 0 {
			return fmt.Errorf("netlink message %d: %w", m.kind, unix.Errno(-code))
		}
		return nil
	}
}
