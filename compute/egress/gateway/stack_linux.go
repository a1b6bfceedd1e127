package gateway

import (
	"fmt"
	"net/netip"
	"os"
	"sync"

	"golang.org/x/sys/unix"
	"golang.org/x/time/rate"
	"gvisor.dev/gvisor/pkg/buffer"
	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/header"
	"gvisor.dev/gvisor/pkg/tcpip/network/ipv4"
	"gvisor.dev/gvisor/pkg/tcpip/network/ipv6"
	"gvisor.dev/gvisor/pkg/tcpip/stack"
	"gvisor.dev/gvisor/pkg/tcpip/transport/tcp"
	"gvisor.dev/gvisor/pkg/tcpip/transport/udp"

	"github.com/moyai-network/moyai/compute/egress/uplink"
)

// Buffers of one flow in the stack: small, as the far end is in this machine, and
// as a task can have many flows.
const (
	leastBuffer = 4 << 10
	usualBuffer = 256 << 10
	mostBuffer  = 512 << 10
)

// Packets that are taken from a task: a flood must not cost more than a core's
// part. Their size is up to uplink.MTU, so this bounds no honest use.
const (
	packetsPerSecond = 50_000
	packetBurst      = 10_000
)

// inFlight bounds connections that are being judged or dialled.
const inFlight = 256

const nic = 1

// newStack makes a network stack that takes every packet of the device for its
// own and hands each new flow to g.
func newStack(g *gateway, link stack.LinkEndpoint) (*stack.Stack, error) {
	s := stack.New(stack.Options{
		NetworkProtocols:   []stack.NetworkProtocolFactory{ipv4.NewProtocol, ipv6.NewProtocol},
		TransportProtocols: []stack.TransportProtocolFactory{tcp.NewProtocol, udp.NewProtocol},
	})
	sack, moderate := tcpip.TCPSACKEnabled(true), tcpip.TCPModerateReceiveBufferOption(true)
	receive := tcpip.TCPReceiveBufferSizeRangeOption{Min: leastBuffer, Default: usualBuffer, Max: mostBuffer}
	send := tcpip.TCPSendBufferSizeRangeOption{Min: leastBuffer, Default: usualBuffer, Max: mostBuffer}
	for _, option := range []tcpip.SettableTransportProtocolOption{&sack, &moderate, &receive, &send} {
		if err := s.SetTransportProtocolOption(tcp.ProtocolNumber, option); err != nil {
			return nil, fmt.Errorf("set up the stack: %s", err)
		}
	}
	if err := s.CreateNIC(nic, link); err != nil {
		return nil, fmt.Errorf("set up the stack: %s", err)
	}
	// Every address is ours: promiscuous for receiving, spoofing for answering.
	if err := s.SetPromiscuousMode(nic, true); err != nil {
		return nil, fmt.Errorf("set up the stack: %s", err)
	}
	if err := s.SetSpoofing(nic, true); err != nil {
		return nil, fmt.Errorf("set up the stack: %s", err)
	}
	s.SetRouteTable([]tcpip.Route{{Destination: header.IPv4EmptySubnet, NIC: nic}, {Destination: header.IPv6EmptySubnet, NIC: nic}})
	s.SetTransportProtocolHandler(tcp.ProtocolNumber, tcp.NewForwarder(s, 0, inFlight, g.tcp).HandlePacket)
	s.SetTransportProtocolHandler(udp.ProtocolNumber, udp.NewForwarder(s, g.udp).HandlePacket)
	return s, nil
}

// addrPort is a destination as the stack has it.
func addrPort(a tcpip.Address, port uint16) netip.AddrPort {
	ip, _ := netip.AddrFromSlice(a.AsSlice())
	return netip.AddrPortFrom(ip, port)
}

// device is the TUN as the stack's link.
type device struct {
	file *os.File
	fd   int

	mu         sync.RWMutex
	dispatcher stack.NetworkDispatcher
}

var _ stack.LinkEndpoint = (*device)(nil)

// carry reads packets until the device is gone.
func (d *device) carry(g *gateway) error {
	pace := rate.NewLimiter(packetsPerSecond, packetBurst)
	b := make([]byte, 1<<16)
	for {
		n, err := d.file.Read(b)
		if err != nil {
			return err
		}
		if err := pace.Wait(g.ctx); err != nil {
			return err
		}
		proto, ok := admit(b[:n])
		if !ok {
			continue
		}
		d.mu.RLock()
		to := d.dispatcher
		d.mu.RUnlock()
		if to == nil {
			continue
		}
		p := stack.NewPacketBuffer(stack.PacketBufferOptions{Payload: buffer.MakeWithData(b[:n])})
		to.DeliverNetworkPacket(proto, p)
		p.DecRef()
	}
}

// admit lets in whole TCP and UDP packets from the task's own addresses to one
// that is a single machine's. Everything else a kernel might send (neighbours,
// groups, fragments, other protocols) has no answer here.
func admit(b []byte) (tcpip.NetworkProtocolNumber, bool) {
	if len(b) < header.IPv4MinimumSize {
		return 0, false
	}
	transport := func(n byte) bool { return n == byte(header.TCPProtocolNumber) || n == byte(header.UDPProtocolNumber) }
	switch b[0] >> 4 {
	case 4:
		from, to := netip.AddrFrom4([4]byte(b[12:16])), netip.AddrFrom4([4]byte(b[16:20]))
		const fragment = 0x3fff // more fragments, or an offset
		whole := (int(b[6])<<8|int(b[7]))&fragment == 0
		return ipv4.ProtocolNumber, whole && transport(b[9]) && from == uplink.Guest4.Addr() && single(to)
	case 6:
		if len(b) < header.IPv6MinimumSize {
			return 0, false
		}
		from, to := netip.AddrFrom16([16]byte(b[8:24])), netip.AddrFrom16([16]byte(b[24:40]))
		return ipv6.ProtocolNumber, transport(b[6]) && from == uplink.Guest6.Addr() && single(to)
	}
	return 0, false
}

// single reports that an address is one machine's. The stack would take others,
// and what is mapped, for something of its own.
func single(a netip.Addr) bool {
	return !a.IsMulticast() && !a.IsUnspecified() && !a.IsLoopback() && !a.Is4In6() && a != netip.AddrFrom4([4]byte{255, 255, 255, 255})
}

// WritePackets implements stack.LinkEndpoint.
func (d *device) WritePackets(list stack.PacketBufferList) (int, tcpip.Error) {
	sent := 0
	for _, p := range list.AsSlice() {
		if _, err := unix.Writev(d.fd, p.AsSlices()); err != nil {
			return sent, &tcpip.ErrNoBufferSpace{} // TCP sends it again
		}
		sent++
	}
	return sent, nil
}

// Attach implements stack.LinkEndpoint.
func (d *device) Attach(to stack.NetworkDispatcher) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.dispatcher = to
}

// IsAttached implements stack.LinkEndpoint.
func (d *device) IsAttached() bool {
	d.mu.RLock()
	defer d.mu.RUnlock()
	return d.dispatcher != nil
}

// MTU implements stack.LinkEndpoint.
func (*device) MTU() uint32 { return uplink.MTU }

// SetMTU implements stack.LinkEndpoint.
func (*device) SetMTU(uint32) {}

// MaxHeaderLength implements stack.LinkEndpoint.
func (*device) MaxHeaderLength() uint16 { return 0 }

// LinkAddress implements stack.LinkEndpoint.
func (*device) LinkAddress() tcpip.LinkAddress { return "" }

// SetLinkAddress implements stack.LinkEndpoint.
func (*device) SetLinkAddress(tcpip.LinkAddress) {}

// Capabilities implements stack.LinkEndpoint: what comes out of our own kernel
// needs no checking of sums.
func (*device) Capabilities() stack.LinkEndpointCapabilities {
	return stack.CapabilityRXChecksumOffload
}

// Wait implements stack.LinkEndpoint.
func (*device) Wait() {}

// ARPHardwareType implements stack.LinkEndpoint.
func (*device) ARPHardwareType() header.ARPHardwareType { return header.ARPHardwareNone }

// AddHeader implements stack.LinkEndpoint.
func (*device) AddHeader(*stack.PacketBuffer) {}

// ParseHeader implements stack.LinkEndpoint.
func (*device) ParseHeader(*stack.PacketBuffer) bool { return true }

// Close implements stack.LinkEndpoint.
func (*device) Close() {}

// SetOnCloseAction implements stack.LinkEndpoint.
func (*device) SetOnCloseAction(func()) {}
