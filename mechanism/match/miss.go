package match

import (
	"fmt"
	"strconv"
	"strings"
	"unicode"

	"github.com/moyai-network/moyai/mechanism/amount"
)

// Miss is one thing that does not fit. Its texts are for people; what a
// program decides on is the subject.
type Miss struct {
	// Subject is the dimension or the attribute, or SubjectKind, SubjectDenom or
	// SubjectRate.
	Subject string
	Need    string // "24 GiB of memory"
	Have    string // "largest free is 16 GiB"
	Nearest string // the nearest change that would fit; may be empty
}

// String reads as one clause: "needs 24 GiB of memory, largest free is 16 GiB".
func (m Miss) String() string { return "needs " + m.Need + ", " + m.Have }

func missKind(n Need, o Offer) Miss {
	return Miss{
		Subject: SubjectKind,
		Need:    fmt.Sprintf("%s version %d", clip(n.Kind), n.KindVersion),
		Have:    fmt.Sprintf("this is %s version %d", clip(o.Kind), o.KindVersion),
	}
}

func missQuantity(q Quantity, free, total uint64) Miss {
	m := Miss{Subject: q.Dimension}
	d := dimension(q.Dimension)
	need, have := d.format(q.Amount), d.format(free)
	if need == have { // rounding for people hid the difference
		need, have = strconv.FormatUint(q.Amount, 10)+" "+d.exact, strconv.FormatUint(free, 10)+" "+d.exact
	}
	m.Need = d.of(need)
	switch {
	case total == 0 && free == 0:
		m.Have = "none is offered"
	case free == 0:
		m.Have = "none is free"
		m.Nearest = "wait until a lease ends"
	default:
		m.Have = "largest free is " + have
		m.Nearest = "ask for at most " + have
	}
	switch {
	case free == 0 && total > 0 && total < q.Amount:
		m.Nearest = "ask for at most " + d.format(total) + ", and wait until a lease ends"
	case free > 0 && total >= q.Amount:
		m.Nearest += ", or wait until a lease ends"
	}
	return m
}

func missConstraint(c Constraint, attributes []Attribute) Miss {
	m := Miss{Subject: c.Attribute, Need: clip(c.Attribute) + " " + clip(c.Op) + " " + clip(c.Value)}
	const most = 4 // enough to see what is meant
	var values []string
	for _, a := range attributes {
		if a.Key == c.Attribute && len(values) < most {
			values = append(values, clip(a.Value))
		}
	}
	switch c.Op {
	case "=", "!=":
	case ">=", "<=":
		if _, err := strconv.ParseUint(c.Value, 10, 64); err != nil {
			m.Have = "which compares no whole number"
			m.Nearest = "use = or != with " + clip(c.Value)
			return m
		}
	default:
		m.Have = "and that comparison is unknown"
		m.Nearest = "use =, !=, >= or <="
		return m
	}
	if len(values) == 0 {
		m.Have = "not declared here"
		return m
	}
	m.Have = "here it is " + strings.Join(values, ", ")
	if c.Op != "!=" {
		m.Nearest = "ask for " + clip(c.Attribute) + " " + c.Op + " " + values[0]
	}
	return m
}

func missDenom(n Need, o Offer) Miss {
	return Miss{
		Subject: SubjectDenom,
		Need:    "a price in " + clip(n.Denom),
		Have:    "asks for " + clip(o.Denom),
		Nearest: "offer to pay in " + clip(o.Denom),
	}
}

func missPrice() Miss {
	return Miss{Subject: SubjectRate, Need: "more than can be priced", Have: "the sum overflows", Nearest: "ask for less"}
}

func missRate(rate amount.Rate, n Need) Miss {
	need, have := amount.FormatRate(rate, n.Denom), amount.FormatRate(n.MaxRate, n.Denom)
	if need == have {
		need, have = rate.String()+" per 10^12 s", n.MaxRate.String()
	}
	return Miss{Subject: SubjectRate, Need: need, Have: "the ceiling is " + have, Nearest: "raise the ceiling to " + need}
}

// measure is how people speak of a dimension.
type measure struct {
	format func(uint64) string
	of     func(quantity string) string // puts the name to a formatted quantity
	exact  string                       // the raw unit
}

// dimension reads the last part of a governed name as its unit; a name without
// a known unit is counted.
func dimension(name string) measure {
	shown := clip(name)
	if thing, ok := strings.CutSuffix(shown, ".bytes"); ok {
		thing = strings.ReplaceAll(thing, ".", " ")
		return measure{Bytes, func(q string) string { return q + " of " + thing }, "bytes"}
	}
	if thing, ok := strings.CutSuffix(shown, ".milli"); ok {
		if thing == "cpu" {
			thing = "CPU"
		}
		return measure{Milli, func(q string) string { return q + " " + thing }, "thousandths of"}
	}
	return measure{Count, func(q string) string { return q + " " + shown }, "of"}
}

// Bytes formats a size in binary units, cut to two decimals: "1.5 GiB".
func Bytes(n uint64) string {
	units := [...]string{"bytes", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"}
	unit := 0
	for unit+1 < len(units) && n>>(10*(unit+1)) != 0 {
		unit++
	}
	if n == 1 {
		return "1 byte"
	}
	whole := n >> (10 * unit)
	rest := n & (1<<(10*unit) - 1)
	// Hundredths of the unit; the rest is reduced first so that it cannot overflow.
	hundredths := uint64(0)
	if unit > 0 {
		hundredths = (rest >> (10 * (unit - 1))) * 100 >> 10
	}
	return decimal(whole, hundredths, 2) + " " + units[unit]
}

// Milli formats thousandths as a decimal number: 1500 is "1.5".
func Milli(n uint64) string { return decimal(n/1000, n%1000, 3) }

// Count formats a plain number.
func Count(n uint64) string { return strconv.FormatUint(n, 10) }

func decimal(whole, fraction uint64, digits int) string {
	text := strconv.FormatUint(whole, 10)
	if fraction == 0 {
		return text
	}
	return text + "." + strings.TrimRight(fmt.Sprintf("%0*d", digits, fraction), "0")
}

// clip keeps what a stranger sent short and printable.
func clip(s string) string {
	const most = 64
	clean := strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) || r == unicode.ReplacementChar {
			return '?'
		}
		return r
	}, s)
	if len(clean) <= most {
		return clean
	}
	cut := most
	for cut > 0 && clean[cut]&0xc0 == 0x80 {
		cut--
	}
	return clean[:cut] + "…"
}
