package gateway

import (
	"bytes"
	"net"
	"net/netip"
	"os"
	"strings"
	"sync"
	"syscall"
	"time"
)

// surroundings are the machine's own addresses and networks, public ones too. A
// home's IPv6 devices all have public addresses.
type surroundings struct {
	shunned *os.File // more, one a line

	mu   sync.Mutex
	seen time.Time
	list []ground
}

type ground struct {
	prefix netip.Prefix
	what   string
}

const (
	lookEvery  = 2 * time.Second
	maxShunned = 64 << 10
	// maxRoutes: a machine with more is a router of the internet, and its routes
	// say nothing about a home.
	maxRoutes = 1024
	// home6 is what a home gets of IPv6: its other networks are beside ours.
	home6 = 56
)

// why says what an address is to this machine; empty: nothing.
func (s *surroundings) why(a netip.Addr) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	if now := time.Now(); now.Sub(s.seen) > lookEvery || s.seen.IsZero() {
		s.list, s.seen = append(interfaces(), append(routes(), s.read()...)...), now
	}
	for _, g := range s.list {
		if g.prefix.Contains(a) {
			return g.what
		}
	}
	return ""
}

// interfaces are the machine's addresses and what lies on their links.
func interfaces() []ground {
	addrs, err := net.InterfaceAddrs()
	if err != nil {
		return everything
	}
	var out []ground
	for _, a := range addrs {
		ipnet, ok := a.(*net.IPNet)
		if !ok {
			continue
		}
		ip, ok := netip.AddrFromSlice(ipnet.IP)
		if !ok {
			continue
		}
		ip = ip.Unmap()
		bits, _ := ipnet.Mask.Size()
		if ip.Is6() && ip.IsGlobalUnicast() && !ip.IsPrivate() {
			bits = min(bits, home6)
		}
		out = append(out, ground{netip.PrefixFrom(ip, ip.BitLen()), "an address of the provider's machine"})
		if p, err := ip.Prefix(bits); err == nil {
			out = append(out, ground{p, "the provider's own network"})
		}
	}
	return out
}

// everything is what is shunned when the machine cannot be asked: when in doubt,
// nothing goes out.
var everything = []ground{
	{netip.MustParsePrefix("0.0.0.0/0"), "its addresses cannot be read"},
	{netip.MustParsePrefix("::/0"), "its addresses cannot be read"},
}

// routes are networks that the machine knows a way to other than its way to
// everything: offices, VPNs, what lies behind a second router.
func routes() []ground {
	table, err := syscall.NetlinkRIB(syscall.RTM_GETROUTE, syscall.AF_UNSPEC)
	if err != nil {
		return everything
	}
	messages, err := syscall.ParseNetlinkMessage(table)
	if err != nil {
		return everything
	}
	if len(messages) > maxRoutes {
		return nil
	}
	var out []ground
	for i := range messages {
		m := &messages[i]
		if m.Header.Type != syscall.RTM_NEWROUTE || len(m.Data) < syscall.SizeofRtMsg {
			continue
		}
		bits := int(m.Data[1])
		attributes, err := syscall.ParseNetlinkRouteAttr(m)
		if err != nil {
			continue
		}
		for _, a := range attributes {
			if a.Attr.Type != syscall.RTA_DST {
				continue
			}
			ip, ok := netip.AddrFromSlice(a.Value)
			// Shorter ones are parts of a way to everything, as some VPNs make it.
			if least := map[bool]int{true: 8, false: 16}[ip.Is4()]; !ok || bits < least {
				continue
			}
			if p, err := ip.Prefix(bits); err == nil {
				out = append(out, ground{p, "a network that the provider's machine has a way of its own to"})
			}
		}
	}
	return out
}

// read takes in what whoever started us has found out since.
func (s *surroundings) read() []ground {
	b := make([]byte, maxShunned)
	n, _ := s.shunned.ReadAt(b, 0) // an error comes with what there is
	var out []ground
	for line := range bytes.Lines(b[:n]) {
		text := strings.TrimSpace(string(line))
		p, err := netip.ParsePrefix(text)
		if a, errAddr := netip.ParseAddr(text); errAddr == nil {
			p, err = netip.PrefixFrom(a.Unmap(), a.Unmap().BitLen()), nil
		}
		if err == nil {
			out = append(out, ground{p.Masked(), "an address that is the provider's"})
		}
	}
	return out
}
