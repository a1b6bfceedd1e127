package gateway

import (
	"io"
	"net"
	"sync"

	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/adapters/gonet"
	"gvisor.dev/gvisor/pkg/tcpip/transport/tcp"
	"gvisor.dev/gvisor/pkg/waiter"

	"github.com/moyai-network/moyai/compute/egress/flowlog"
	"github.com/moyai-network/moyai/compute/egress/uplink"
)

// dnsPort is where the resolver answers.
const dnsPort = 53

// tcp handles a first packet, in a goroutine of its own. The task's connection is
// accepted only once the other end has accepted ours: what it sees is what
// happened.
func (g *gateway) tcp(r *tcp.ForwarderRequest) {
	to := addrPort(r.ID().LocalAddress, r.ID().LocalPort)
	if to.Addr() == uplink.Resolver && to.Port() == dnsPort {
		if inside, _, ok := accept(r); ok {
			g.answerStream(inside)
		}
		return
	}
	f, err := g.begin(flowlog.TCP, to)
	if err != nil {
		r.Complete(true)
		return
	}
	defer f.end()
	outside, err := f.reach("tcp", to)
	if err != nil {
		r.Complete(true)
		return
	}
	defer outside.Close()
	inside, end, ok := accept(r)
	if !ok {
		return
	}
	defer inside.Close()
	f.onCut(func() {
		end.Abort()
		reset(outside)
	})
	f.splice(inside, end, outside.(*net.TCPConn))
}

// accept finishes the handshake with the task.
func accept(r *tcp.ForwarderRequest) (*gonet.TCPConn, tcpip.Endpoint, bool) {
	var queue waiter.Queue
	end, err := r.CreateEndpoint(&queue)
	if err != nil {
		r.Complete(true)
		return nil, nil, false
	}
	r.Complete(false)
	return gonet.NewTCPConn(&queue, end), end, true
}

// reset ends a connection at once.
func reset(c net.Conn) {
	if t, ok := c.(*net.TCPConn); ok {
		_ = t.SetLinger(0)
	}
	_ = c.Close()
}

// splice carries both directions until both have ended, each by itself, or
// either is broken.
func (f *flow) splice(inside *gonet.TCPConn, end tcpip.Endpoint, outside *net.TCPConn) {
	var wait sync.WaitGroup
	var once sync.Once
	carry := func(to io.Writer, from io.Reader, finish func() error, out bool) {
		err := f.copy(to, from, out)
		if err == nil {
			err = finish()
		}
		if err != nil {
			once.Do(func() {
				end.Abort()
				reset(outside)
			})
		}
	}
	wait.Go(func() { carry(outside, inside, outside.CloseWrite, true) })
	wait.Go(func() { carry(inside, outside, inside.CloseWrite, false) })
	wait.Wait()
}

// buffers are for copying; a flow holds two.
var buffers = sync.Pool{New: func() any { b := make([]byte, chunk); return &b }}

// copy carries one direction. Nothing is passed on that was not paid for.
func (f *flow) copy(to io.Writer, from io.Reader, out bool) error {
	buffer := buffers.Get().(*[]byte)
	defer buffers.Put(buffer)
	for {
		n, err := from.Read(*buffer)
		if n > 0 {
			paid := f.pay(n, out)
			if _, err := to.Write((*buffer)[:paid]); err != nil {
				return err
			}
			if paid < n {
				f.g.spent()
				return io.ErrShortWrite
			}
		}
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
	}
}
