package egress

import (
	"net/netip"
)

// span is a range of addresses that is not for the public internet.
type span struct {
	prefix netip.Prefix
	what   string
}

func spans(list ...string) []span {
	var out []span
	for i := 0; i < len(list); i += 2 {
		out = append(out, span{netip.MustParsePrefix(list[i]), list[i+1]})
	}
	return out
}

// special4 and special6 are IANA's registries of special-purpose addresses
// (RFC 6890 and its updates), multicast, what is reserved, and the addresses of
// clouds' own services that look public. Within them nothing is let through, also
// what the registries call globally reachable: none of it is anybody's server.
var (
	special4 = spans(
		"0.0.0.0/8", "this network",
		"10.0.0.0/8", "private",
		"100.64.0.0/10", "shared behind carriers' routers",
		"127.0.0.0/8", "loopback",
		"168.63.129.16/32", "a cloud's own service",
		"169.254.0.0/16", "link-local",
		"172.16.0.0/12", "private",
		"192.0.0.0/24", "reserved for protocols",
		"192.0.2.0/24", "for documentation",
		"192.31.196.0/24", "AS112",
		"192.52.193.0/24", "multicast tunnels",
		"192.88.99.0/24", "6to4 relays",
		"192.168.0.0/16", "private",
		"192.175.48.0/24", "AS112",
		"198.18.0.0/15", "for benchmarks",
		"198.51.100.0/24", "for documentation",
		"203.0.113.0/24", "for documentation",
		"224.0.0.0/4", "multicast",
		"240.0.0.0/4", "reserved",
	)
	special6 = spans(
		"::/128", "unspecified",
		"::1/128", "loopback",
		"::ffff:0:0/96", "IPv4 within IPv6",
		"::/96", "IPv4 within IPv6",
		"64:ff9b::/96", "translated to IPv4",
		"64:ff9b:1::/48", "translated to IPv4",
		"100::/64", "discarded",
		"100:0:0:1::/64", "a dummy prefix",
		"2001::/32", "Teredo",
		"2001::/23", "reserved for protocols",
		"2001:db8::/32", "for documentation",
		"2002::/16", "6to4",
		"2620:4f:8000::/48", "AS112",
		"3ffe::/16", "the old 6bone",
		"3fff::/20", "for documentation",
		"5f00::/16", "segment routing",
		"fc00::/7", "private",
		"fe80::/10", "link-local",
		"fec0::/10", "site-local",
		"ff00::/8", "multicast",
	)
	public6 = netip.MustParsePrefix("2000::/3")
)

// Special says what kind of address a is that no task ever reaches; empty: an
// ordinary public one. An IPv4 address that IPv6 carries in itself (mapped,
// translated, 6to4, Teredo, ISATAP) is special whatever it is: the plain one is
// there for those who mean it.
func Special(a netip.Addr) string {
	if !a.IsValid() {
		return "no address"
	}
	if a.Zone() != "" {
		return "link-local"
	}
	list := special6
	if a.Is4() {
		list = special4
	}
	for _, s := range list {
		// Mapped addresses would otherwise be in no IPv6 prefix.
		if s.prefix.Contains(a) || a.Is4In6() && s.prefix.Addr().Is4In6() {
			return s.what
		}
	}
	switch {
	case a.Is4():
		return ""
	case !public6.Contains(a):
		return "not assigned to anybody"
	case isatap(a):
		return "IPv4 within IPv6"
	}
	return ""
}

// isatap tells addresses whose last half is made of an IPv4 address (RFC 5214).
func isatap(a netip.Addr) bool {
	b := a.As16()
	return b[8]&^0x02 == 0 && b[9] == 0 && b[10] == 0x5e && b[11] == 0xfe
}

// allSpecial says what all of p is, if it is special, so that a rule about it could
// never matter.
func allSpecial(p netip.Prefix) string {
	list := special6
	if p.Addr().Is4() {
		list = special4
	} else if !public6.Overlaps(p) {
		return Special(p.Addr())
	}
	for _, s := range list {
		if s.prefix.Bits() <= p.Bits() && s.prefix.Contains(p.Addr()) {
			return s.what
		}
	}
	return ""
}
