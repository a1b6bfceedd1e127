package egress

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
)

// Policy is a list of rules: a flow is let through if one allows it and none
// denies it. An empty one lets nothing through.
type Policy []Rule

// ParsePolicy reads rules, as texts that may each hold several, parted by commas.
//
// Errors: ErrRule.
func ParsePolicy(texts []string) (Policy, error) {
	var p Policy
	for _, text := range texts {
		for word := range strings.SplitSeq(text, ",") {
			if len(p) == MaxRules {
				return nil, fmt.Errorf("%w: more than %d of them", ErrRule, MaxRules)
			}
			r, err := ParseRule(strings.TrimSpace(word))
			if err != nil {
				return nil, err
			}
			p = append(p, r)
		}
	}
	return p, nil
}

// Texts is the policy as ParsePolicy reads it, sorted, each rule once.
func (p Policy) Texts() []string {
	out := make([]string, len(p))
	for i, r := range p {
		out[i] = r.String()
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// String is the policy on one line.
func (p Policy) String() string { return strings.Join(p.Texts(), ", ") }

// Flow is one connection, or one exchange of datagrams, that a task wants.
type Flow struct {
	Addr netip.Addr
	Port uint16
	// Names are those under which the task was told the address.
	Names []string
}

// Decide reports whether every policy lets a flow through; if not, why says what
// is against it, for the log. The order is from what can never be to what was not
// asked for.
func Decide(f Flow, policies ...Policy) (ok bool, why string) {
	if what := Special(f.Addr); what != "" {
		return false, "not a public address: " + what
	}
	if f.Port == 0 {
		return false, "port 0"
	}
	if len(policies) == 0 {
		return false, "no policy"
	}
	for _, p := range policies {
		if ok, why := p.decide(f); !ok {
			return false, why
		}
	}
	return true, ""
}

func (p Policy) decide(f Flow) (bool, string) {
	allowed := false
	for _, r := range p {
		if !r.matches(f) {
			continue
		}
		if r.Deny {
			return false, "denied by " + r.String()
		}
		allowed = true
	}
	switch {
	case allowed:
		return true, ""
	case isMail(f.Port):
		return false, "a port for mail"
	}
	return false, "no rule allows it"
}

func (r Rule) matches(f Flow) bool {
	if !r.port(f.Port) {
		return false
	}
	switch {
	case r.Any:
		return true
	case r.Name != "":
		return slices.ContainsFunc(f.Names, r.named)
	}
	return r.Prefix.Contains(f.Addr)
}

func (r Rule) port(port uint16) bool {
	return slices.ContainsFunc(r.Ports, func(p Ports) bool {
		return p.has(port) && (r.Deny || p.single() || !isMail(port))
	})
}

// named reports whether the rule speaks of a name, which is in lower case.
func (r Rule) named(name string) bool {
	if !r.Below {
		return name == r.Name
	}
	return len(name) > len(r.Name) && strings.HasSuffix(name, r.Name) && name[len(name)-len(r.Name)-1] == '.'
}

// Resolves reports whether a task may ask for a name, which is in lower case and
// without a last dot. Asking is speaking: a name can carry what a task knows to
// whoever answers for it, so only names are asked for that rules speak of.
func Resolves(name string, policies ...Policy) bool {
	if validName(name) != nil || homely(name) || len(policies) == 0 {
		return false
	}
	for _, p := range policies {
		if !p.resolves(name) {
			return false
		}
	}
	return true
}

func (p Policy) resolves(name string) bool {
	allowed := false
	for _, r := range p {
		if !r.Any && (r.Name == "" || !r.named(name)) {
			continue
		}
		if r.Deny && slices.Equal(r.Ports, allPorts) {
			return false
		}
		allowed = allowed || !r.Deny
	}
	return allowed
}

// homely reports names that only the owner's own resolver could know: asking for
// them would map the owner's home (RFC 6761, 6762, 8375, 9476, and custom).
func homely(name string) bool {
	last := name[strings.LastIndexByte(name, '.')+1:]
	switch last {
	case "local", "localhost", "localdomain", "internal", "intranet", "private", "corp", "home", "lan", "test", "invalid", "example", "onion", "alt":
		return true
	}
	return name == "home.arpa" || strings.HasSuffix(name, ".home.arpa") || name == "ipv4only.arpa"
}

// Permits reports whether an owner's policy could let through all that a rule of
// a tenant's asks for; if not, the error says what it does not, for the tenant.
// Ports of mail that fall into a range were not asked for.
func (p Policy) Permits(asked Rule) error {
	if asked.Deny {
		return nil // a tenant may bind itself
	}
	for _, r := range p {
		if r.Deny && r.covers(asked) && overlap(r.Ports, asked.Ports) {
			return fmt.Errorf("egress to %s is denied here (%s)", asked, r)
		}
	}
	for _, want := range asked.Ports {
		for port := uint32(want.First); port <= uint32(want.Last); {
			last := p.reach(asked, uint16(port), want)
			if last == 0 {
				return fmt.Errorf("egress to %s: port %d of it is not offered here", asked, port)
			}
			port = last + 1
		}
	}
	return nil
}

// reach is the last port in a row, from port on, that rules allow to all of
// asked's destination; 0: not even port.
func (p Policy) reach(asked Rule, port uint16, want Ports) uint32 {
	if isMail(port) && !want.single() {
		return uint32(port)
	}
	var last uint32
	for _, r := range p {
		if r.Deny || !r.covers(asked) {
			continue
		}
		for _, have := range r.Ports {
			if have.has(port) && (have.single() || !isMail(port)) {
				last = max(last, uint32(have.Last))
			}
		}
	}
	return last
}

// covers reports whether whatever other speaks of, r speaks of too, ports apart.
func (r Rule) covers(other Rule) bool {
	switch {
	case r.Any:
		return true
	case other.Any:
		return false
	case r.Name != "":
		if other.Name == "" || other.Below && !r.Below {
			return false
		}
		return r.named(other.Name) || r.Below && other.Below && r.Name == other.Name
	}
	return other.Prefix.IsValid() && r.Prefix.Bits() <= other.Prefix.Bits() && r.Prefix.Contains(other.Prefix.Addr())
}

func overlap(a, b []Ports) bool {
	return slices.ContainsFunc(a, func(p Ports) bool {
		return slices.ContainsFunc(b, func(q Ports) bool { return p.First <= q.Last && q.First <= p.Last })
	})
}
