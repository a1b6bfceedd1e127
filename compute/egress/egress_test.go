package egress

import (
	"errors"
	"net/netip"
	"slices"
	"strings"
	"testing"
)

// TestSpecial goes through IANA's registries, and through what carries an IPv4
// address within an IPv6 one: first and last address of each, and the neighbours
// that must pass.
func TestSpecial(t *testing.T) {
	for _, special := range []string{
		// IPv4 special-purpose address registry
		"0.0.0.0", "0.255.255.255", "10.0.0.0", "10.255.255.255", "100.64.0.0", "100.127.255.255", "127.0.0.1", "127.255.255.255",
		"169.254.0.0", "169.254.169.254", "169.254.255.255", "172.16.0.0", "172.31.255.255", "192.0.0.0", "192.0.0.8", "192.0.0.9", "192.0.0.170", "192.0.0.192", "192.0.0.255",
		"192.0.2.0", "192.0.2.255", "192.31.196.1", "192.52.193.1", "192.88.99.1", "192.168.0.0", "192.168.255.255", "192.175.48.1",
		"198.18.0.0", "198.19.255.255", "198.51.100.7", "203.0.113.7", "224.0.0.1", "239.255.255.255", "240.0.0.1", "255.255.255.255",
		// clouds
		"100.100.100.200", "168.63.129.16", "fd00:ec2::254", "fd20:ce::254", "fe80::a9fe:a9fe",
		// IPv6 special-purpose address registry
		"::", "::1", "::ffff:8.8.8.8", "::ffff:127.0.0.1", "::ffff:169.254.169.254", "::8.8.8.8", "::127.0.0.1", "64:ff9b::7f00:1", "64:ff9b::8.8.8.8", "64:ff9b:1::c0a8:101",
		"100::", "100::ffff:ffff:ffff:ffff", "100:0:0:1::1", "2001::1", "2001:0:4136:e378:8000:63bf:3fff:fdd2", "2001:1::1", "2001:2::1", "2001:3::1", "2001:4:112::1", "2001:10::1", "2001:20::1", "2001:30::1", "2001:1ff:ffff:ffff:ffff:ffff:ffff:ffff",
		"2001:db8::1", "2001:db8:ffff:ffff:ffff:ffff:ffff:ffff", "2002:7f00:1::", "2002:c0a8:101::1", "2002:808:808::1", "2620:4f:8000::1", "3ffe::1", "3fff::1", "3fff:fff:ffff::1", "5f00::1",
		"fc00::1", "fd12:3456:789a::1", "fdff::1", "fe80::1", "fe80::1%eth0", "febf::1", "fec0::1", "ff02::1", "ff0e::1",
		// not assigned to anybody, and an embedding under any prefix
		"1::1", "1fff::1", "4000::1", "8000::1", "::2:0:0:1", "2a00:1450::5efe:7f00:1", "2a00:1450::200:5efe:c0a8:101",
	} {
		if Special(netip.MustParseAddr(special)) == "" {
			t.Errorf("%s would be reached", special)
		}
	}
	for _, public := range []string{
		"1.1.1.1", "8.8.8.8", "9.255.255.255", "11.0.0.0", "100.63.255.255", "100.128.0.0", "126.255.255.255", "128.0.0.0", "169.253.255.255", "169.255.0.0",
		"172.15.255.255", "172.32.0.0", "191.255.255.255", "192.0.1.0", "192.0.3.0", "192.167.255.255", "192.169.0.0", "198.17.255.255", "198.20.0.0",
		"198.51.99.255", "198.51.101.0", "203.0.112.255", "203.0.114.0", "223.255.255.255", "168.63.129.15", "5.5.0.1",
		"2001:200::1", "2001:4860:4860::8888", "2001:db7:ffff::1", "2001:db9::1", "2003::1", "2606:4700:4700::1111", "2a00:1450:4001::200e", "3ffd::1",
	} {
		if what := Special(netip.MustParseAddr(public)); what != "" {
			t.Errorf("%s is taken for %s", public, what)
		}
	}
	if Special(netip.Addr{}) == "" {
		t.Error("no address would be reached")
	}
}

func TestParseRule(t *testing.T) {
	for text, want := range map[string]string{
		"pypi.org:443": "", "*.debian.org": "", "*": "", "*:*": "", "8.8.8.8:53": "", "8.8.0.0/16:80": "", "[2606:4700::]/32": "", "[2606:4700:4700::1111]:53": "",
		"!*": "", "!evil.example.org": "", "!8.8.8.8:25": "", "!10.0.0.0/8": "", "github.com:22+443": "", "a.b:1-65534": "", "mail.example.org:587": "",
		"PyPI.org:80+443": "pypi.org", "PyPI.org:443+80": "pypi.org", "!a.b:1-65535": "!a.b", "*:1-65535": "*:*", "xn--nxasmq6b.gr": "", "_dmarc.a.b": "",
		"2606:4700::/32": "[2606:4700::]/32", "8.8.8.8/32": "8.8.8.8", "[2606:4700:4700::1111]/128": "[2606:4700:4700::1111]",
	} {
		r, err := ParseRule(text)
		if strings.HasPrefix(text, "2606") { // without brackets the last colon could be a port's
			if err == nil {
				t.Errorf("%q was read as %s", text, r)
			}
			continue
		}
		if want == "" {
			want = text
		}
		if err != nil || r.String() != want {
			t.Errorf("%q: %q, %v, want %q", text, r, err, want)
		}
	}
	for _, text := range []string{
		"", "!", ":443", "pypi.org:", "pypi.org:0", "pypi.org:65536", "pypi.org:443+443", "pypi.org:1-80+80", "pypi.org:90-80", "pypi.org:80-80", "pypi.org:http", "pypi.org:+1", "pypi.org:-1", "pypi.org:01",
		"localhost", "printer:80", "*.org.", "*.*.org", "a..b", "-a.b", "a-.b", "a b.c", "ünïcode.org", "http://pypi.org", "pypi.org/simple", "1.2.3", "1.2.3.4.5", "300.1.1.1", "*.4",
		"1.2.3.4/33", "1.2.3.4/24", "10.0.0.0/8", "127.0.0.1:80", "169.254.169.254", "192.168.0.0/24", "100.64.0.1", "[::1]:80", "[::ffff:1.2.3.4]", "[fe80::1]", "[fe80::1%lo]", "[fd00:ec2::254]", "[64:ff9b::]/96", "[2002::]/16", "[2001::]/32", "[4000::]/8",
		"[1.2.3.4]", "[2606:4700::", "2606:4700::1", "[2606:4700::]32", "[2606:4700::]:", strings.Repeat("a.", 200) + "org", strings.Repeat("a", 64) + ".org", "a.b:" + strings.Repeat("1+", 8) + "9", "a.b\x00",
	} {
		if r, err := ParseRule(text); !errors.Is(err, ErrRule) {
			t.Errorf("%q was read as %q (%v)", text, r, err)
		} else if strings.ContainsAny(err.Error(), "\x00\n") || len(err.Error()) > 400 {
			t.Errorf("%q: the error is not fit to be read: %q", text, err)
		}
	}
}

func policy(tb testing.TB, texts ...string) Policy {
	tb.Helper()
	p, err := ParsePolicy(texts)
	if err != nil {
		tb.Fatal(err)
	}
	return p
}

func TestDecide(t *testing.T) {
	const pypi, other, home = "151.101.0.223", "8.8.8.8", "192.168.1.1"
	tests := []struct {
		name     string
		policies [][]string
		addr     string
		port     uint16
		names    []string
		why      string // "" is yes
	}{
		{"by name", [][]string{{"pypi.org:443"}}, pypi, 443, []string{"pypi.org"}, ""},
		{"by one of several names", [][]string{{"pypi.org:443"}}, pypi, 443, []string{"pypi.python.org", "pypi.org"}, ""},
		{"another port", [][]string{{"pypi.org:443"}}, pypi, 80, []string{"pypi.org"}, "no rule"},
		{"another name", [][]string{{"pypi.org:443"}}, pypi, 443, []string{"evilpypi.org"}, "no rule"},
		{"nobody asked", [][]string{{"pypi.org:443"}}, pypi, 443, nil, "no rule"},
		{"below", [][]string{{"*.debian.org"}}, pypi, 80, []string{"a.deb.debian.org"}, ""},
		{"below is not itself", [][]string{{"*.debian.org"}}, pypi, 80, []string{"debian.org"}, "no rule"},
		{"below is no ending of letters", [][]string{{"*.debian.org"}}, pypi, 80, []string{"notdebian.org"}, "no rule"},
		{"prefix", [][]string{{"151.101.0.0/16:443"}}, pypi, 443, nil, ""},
		{"outside the prefix", [][]string{{"151.101.0.0/24:443"}}, other, 443, nil, "no rule"},
		{"anything on the web", [][]string{{"*"}}, other, 443, nil, ""},
		{"anything on the web is not ssh", [][]string{{"*"}}, other, 22, nil, "no rule"},
		{"anything", [][]string{{"*:*"}}, other, 22, nil, ""},
		{"anything but mail", [][]string{{"*:*"}}, other, 25, nil, "for mail"},
		{"no range has mail", [][]string{{"*:400-600"}}, other, 465, nil, "for mail"},
		{"mail by name", [][]string{{"mail.example.org:587"}}, other, 587, []string{"mail.example.org"}, ""},
		{"mail needs both", [][]string{{"*:587"}, {"*:*"}}, other, 587, nil, "for mail"},
		{"denied", [][]string{{"*", "!8.8.0.0/16"}}, other, 443, nil, "denied by !8.8.0.0/16"},
		{"denied by name", [][]string{{"*", "!*.evil.org"}}, other, 443, []string{"a.evil.org"}, "denied by"},
		{"denied on one port", [][]string{{"*", "!8.8.8.8:80"}}, other, 443, nil, ""},
		{"both must allow", [][]string{{"*"}, {"pypi.org"}}, other, 443, nil, "no rule"},
		{"both allow", [][]string{{"*"}, {"pypi.org"}}, pypi, 443, []string{"pypi.org"}, ""},
		{"home, whatever rules say", [][]string{{"*:*"}}, home, 443, []string{"pypi.org"}, "not a public address"},
		{"rebinding", [][]string{{"rebind.org:*"}}, "127.0.0.1", 443, []string{"rebind.org"}, "loopback"},
		{"empty", [][]string{{}}, other, 443, nil, "no rule"},
		{"port 0", [][]string{{"*:*"}}, other, 0, nil, "port 0"},
		{"none", nil, other, 443, nil, "no policy"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var policies []Policy
			for _, texts := range tt.policies {
				policies = append(policies, policy(t, texts...))
			}
			ok, why := Decide(Flow{Addr: netip.MustParseAddr(tt.addr), Port: tt.port, Names: tt.names}, policies...)
			if ok != (tt.why == "") || !strings.Contains(why, tt.why) {
				t.Errorf("%t, %q, want %q", ok, why, tt.why)
			}
		})
	}
}

func TestResolves(t *testing.T) {
	tests := []struct {
		rules []string
		name  string
		want  bool
	}{
		{[]string{"pypi.org:443"}, "pypi.org", true},
		{[]string{"pypi.org:443"}, "secret.pypi.org", false},
		{[]string{"*.debian.org"}, "deb.debian.org", true},
		{[]string{"*.debian.org"}, "debian.org", false},
		{[]string{"*"}, "anything.net", true},
		{[]string{"*"}, "nas", false},
		{[]string{"*"}, "nas.local", false},
		{[]string{"*"}, "router.home.arpa", false},
		{[]string{"*"}, "metadata.google.internal", false},
		{[]string{"*"}, "ipv4only.arpa", false},
		{[]string{"8.8.8.8"}, "pypi.org", false}, // a name would carry anything anywhere
		{[]string{"*", "!*.evil.org"}, "x.evil.org", false},
		{[]string{"*", "!evil.org:80"}, "evil.org", true},
		{nil, "pypi.org", false},
		{[]string{"*"}, "a..b", false},
		{[]string{"*"}, "A.org", false}, // callers lower it
	}
	for _, tt := range tests {
		if got := Resolves(tt.name, policy(t, tt.rules...)); got != tt.want {
			t.Errorf("%v, %s: %t", tt.rules, tt.name, got)
		}
	}
	if Resolves("pypi.org") || Resolves("pypi.org", policy(t, "*"), policy(t, "debian.org")) {
		t.Error("every policy must speak of a name")
	}
}

func TestPermits(t *testing.T) {
	tests := []struct {
		owner []string
		asked string
		want  string // part of the refusal; "" is yes
	}{
		{[]string{"*"}, "pypi.org:443", ""},
		{[]string{"*"}, "pypi.org", ""},
		{[]string{"*"}, "*.debian.org", ""},
		{[]string{"*"}, "8.8.8.8:443", ""},
		{[]string{"*"}, "github.com:22", "port 22 of it is not offered"},
		{[]string{"*"}, "github.com:22+443", "port 22 of it"},
		{[]string{"*"}, "*:*", "port 1 of it"},
		{[]string{"*:*"}, "*:*", ""},
		{[]string{"*:*"}, "mail.org:587", "port 587 of it"},
		{[]string{"*:*", "*:587"}, "mail.org:587", ""},
		{[]string{"*:1-400", "*:400-65535"}, "a.b:1-65535", ""},
		{[]string{"*:1-400", "*:402-65535"}, "a.b:1-65535", "port 401"},
		{[]string{"*.debian.org"}, "deb.debian.org", ""},
		{[]string{"*.debian.org"}, "*.deb.debian.org", ""},
		{[]string{"*.debian.org"}, "*.debian.org", ""},
		{[]string{"*.debian.org"}, "debian.org", "not offered"},
		{[]string{"debian.org"}, "*.debian.org", "not offered"},
		{[]string{"pypi.org"}, "*", "not offered"},
		{[]string{"8.8.0.0/16"}, "8.8.8.0/24", ""},
		{[]string{"8.8.8.0/24"}, "8.8.0.0/16", "not offered"},
		{[]string{"8.8.8.0/24"}, "dns.google", "not offered"},
		{[]string{"*", "!*.evil.org"}, "a.evil.org", "denied here"},
		{[]string{"*", "!*.evil.org"}, "*", ""},
		{[]string{"*"}, "!a.b", ""},
		{nil, "a.b", "not offered"},
	}
	for _, tt := range tests {
		err := policy(t, tt.owner...).Permits(policy(t, tt.asked)[0])
		if (err == nil) != (tt.want == "") || err != nil && !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%v, asked for %s: %v, want %q", tt.owner, tt.asked, err, tt.want)
		}
	}
}

func TestPolicyTexts(t *testing.T) {
	p := policy(t, "pypi.org:443,*.debian.org", " pypi.org:443 ")
	if got := p.Texts(); !slices.Equal(got, []string{"*.debian.org", "pypi.org:443"}) {
		t.Errorf("%q", got)
	}
	if _, err := ParsePolicy(slices.Repeat([]string{"a.b"}, MaxRules+1)); !errors.Is(err, ErrRule) {
		t.Errorf("too many rules: %v", err)
	}
	if _, err := ParsePolicy([]string{"a.b,,c.d"}); !errors.Is(err, ErrRule) {
		t.Errorf("an empty rule: %v", err)
	}
}

// FuzzParseRule: what is read is written again with the same meaning, and allows
// nothing that is not public.
func FuzzParseRule(f *testing.F) {
	for _, s := range []string{"pypi.org:443", "!*.debian.org", "*:*", "[2606:4700::]/32:22+80-90", "8.8.0.0/16", "[::1]", "a.b:1-2+3"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		r, err := ParseRule(text)
		if err != nil {
			return
		}
		again, err := ParseRule(r.String())
		if err != nil || again.String() != r.String() || again.Destination() != r.Destination() || !slices.Equal(again.Ports, r.Ports) {
			t.Errorf("%q: %q, then %q (%v)", text, r, again, err)
		}
		if !r.Deny && r.Prefix.IsValid() {
			ok, _ := Decide(Flow{Addr: r.Prefix.Addr(), Port: r.Ports[0].First}, Policy{r})
			if ok && Special(r.Prefix.Addr()) != "" {
				t.Errorf("%q lets %s through", text, r.Prefix.Addr())
			}
		}
		if !r.Deny && (Policy{r}).Permits(r) != nil {
			t.Errorf("%q does not permit itself", text)
		}
	})
}

// FuzzDecide holds Decide to a dumb oracle: no address within another, and none
// that the standard library calls private, is ever let through.
func FuzzDecide(f *testing.F) {
	for _, s := range []string{"8.8.8.8", "::ffff:10.0.0.1", "64:ff9b::a00:1", "2002:a00:1::", "fe80::1", "2a00::1"} {
		f.Add(netip.MustParseAddr(s).AsSlice(), uint16(443), "a.b")
	}
	everything := policy(f, "*:*,*:25,*:465,*:587,a.b:*,[2000::]/3:*,0.0.0.0/0:*")
	f.Fuzz(func(t *testing.T, raw []byte, port uint16, name string) {
		a, ok := netip.AddrFromSlice(raw)
		if !ok {
			return
		}
		let, _ := Decide(Flow{Addr: a, Port: port, Names: []string{name}}, everything)
		bare := a.Unmap()
		if let && (a.Is4In6() || bare.IsPrivate() || bare.IsLoopback() || bare.IsLinkLocalUnicast() || bare.IsMulticast() || bare.IsUnspecified() || bare.IsInterfaceLocalMulticast() || port == 0) {
			t.Errorf("%s:%d was let through", a, port)
		}
		if !let && port != 0 && Special(a) == "" {
			t.Errorf("%s:%d was not let through", a, port)
		}
	})
}
