package gateway

import (
	"context"
	"encoding/binary"
	"io"
	"net"
	"strings"
	"time"

	"golang.org/x/net/dns/dnsmessage"
	"gvisor.dev/gvisor/pkg/tcpip/adapters/gonet"
	"gvisor.dev/gvisor/pkg/tcpip/transport/udp"
	"gvisor.dev/gvisor/pkg/waiter"

	"github.com/moyai-network/moyai/compute/egress"
	"github.com/moyai-network/moyai/compute/egress/flowlog"
)

// Bounds of questions for names.
const (
	maxQuestion = 1232 // bytes
	maxAsking   = 64   // sockets that ask at once
	dnsQuiet    = 15 * time.Second
	dnsPatience = 4 * time.Second
)

// resolver answers the datagrams of one socket of the task's.
func (g *gateway) resolver(r *udp.ForwarderRequest) bool {
	if g.asking.Add(1) > maxAsking {
		g.asking.Add(-1)
		return true // it asks again
	}
	var queue waiter.Queue
	end, failed := r.CreateEndpoint(&queue)
	if failed != nil {
		g.asking.Add(-1)
		return true
	}
	inside := gonet.NewUDPConn(&queue, end)
	go func() {
		defer g.asking.Add(-1)
		defer inside.Close()
		buffer := make([]byte, maxQuestion)
		for {
			_ = inside.SetReadDeadline(time.Now().Add(dnsQuiet))
			n, err := inside.Read(buffer)
			if err != nil {
				return
			}
			if reply := g.answer(buffer[:n], maxQuestion); reply != nil {
				_, _ = inside.Write(reply)
			}
		}
	}()
	return true
}

// answerStream answers the questions of one connection.
func (g *gateway) answerStream(inside net.Conn) {
	defer inside.Close()
	if g.asking.Add(1) > maxAsking {
		g.asking.Add(-1)
		return
	}
	defer g.asking.Add(-1)
	for {
		_ = inside.SetDeadline(time.Now().Add(dnsQuiet))
		question, err := readStream(inside)
		if err != nil || len(question) > maxQuestion {
			return
		}
		reply := g.answer(question, maxAnswer)
		if reply == nil || writeStream(inside, reply) != nil {
			return
		}
	}
}

// readStream and writeStream carry messages with their length before them.
func readStream(r io.Reader) ([]byte, error) {
	var length [2]byte
	if _, err := io.ReadFull(r, length[:]); err != nil {
		return nil, err
	}
	b := make([]byte, binary.BigEndian.Uint16(length[:]))
	_, err := io.ReadFull(r, b)
	return b, err
}

func writeStream(w io.Writer, b []byte) error {
	_, err := w.Write(append(binary.BigEndian.AppendUint16(nil, uint16(len(b))), b...))
	return err
}

// kinds are what may be asked for. Others are answered with nothing: among them
// are those that carry addresses which we would have to judge.
var kinds = map[dnsmessage.Type]bool{
	dnsmessage.TypeA: true, dnsmessage.TypeAAAA: true, dnsmessage.TypeCNAME: true, dnsmessage.TypeMX: true,
	dnsmessage.TypeTXT: true, dnsmessage.TypeSRV: true, dnsmessage.TypeNS: true,
}

// answer is the whole reply to a question; nil: none is given.
func (g *gateway) answer(b []byte, most int) []byte {
	var p dnsmessage.Parser
	h, err := p.Start(b)
	if err != nil || h.Response || h.OpCode != 0 {
		return nil
	}
	q, err := p.Question()
	if err != nil {
		return nil
	}
	if _, err := p.Question(); err == nil {
		return reply(h, q, dnsmessage.RCodeFormatError, nil, most)
	}
	if !g.lookups.Allow() {
		return reply(h, q, dnsmessage.RCodeRefused, nil, most)
	}
	name := strings.ToLower(strings.TrimSuffix(q.Name.String(), "."))
	if q.Class != dnsmessage.ClassINET || !egress.Resolves(name, g.order.Egress.Policies...) {
		_ = g.refuse(flowlog.Peer{Proto: flowlog.Lookup, Name: printable(name)}, "no rule speaks of it")
		return reply(h, q, dnsmessage.RCodeNameError, nil, most)
	}
	if !kinds[q.Type] || q.Type == dnsmessage.TypeAAAA && !g.order.IPv6 {
		return reply(h, q, dnsmessage.RCodeSuccess, nil, most)
	}
	peer := flowlog.Peer{Proto: flowlog.Lookup, Name: name, Verdict: flowlog.Allowed}
	if g.ends() || g.log.Begin(peer) != nil {
		return reply(h, q, dnsmessage.RCodeRefused, nil, most)
	}
	if g.pay(len(b)+overhead) == 0 {
		return reply(h, q, dnsmessage.RCodeRefused, nil, most)
	}
	g.log.Add(peer, uint64(len(b)+overhead), 0)
	ctx, cancel := context.WithTimeout(g.ctx, dnsPatience)
	defer cancel()
	found, code := g.ask(ctx, name, q.Type)
	found = g.sift(name, q.Type, found)
	if code == dnsmessage.RCodeSuccess && found.stripped && len(found.records) == 0 {
		code = dnsmessage.RCodeNameError
		_ = g.refuse(peer, "it stands for addresses that are never reached")
	}
	out := reply(h, q, code, found.records, most)
	g.log.Add(peer, 0, uint64(g.pay(len(out)+overhead)))
	return out
}

// answerable is what passed.
type answerable struct {
	records  []dnsmessage.Resource
	stripped bool
}

// sift leaves out addresses that are not reached anyway, and remembers the others
// under the name that was asked for.
func (g *gateway) sift(name string, kind dnsmessage.Type, in answerable) (out answerable) {
	if kind != dnsmessage.TypeA && kind != dnsmessage.TypeAAAA {
		return in
	}
	now := time.Now()
	chain := map[string]bool{name: true}
	for _, r := range in.records {
		owner := strings.ToLower(strings.TrimSuffix(r.Header.Name.String(), "."))
		if !chain[owner] {
			continue // not what was asked for
		}
		if alias, ok := r.Body.(*dnsmessage.CNAMEResource); ok {
			chain[strings.ToLower(strings.TrimSuffix(alias.CNAME.String(), "."))] = true
			out.records = append(out.records, r)
			continue
		}
		a, ok := address(r.Body)
		if !ok || r.Header.Type != kind {
			continue
		}
		if egress.Special(a) != "" || g.around.why(a) != "" {
			out.stripped = true
			continue
		}
		g.names.learn(a, name, time.Duration(r.Header.TTL)*time.Second, now)
		out.records = append(out.records, r)
	}
	if out.stripped && !hasAddress(out.records) {
		out.records = nil // an alias that leads nowhere tells of what it led to
	}
	return out
}

func hasAddress(list []dnsmessage.Resource) bool {
	for _, r := range list {
		if _, ok := address(r.Body); ok {
			return true
		}
	}
	return false
}

// reply builds an answer to the very question; what does not fit is left out and
// the task is told to ask over a connection.
func reply(h dnsmessage.Header, q dnsmessage.Question, code dnsmessage.RCode, records []dnsmessage.Resource, most int) []byte {
	build := func(truncated bool, records []dnsmessage.Resource) []byte {
		m := dnsmessage.Message{
			Header: dnsmessage.Header{
				ID: h.ID, Response: true, RecursionDesired: h.RecursionDesired, RecursionAvailable: true, RCode: code, Truncated: truncated,
			},
			Questions: []dnsmessage.Question{q}, Answers: records,
		}
		b, err := m.Pack()
		if err != nil {
			return nil
		}
		return b
	}
	out := build(false, records)
	if len(out) > most {
		return build(true, nil)
	}
	return out
}

// printable is what a log may hold of a stranger's name.
func printable(name string) string {
	return strings.Map(func(r rune) rune {
		if r < '!' || r > '~' {
			return '?'
		}
		return r
	}, name)
}
