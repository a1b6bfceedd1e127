package egress

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"
)

// Bounds of what people write.
const (
	MaxRules = 64  // of one policy
	MaxRule  = 320 // bytes of one rule
	maxPorts = 8   // ranges of one rule
	maxName  = 253
	maxLabel = 63
)

// ErrRule is wrapped by every refusal of a rule's text.
var ErrRule = errors.New("bad egress rule")

// Ports are some ports in a row, both ends included.
type Ports struct{ First, Last uint16 }

func (p Ports) has(port uint16) bool { return p.First <= port && port <= p.Last }

// single reports that somebody meant exactly this port.
func (p Ports) single() bool { return p.First == p.Last }

// mail are the ports on which mail is handed in. Whoever lends a machine for
// spam is on every blacklist the next day, so no range covers them.
var mail = []uint16{25, 465, 587}

func isMail(port uint16) bool { return slices.Contains(mail, port) }

var (
	web      = []Ports{{80, 80}, {443, 443}}
	allPorts = []Ports{{1, 65535}}
)

// Rule allows or denies a destination. Exactly one of Any, Name and Prefix says
// which. The zero Rule is not valid.
type Rule struct {
	Deny   bool
	Any    bool
	Name   string       // a domain name, in lower case
	Below  bool         // not Name itself, but what lies below it
	Prefix netip.Prefix // addresses
	Ports  []Ports      // sorted, apart from each other
}

// ParseRule reads [!]DESTINATION[:PORTS]. The destination is a name (pypi.org),
// all names below one (*.debian.org), an address or a prefix (192.0.2.0/24,
// [2001:db8::]/32), or * for every public address. PORTS are 443, 8000-8100, *
// or several joined by +; left out they are 80+443, and all for a rule that
// denies. No range includes the ports of mail; name them one by one.
//
// Errors: ErrRule.
func ParseRule(text string) (Rule, error) {
	bad := func(why string) (Rule, error) {
		return Rule{}, fmt.Errorf("%w %q: %s; write it like pypi.org:443 or *.debian.org", ErrRule, clip(text), why)
	}
	if len(text) > MaxRule {
		return bad(fmt.Sprintf("it has %d bytes, at most %d are allowed", len(text), MaxRule))
	}
	var r Rule
	rest, deny := strings.CutPrefix(text, "!")
	r.Deny = deny
	dest, ports, err := split(rest)
	if err != nil {
		return bad(err.Error())
	}
	if err := r.destination(dest); err != nil {
		return bad(err.Error())
	}
	switch {
	case ports != "":
		r.Ports, err = parsePorts(ports)
	case deny:
		r.Ports = slices.Clone(allPorts)
	default:
		r.Ports = slices.Clone(web)
	}
	if err != nil {
		return bad(err.Error())
	}
	return r, nil
}

// split parts the destination from the ports. The colons of an IPv6 address are
// told from the one before ports by brackets.
func split(text string) (dest, ports string, err error) {
	if inner, ok := strings.CutPrefix(text, "["); ok {
		address, rest, closed := strings.Cut(inner, "]")
		if !closed || !strings.Contains(address, ":") {
			return "", "", errors.New("what [ begins must be an IPv6 address and end with ]")
		}
		length, ports, hasPorts := strings.Cut(rest, ":")
		if length != "" && length[0] != '/' || hasPorts && ports == "" {
			return "", "", errors.New("after ] comes a prefix length (/32), a port (:443) or nothing")
		}
		return address + length, ports, nil
	}
	dest, ports, hasPorts := strings.Cut(text, ":")
	if strings.Contains(ports, ":") {
		return "", "", errors.New("an IPv6 address stands in brackets")
	}
	if hasPorts && ports == "" {
		return "", "", errors.New("no port follows the colon")
	}
	return dest, ports, nil
}

func (r *Rule) destination(dest string) error {
	if dest == "*" {
		r.Any = true
		return nil
	}
	if a, err := netip.ParseAddr(dest); err == nil {
		return r.addresses(netip.PrefixFrom(a, a.BitLen()))
	}
	if strings.Contains(dest, "/") {
		p, err := netip.ParsePrefix(dest)
		if err != nil {
			return errors.New("it is no prefix of addresses")
		}
		return r.addresses(p)
	}
	name := strings.ToLower(dest)
	r.Name, r.Below = strings.CutPrefix(name, "*.")
	if r.Below {
		return validName(r.Name)
	}
	r.Name = name
	return validName(name)
}

func (r *Rule) addresses(p netip.Prefix) error {
	if p.Addr().Zone() != "" || p.Addr().Is4In6() || p != p.Masked() {
		return fmt.Errorf("it is not a plain prefix: its bits after the first %d must be zero", p.Bits())
	}
	if what := allSpecial(p); what != "" && !r.Deny {
		return fmt.Errorf("its addresses are never reached (%s)", what)
	}
	r.Prefix = p
	return nil
}

// validName accepts names as they stand in DNS, of two labels and more: a name
// of one is somebody's at home. Others than ASCII are written as xn--….
func validName(name string) error {
	if len(name) > maxName {
		return fmt.Errorf("a name has at most %d bytes", maxName)
	}
	labels := strings.Split(name, ".")
	if len(labels) < 2 {
		return errors.New("it is neither an address nor a name with a dot")
	}
	digits := true // of the last label: an address that was mistyped
	for _, label := range labels {
		if len(label) < 1 || len(label) > maxLabel || label[0] == '-' || label[len(label)-1] == '-' {
			return errors.New("it is neither an address nor a name")
		}
		digits = true
		for i := range len(label) {
			switch c := label[i]; {
			case c >= '0' && c <= '9':
			case c >= 'a' && c <= 'z', c == '-', c == '_':
				digits = false
			default:
				return errors.New("a name is letters, digits, - and dots (others are written as xn--…)")
			}
		}
	}
	if digits {
		return errors.New("it is neither an address nor a name")
	}
	return nil
}

func parsePorts(text string) ([]Ports, error) {
	if text == "*" {
		return slices.Clone(allPorts), nil
	}
	words := strings.Split(text, "+")
	if len(words) > maxPorts {
		return nil, fmt.Errorf("more than %d ports or ranges: use several rules", maxPorts)
	}
	var list []Ports
	for _, word := range words {
		first, last, isRange := strings.Cut(word, "-")
		if !isRange {
			last = first
		}
		a, errA := port(first)
		b, errB := port(last)
		if errA != nil || errB != nil || a > b || isRange && a == b {
			return nil, fmt.Errorf("%q is no port: ports are 443, 8000-8100 or several joined by +", clip(word))
		}
		list = append(list, Ports{a, b})
	}
	slices.SortFunc(list, func(a, b Ports) int { return int(a.First) - int(b.First) })
	for i := 1; i < len(list); i++ {
		if list[i].First <= list[i-1].Last {
			return nil, errors.New("a port is named twice")
		}
	}
	return list, nil
}

func port(s string) (uint16, error) {
	n, err := strconv.ParseUint(s, 10, 16)
	if err != nil || n == 0 || s[0] == '0' || s[0] == '+' {
		return 0, errors.New("no port")
	}
	return uint16(n), nil
}

// String is the rule as ParseRule reads it, one text for one meaning.
func (r Rule) String() string {
	var b strings.Builder
	if r.Deny {
		b.WriteByte('!')
	}
	b.WriteString(r.Destination())
	usual := web
	if r.Deny {
		usual = allPorts
	}
	if slices.Equal(r.Ports, usual) {
		return b.String()
	}
	if slices.Equal(r.Ports, allPorts) {
		return b.String() + ":*"
	}
	for i, p := range r.Ports {
		b.WriteByte(":+"[min(i, 1)])
		b.WriteString(strconv.Itoa(int(p.First)))
		if !p.single() {
			b.WriteString("-" + strconv.Itoa(int(p.Last)))
		}
	}
	return b.String()
}

// MarshalText implements encoding.TextMarshaler.
func (r Rule) MarshalText() ([]byte, error) { return []byte(r.String()), nil }

// UnmarshalText implements encoding.TextUnmarshaler.
//
// Errors: ErrRule.
func (r *Rule) UnmarshalText(text []byte) (err error) {
	*r, err = ParseRule(string(text))
	return err
}

// Destination is the rule without its ports.
func (r Rule) Destination() string {
	switch {
	case r.Any:
		return "*"
	case r.Name != "" && r.Below:
		return "*." + r.Name
	case r.Name != "":
		return r.Name
	case r.Prefix.Addr().Is4() && r.Prefix.IsSingleIP():
		return r.Prefix.Addr().String()
	case r.Prefix.Addr().Is4():
		return r.Prefix.String()
	case r.Prefix.IsSingleIP():
		return "[" + r.Prefix.Addr().String() + "]"
	}
	return fmt.Sprintf("[%s]/%d", r.Prefix.Addr(), r.Prefix.Bits())
}

func clip(s string) string {
	const most = 60
	if len(s) > most {
		return s[:most] + "…"
	}
	return s
}
