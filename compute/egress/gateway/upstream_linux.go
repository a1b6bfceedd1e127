package gateway

import (
	"bufio"
	"context"
	"errors"
	"io"
	"math/rand/v2"
	"net/netip"
	"os"
	"strings"
	"time"

	"golang.org/x/net/dns/dnsmessage"
)

// Bounds of what resolvers answer.
const (
	maxAnswer  = 16 << 10 // bytes
	maxRecords = 64
	maxServers = 3
	askAgain   = 1500 * time.Millisecond
)

// resolvConf is where the machine's own resolvers are written. It is read for
// each question: a laptop changes its network while tasks run.
const resolvConf = "/etc/resolv.conf"

// resolvers are those that were named, or the machine's.
func resolvers(named []netip.AddrPort) func() []netip.AddrPort {
	if len(named) == 0 {
		return hostResolvers
	}
	return func() []netip.AddrPort { return named[:min(len(named), maxServers)] }
}

func hostResolvers() []netip.AddrPort {
	f, err := os.Open(resolvConf)
	if err != nil {
		return nil
	}
	defer f.Close()
	return parseResolvers(io.LimitReader(f, 64<<10))
}

func parseResolvers(r io.Reader) (out []netip.AddrPort) {
	scan := bufio.NewScanner(r)
	for scan.Scan() && len(out) < maxServers {
		fields := strings.Fields(scan.Text())
		if len(fields) < 2 || fields[0] != "nameserver" {
			continue
		}
		if a, err := netip.ParseAddr(fields[1]); err == nil {
			out = append(out, netip.AddrPortFrom(a, dnsPort))
		}
	}
	return out
}

// ask asks the machine's resolvers in turn. The question is written anew: nothing
// of the task's own bytes but the name reaches them.
func (g *gateway) ask(ctx context.Context, name string, kind dnsmessage.Type) (answerable, dnsmessage.RCode) {
	full, err := dnsmessage.NewName(name + ".")
	if err != nil {
		return answerable{}, dnsmessage.RCodeFormatError
	}
	q := dnsmessage.Question{Name: full, Type: kind, Class: dnsmessage.ClassINET}
	for range 2 {
		for _, server := range g.servers() {
			if ctx.Err() != nil {
				return answerable{}, dnsmessage.RCodeServerFailure
			}
			records, code, err := g.askServer(ctx, server, q)
			if err == nil && (code == dnsmessage.RCodeSuccess || code == dnsmessage.RCodeNameError) {
				return answerable{records: records}, code
			}
		}
	}
	return answerable{}, dnsmessage.RCodeServerFailure
}

var (
	errAnother   = errors.New("not the answer to this question")
	errTruncated = errors.New("truncated")
)

func (g *gateway) askServer(ctx context.Context, server netip.AddrPort, q dnsmessage.Question) ([]dnsmessage.Resource, dnsmessage.RCode, error) {
	m := dnsmessage.Message{Header: dnsmessage.Header{ID: uint16(rand.Uint32()), RecursionDesired: true}, Questions: []dnsmessage.Question{q}}
	question, err := m.Pack()
	if err != nil {
		return nil, 0, err
	}
	records, code, err := g.askDatagram(ctx, server, m.ID, question, q)
	if errors.Is(err, errTruncated) {
		return g.askConnection(ctx, server, m.ID, question, q)
	}
	return records, code, err
}

func (g *gateway) askDatagram(ctx context.Context, server netip.AddrPort, id uint16, question []byte, q dnsmessage.Question) ([]dnsmessage.Resource, dnsmessage.RCode, error) {
	c, err := g.dial.DialContext(ctx, "udp", server.String())
	if err != nil {
		return nil, 0, err
	}
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(askAgain))
	if _, err := c.Write(question); err != nil {
		return nil, 0, err
	}
	buffer := make([]byte, maxAnswer)
	for {
		n, err := c.Read(buffer)
		if err != nil {
			return nil, 0, err
		}
		records, code, err := understand(buffer[:n], id, q)
		if !errors.Is(err, errAnother) {
			return records, code, err
		}
	}
}

func (g *gateway) askConnection(ctx context.Context, server netip.AddrPort, id uint16, question []byte, q dnsmessage.Question) ([]dnsmessage.Resource, dnsmessage.RCode, error) {
	c, err := g.dial.DialContext(ctx, "tcp", server.String())
	if err != nil {
		return nil, 0, err
	}
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(askAgain))
	if err := writeStream(c, question); err != nil {
		return nil, 0, err
	}
	b, err := readStream(c)
	if err != nil {
		return nil, 0, err
	}
	records, code, err := understand(b, id, q)
	if errors.Is(err, errTruncated) {
		err = nil
	}
	return records, code, err
}

// understand reads an answer. What a resolver sends is as hostile as whoever
// answers for the name.
func understand(b []byte, id uint16, q dnsmessage.Question) ([]dnsmessage.Resource, dnsmessage.RCode, error) {
	var p dnsmessage.Parser
	h, err := p.Start(b)
	if err != nil || h.ID != id || !h.Response {
		return nil, 0, errAnother
	}
	asked, err := p.Question()
	if err != nil || !strings.EqualFold(asked.Name.String(), q.Name.String()) || asked.Type != q.Type || asked.Class != q.Class {
		return nil, 0, errAnother
	}
	if h.Truncated {
		return nil, 0, errTruncated
	}
	if err := p.SkipAllQuestions(); err != nil {
		return nil, 0, err
	}
	var out []dnsmessage.Resource
	for len(out) < maxRecords {
		r, err := p.Answer()
		if errors.Is(err, dnsmessage.ErrSectionDone) {
			break
		}
		if err != nil {
			return nil, 0, err
		}
		if r.Header.Class == dnsmessage.ClassINET && (r.Header.Type == q.Type || r.Header.Type == dnsmessage.TypeCNAME) {
			out = append(out, r)
		}
	}
	return out, h.RCode, nil
}

// address is the address that a record holds.
func address(body dnsmessage.ResourceBody) (netip.Addr, bool) {
	switch r := body.(type) {
	case *dnsmessage.AResource:
		return netip.AddrFrom4(r.A), true
	case *dnsmessage.AAAAResource:
		return netip.AddrFrom16(r.AAAA), true
	}
	return netip.Addr{}, false
}
