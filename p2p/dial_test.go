package p2p

import (
	"testing"
	"time"

	ma "github.com/multiformats/go-multiaddr"
)

func TestRankDials(t *testing.T) {
	addr := func(s string) ma.Multiaddr {
		a, err := ma.NewMultiaddr(s)
		if err != nil {
			t.Fatal(err)
		}
		return a
	}
	const (
		nearTCP, nearQUIC = "/ip4/192.168.1.2/tcp/4001", "/ip4/192.168.1.2/udp/4001/quic-v1"
		loopTCP, loopQUIC = "/ip4/127.0.0.1/tcp/4001", "/ip4/127.0.0.1/udp/4001/quic-v1"
		farTCP, farQUIC   = "/ip4/1.2.3.4/tcp/4001", "/ip4/1.2.3.4/udp/4001/quic-v1"
	)
	const relayed = farQUIC + "/p2p/12D3KooWGYme1ksEvYACwm4CsX58q7b8nvaMmMXdM4SDDD5xuK4b/p2p-circuit"
	cases := []struct {
		name  string
		addrs []string
		want  map[string]time.Duration
	}{
		{"nearby: TCP first", []string{loopQUIC, loopTCP}, map[string]time.Duration{loopTCP: 0, loopQUIC: nextDial}},
		{"nearby, several", []string{nearQUIC, loopTCP, nearTCP}, map[string]time.Duration{loopTCP: 0, nearTCP: nextDial, nearQUIC: 2 * nextDial}},
		{"nearby, QUIC only", []string{nearQUIC}, map[string]time.Duration{nearQUIC: 0}},
		{"far: QUIC first", []string{farTCP, farQUIC}, map[string]time.Duration{farQUIC: 0, farTCP: afterQUIC}},
		{"far, TCP only", []string{farTCP}, map[string]time.Duration{farTCP: 0}},
		{"a neighbour, or somebody behind a relay", []string{relayed, nearTCP}, map[string]time.Duration{nearTCP: 0, relayed: afterNear}},
		{"a relay alone", []string{relayed}, map[string]time.Duration{relayed: 0}},
		{"none", nil, nil},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			var addrs []ma.Multiaddr
			for _, s := range c.addrs {
				addrs = append(addrs, addr(s))
			}
			got := rankDials(addrs)
			if len(got) != len(c.want) {
				t.Fatalf("%d dials, want %d", len(got), len(c.want))
			}
			for _, d := range got {
				if want, ok := c.want[d.Addr.String()]; !ok || d.Delay != want {
					t.Errorf("%s after %s, want %s", d.Addr, d.Delay, want)
				}
			}
		})
	}
}
