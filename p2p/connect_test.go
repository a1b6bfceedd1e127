package p2p

import (
	"testing"

	ma "github.com/multiformats/go-multiaddr"
)

// TestRelaysOf: only a peer that has nothing but relays, and perhaps addresses of
// its own network, is prepared for.
func TestRelaysOf(t *testing.T) {
	const (
		relay      = "12D3KooWGYme1ksEvYACwm4CsX58q7b8nvaMmMXdM4SDDD5xuK4b"
		circuit    = "/ip4/5.5.0.1/udp/4001/quic-v1/p2p/" + relay + "/p2p-circuit"
		circuitTCP = "/ip4/5.5.0.1/tcp/4001/p2p/" + relay + "/p2p-circuit"
		private    = "/ip4/192.168.1.2/tcp/4001"
		public     = "/ip4/1.2.3.4/tcp/4001"
	)
	for name, c := range map[string]struct {
		addrs []string
		want  int
	}{
		"none":                {nil, 0},
		"public":              {[]string{public}, 0},
		"a relay":             {[]string{circuit}, 1},
		"one relay, two ways": {[]string{circuitTCP, circuit}, 1},
		"private and a relay": {[]string{private, circuit}, 1},
		"public and a relay":  {[]string{circuit, public}, 0},
	} {
		var addrs []ma.Multiaddr
		for _, s := range c.addrs {
			addrs = append(addrs, ma.StringCast(s))
		}
		got := relaysOf(addrs)
		if len(got) != c.want || c.want > 0 && got[0].ID.String() != relay {
			t.Errorf("%s: %v", name, got)
		}
	}
}
