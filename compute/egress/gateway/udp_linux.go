package gateway

import (
	"net"
	"net/netip"
	"sync"
	"time"

	"gvisor.dev/gvisor/pkg/tcpip/adapters/gonet"
	"gvisor.dev/gvisor/pkg/tcpip/transport/udp"
	"gvisor.dev/gvisor/pkg/waiter"

	"github.com/moyai-network/moyai/compute/egress/flowlog"
	"github.com/moyai-network/moyai/compute/egress/uplink"
)

// quiet is how long an exchange of datagrams may pause.
const quiet = 60 * time.Second

// udp handles the first datagram of an exchange. False has the stack say that
// nobody is there.
func (g *gateway) udp(r *udp.ForwarderRequest) bool {
	to := addrPort(r.ID().LocalAddress, r.ID().LocalPort)
	if to.Addr() == uplink.Resolver {
		return to.Port() == dnsPort && g.resolver(r)
	}
	f, err := g.begin(flowlog.UDP, to)
	if err != nil {
		return false
	}
	var queue waiter.Queue
	end, failed := r.CreateEndpoint(&queue)
	if failed != nil {
		f.end()
		return true
	}
	inside := gonet.NewUDPConn(&queue, end)
	go func() {
		defer f.end()
		defer inside.Close()
		f.exchange(inside, to)
	}()
	return true
}

// exchange carries datagrams both ways until neither side has said anything for
// a while.
func (f *flow) exchange(inside *gonet.UDPConn, to netip.AddrPort) {
	outside, err := f.reach("udp", to)
	if err != nil {
		return
	}
	defer outside.Close()
	f.onCut(func() {
		inside.Close()
		outside.Close()
	})
	var wait sync.WaitGroup
	carry := func(to, from net.Conn, out bool) {
		defer inside.Close()
		defer outside.Close()
		buffer := buffers.Get().(*[]byte)
		defer buffers.Put(buffer)
		for {
			n, err := from.Read(*buffer)
			if err != nil {
				return
			}
			late := time.Now().Add(quiet)
			_, _ = inside.SetReadDeadline(late), outside.SetReadDeadline(late)
			if f.pay(n+overhead, out) < n+overhead {
				f.g.spent()
				return
			}
			if _, err := to.Write((*buffer)[:n]); err != nil {
				return
			}
		}
	}
	late := time.Now().Add(quiet)
	_, _ = inside.SetReadDeadline(late), outside.SetReadDeadline(late)
	wait.Go(func() { carry(outside, inside, true) })
	wait.Go(func() { carry(inside, outside, false) })
	wait.Wait()
}
