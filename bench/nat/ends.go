package nat

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strconv"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/moyai-network/moyai/bench/measure"
	"github.com/moyai-network/moyai/devnet/homes"
	"github.com/moyai-network/moyai/p2p"
	"github.com/moyai-network/moyai/p2p/enter"
	"github.com/moyai-network/moyai/wire"
)

const (
	roleRelay    = "relay"
	roleProvider = "provider"
	roleTenant   = "tenant"
)

// task is what one end has to do.
type task struct {
	Role    string
	Peers   []string // the relay's addresses, or the provider's, with their names
	TCP     string   // where the provider's sink is reached without us
	Punches int      // how many times to measure; 0: nothing is punched
}

// place is what a relay or a provider prints.
type place struct{ Addrs []string }

// figures are what a tenant prints; transfers in MiB/s.
type figures struct {
	Punch, TCP, Forward measure.Samples
	Direct              bool
	Over                string // the transport of the path used
}

func (t task) run(ctx context.Context) error {
	switch t.Role {
	case roleRelay:
		return t.relay(ctx)
	case roleProvider:
		return t.provider(ctx)
	case roleTenant:
		f, err := t.tenant(ctx)
		if err != nil {
			return err
		}
		return say(f)
	}
	return fmt.Errorf("no role %q", t.Role)
}

func say(v any) error { return json.NewEncoder(os.Stdout).Encode(v) }

func names(h *p2p.Host) (out []string) {
	for _, a := range h.AddrStrings() {
		out = append(out, a+"/p2p/"+h.ID().String())
	}
	return out
}

func (t task) relay(ctx context.Context) error {
	key, err := p2p.NewKey()
	if err != nil {
		return err
	}
	var listen []string
	for _, form := range []string{"/ip4/%s/udp/%d/quic-v1", "/ip4/%s/tcp/%d"} {
		listen = append(listen, fmt.Sprintf(form, homes.Addresses[0], relayPort))
	}
	h, err := p2p.New(p2p.Config{Key: key, Listen: listen, Relay: &p2p.RelayLimits{CircuitBytes: 1 << 40}})
	if err != nil {
		return err
	}
	defer h.Close()
	if err := say(place{names(h)}); err != nil {
		return err
	}
	<-ctx.Done()
	return nil
}

// provider forwards to a sink of its own, as a task would listen.
func (t task) provider(ctx context.Context) error {
	sink, err := net.Listen("tcp", fmt.Sprintf(":%d", tcpPort))
	if err != nil {
		return err
	}
	defer sink.Close()
	go swallow(sink)
	key, err := p2p.NewKey()
	if err != nil {
		return err
	}
	signer, err := wire.NewEd25519Signer(key.Seed())
	if err != nil {
		return err
	}
	h, err := p2p.New(p2p.Config{Key: key, Relays: t.Peers})
	if err != nil {
		return err
	}
	defer h.Close()
	h.Acknowledge("moyai-bench-1", signer)
	enter.Handle(h, func(ctx context.Context, v *enter.Visit) {
		inside, err := net.Dial("tcp", "127.0.0.1:"+strconv.Itoa(int(v.Request.Dial.Port)))
		if err != nil {
			_ = v.Refuse(p2p.Refusal{Subject: enter.SubjectPort, Hint: err.Error()})
			return
		}
		if v.Admit(nil) == nil {
			enter.Splice(ctx, inside.(*net.TCPConn), v.Conn())
		}
	})
	for h.Reach() != p2p.ReachRelayed {
		select {
		case <-ctx.Done():
			return errors.New("no relay gives a place")
		case <-time.After(10 * time.Millisecond):
		}
	}
	if err := say(place{names(h)}); err != nil {
		return err
	}
	<-ctx.Done()
	return nil
}

// swallow reads what comes and answers with how much it was.
func swallow(l net.Listener) {
	for {
		c, err := l.Accept()
		if err != nil {
			return
		}
		go func() {
			defer c.Close()
			n, err := io.CopyBuffer(struct{ io.Writer }{io.Discard}, struct{ io.Reader }{c}, make([]byte, 256<<10))
			if err == nil {
				_, _ = c.Write(binary.BigEndian.AppendUint64(nil, uint64(n)))
			}
		}()
	}
}

func (t task) tenant(ctx context.Context) (f figures, err error) {
	provider, err := p2p.ParseRelays(t.Peers) // the same form
	if err != nil || len(provider) != 1 {
		return f, fmt.Errorf("provider's addresses %v: %w", t.Peers, err)
	}
	var h *p2p.Host
	for range max(t.Punches, 1) {
		if h != nil {
			_ = h.Close()
		}
		key, err := p2p.NewKey()
		if err != nil {
			return f, err
		}
		if h, err = p2p.New(p2p.Config{Key: key}); err != nil {
			return f, err
		}
		if err := h.Connect(ctx, provider[0]); err != nil {
			return f, err
		}
		if t.Punches > 0 {
			took, err := punched(ctx, h, provider[0].ID)
			if err != nil {
				return f, err
			}
			f.Punch = append(f.Punch, measure.Milliseconds(took))
		}
	}
	defer h.Close()
	local, err := forward(ctx, h, provider[0])
	if err != nil {
		return f, err
	}
	for range rounds {
		plain, err := transfer(t.TCP)
		if err != nil {
			return f, fmt.Errorf("plain TCP: %w", err)
		}
		ours, err := transfer(local)
		if err != nil {
			return f, fmt.Errorf("forwarded: %w", err)
		}
		f.TCP, f.Forward = append(f.TCP, plain), append(f.Forward, ours)
	}
	f.Direct = h.Direct(provider[0].ID)
	for _, c := range h.Network().ConnsToPeer(provider[0].ID) {
		if f.Direct == !c.Stat().Limited {
			f.Over = c.ConnState().Transport
		}
	}
	return f, nil
}

// punched waits for the first connection that no relay carries.
func punched(ctx context.Context, h *p2p.Host, id peer.ID) (time.Duration, error) {
	begin := time.Now()
	ctx, cancel := context.WithTimeout(ctx, punchWait)
	defer cancel()
	for !h.Direct(id) {
		select {
		case <-ctx.Done():
			return 0, fmt.Errorf("nothing is punched after %s", punchWait)
		case <-time.After(time.Millisecond):
		}
	}
	return time.Since(begin), nil
}

// forward leads a port of this machine to the provider's sink.
func forward(ctx context.Context, h *p2p.Host, provider peer.AddrInfo) (local string, err error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				e, err := enter.Open(ctx, h, provider, enter.Request{
					LeaseID: make([]byte, 20), Access: []byte{1}, Dial: &enter.Dial{Port: tcpPort},
				})
				if err != nil {
					fmt.Fprintln(os.Stderr, "bench:", err)
					_ = c.Close()
					return
				}
				enter.Splice(ctx, c.(*net.TCPConn), e.Conn())
			}()
		}
	}()
	return l.Addr().String(), nil
}

// transfer writes for a while, waits until all of it has arrived and returns MiB
// per second.
func transfer(address string) (float64, error) {
	c, err := net.Dial("tcp", address)
	if err != nil {
		return 0, err
	}
	defer c.Close()
	piece := make([]byte, 256<<10)
	begin, sent := time.Now(), uint64(0)
	for time.Since(begin) < transferFor {
		n, err := c.Write(piece)
		if err != nil {
			return 0, err
		}
		sent += uint64(n)
	}
	if err := c.(*net.TCPConn).CloseWrite(); err != nil {
		return 0, err
	}
	var arrived [8]byte
	if _, err := io.ReadFull(c, arrived[:]); err != nil {
		return 0, err
	}
	took := time.Since(begin)
	if n := binary.BigEndian.Uint64(arrived[:]); n != sent {
		return 0, fmt.Errorf("%d bytes of %d arrived", n, sent)
	}
	return float64(sent) / (1 << 20) / took.Seconds(), nil
}
