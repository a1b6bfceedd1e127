package gateway

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/time/rate"

	"github.com/moyai-network/moyai/compute/egress"
	"github.com/moyai-network/moyai/compute/egress/flowlog"
	"github.com/moyai-network/moyai/compute/egress/uplink"
)

// gateway carries the flows of one task.
type gateway struct {
	order   uplink.Order
	log     *flowlog.Writer
	around  *surroundings
	names   names
	ledger  ledger // of all tasks of the lease
	counter ledger // of this one
	bytes   *rate.Limiter
	begins  *rate.Limiter
	lookups *rate.Limiter
	servers func() []netip.AddrPort // that answer for names
	dial    net.Dialer
	asking  atomic.Int32 // sockets with questions for names

	ctx  context.Context
	mu   sync.Mutex
	open map[*flow]struct{}
	over bool // the budget is spent
}

// chunk is how much is carried at once.
const chunk = 64 << 10

// overhead is what a datagram counts beside what it holds: its headers.
const overhead = 28

func newGateway(ctx context.Context, order uplink.Order, log *flowlog.Writer, around *surroundings, ledger, counter ledger) *gateway {
	e := &order.Egress
	return &gateway{
		order: order, log: log, around: around, ledger: ledger, counter: counter, ctx: ctx,
		bytes:   rate.NewLimiter(rate.Limit(e.Rate), int(min(max(e.Rate/8, 2*chunk), 1<<30))),
		begins:  rate.NewLimiter(rate.Limit(e.FlowsPerSecond), 2*e.FlowsPerSecond),
		lookups: rate.NewLimiter(20, 100),
		servers: resolvers(e.Resolvers), open: map[*flow]struct{}{},
		dial: net.Dialer{Timeout: 15 * time.Second, KeepAlive: 30 * time.Second},
	}
}

// flow is one connection, or one exchange of datagrams.
type flow struct {
	g    *gateway
	peer flowlog.Peer
	cut  func() // ends it at once, both sides
}

// errRefused: the flow is not let through. The log knows why.
var errRefused = errors.New("refused")

// begin judges a flow, books it and writes its line. The caller ends it.
func (g *gateway) begin(proto string, to netip.AddrPort) (*flow, error) {
	peer := flowlog.Peer{Proto: proto, Addr: to.Addr().String(), Port: to.Port(), Verdict: flowlog.Allowed}
	if !g.begins.Allow() {
		// Neither named nor judged: this is what bounds a flood's cost.
		return nil, g.refuse(flowlog.Peer{Proto: proto}, "too many new ones a second")
	}
	told := g.names.names(to.Addr(), time.Now())
	peer.Name = g.nameFor(told)
	if ok, why := egress.Decide(egress.Flow{Addr: to.Addr(), Port: to.Port(), Names: told}, g.order.Egress.Policies...); !ok {
		return nil, g.refuse(peer, why)
	}
	if why := g.around.why(to.Addr()); why != "" {
		return nil, g.refuse(peer, why)
	}
	if g.ledger.spent(g.order.Egress.Bytes) {
		return nil, g.refuse(peer, "the byte budget is spent")
	}
	f := &flow{g: g, peer: peer}
	g.mu.Lock()
	full := len(g.open) >= g.order.Egress.Flows
	if !full {
		g.open[f] = struct{}{}
	}
	g.mu.Unlock()
	if full {
		return nil, g.refuse(peer, "too many at once")
	}
	if err := g.log.Begin(peer); err != nil {
		f.end()
		return nil, errors.Join(errRefused, err)
	}
	return f, nil
}

// nameFor is the name to log: one that a rule speaks of before others.
func (g *gateway) nameFor(told []string) string {
	for _, name := range slices.Backward(told) {
		if egress.Resolves(name, g.order.Egress.Policies...) {
			return name
		}
	}
	return ""
}

func (g *gateway) refuse(peer flowlog.Peer, why string) error {
	peer.Verdict, peer.Why = flowlog.Refused, why
	_ = g.log.Begin(peer) // a refusal that cannot be logged is still one
	return errRefused
}

func (f *flow) end() {
	f.g.mu.Lock()
	defer f.g.mu.Unlock()
	delete(f.g.open, f)
}

// onCut says how to end the flow, and ends it if its time is over already.
func (f *flow) onCut(cut func()) {
	f.g.mu.Lock()
	f.cut = cut
	over := f.g.over
	f.g.mu.Unlock()
	if over {
		cut()
	}
}

// pay takes bytes from the budget and waits for their turn. It returns how many
// there were; fewer than asked for are the last.
func (f *flow) pay(n int, out bool) int {
	got := f.g.pay(n)
	if out {
		f.g.log.Add(f.peer, uint64(got), 0)
	} else {
		f.g.log.Add(f.peer, 0, uint64(got))
	}
	return got
}

func (g *gateway) pay(n int) int {
	budget := g.order.Egress.Bytes
	got := int(g.ledger.take(uint64(n), budget))
	g.counter.n.Add(uint64(got))
	if got > 0 && g.bytes.WaitN(g.ctx, got) != nil {
		return 0
	}
	return got
}

// spent ends everything: the budget is gone.
func (g *gateway) spent() {
	g.mu.Lock()
	first := !g.over
	g.over = true
	var cuts []func()
	for f := range g.open {
		if f.cut != nil {
			cuts = append(cuts, f.cut)
		}
	}
	g.mu.Unlock()
	for _, cut := range cuts {
		cut()
	}
	if first {
		_ = g.refuse(flowlog.Peer{}, "the byte budget is spent: everything that was open was cut")
	}
}

// reach opens the socket of a flow that was let through.
func (f *flow) reach(network string, to netip.AddrPort) (net.Conn, error) {
	c, err := f.g.dial.DialContext(f.g.ctx, network, to.String())
	if err != nil {
		_ = f.g.refuse(f.peer, "let through, but: "+cause(err))
		return nil, err
	}
	// The last word about the machine's own addresses is the kernel's: they are
	// spoken to from themselves.
	if local, err := netip.ParseAddrPort(c.LocalAddr().String()); err != nil || local.Addr().Unmap() == to.Addr() {
		c.Close()
		return nil, f.g.refuse(f.peer, "an address of the provider's machine")
	}
	return c, nil
}

// cause is the part of a dial's error that says what happened, without our own
// addresses.
func cause(err error) string {
	var number syscall.Errno
	switch {
	case errors.As(err, &number):
		return number.Error()
	case errors.Is(err, context.Canceled):
		return "the task ended"
	}
	var late net.Error
	if errors.As(err, &late) && late.Timeout() {
		return "no answer"
	}
	return strings.TrimSpace(err.Error())
}

// ends reports that the task's budget is spent, or that the gateway ends.
func (g *gateway) ends() bool {
	return g.ctx.Err() != nil || g.ledger.spent(g.order.Egress.Bytes)
}

// watch writes the sums of the log every so often, and sees to it that a budget
// spent by another task of the lease ends our flows too.
func (g *gateway) watch() {
	const flushEvery, lookEvery = 10 * time.Second, 200 * time.Millisecond
	tick := time.NewTicker(lookEvery)
	defer tick.Stop()
	flushed := time.Now()
	for {
		select {
		case <-g.ctx.Done():
			return
		case now := <-tick.C:
			if g.ends() {
				g.spent()
			}
			if now.Sub(flushed) >= flushEvery {
				g.log.Flush()
				flushed = now
			}
		}
	}
}
