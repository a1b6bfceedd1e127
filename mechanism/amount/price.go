package amount

import (
	"errors"
	"fmt"
	"strings"
)

// Errors of prices as people write them. The text that wraps them says what
// was wrong and what a right one looks like.
var (
	// ErrNoDenom: an amount without a denomination.
	ErrNoDenom = errors.New("no denomination")
	// ErrUnknownDenom: a denomination that is not in the table.
	ErrUnknownDenom = errors.New("unknown denomination")
	// ErrNoUnit: a price without a unit of time.
	ErrNoUnit = errors.New("no unit of time")
	// ErrUnknownUnit: a unit of time other than s, min (or m), h, d.
	ErrUnknownUnit = errors.New("unknown unit of time")
	// ErrTooFine: a fraction of a base unit.
	ErrTooFine = errors.New("finer than one base unit")
)

const examplePrice = "write it like 0.02MOY/h"

// A unit of money as people write it: Name is 10^Exponent of Base.
type denomination struct {
	name     string
	base     string
	exponent int
}

// denominations is short and ordered: the first entry of a base is how
// amounts of that base are shown.
var denominations = []denomination{
	{"MOY", "umoy", 6},
	{"umoy", "umoy", 0},
}

var timeUnits = []struct {
	name    string
	seconds uint64
}{
	{"s", 1}, {"m", 60}, {"min", 60}, {"h", 3600}, {"d", 86400},
}

// Coin is an amount of one denomination.
type Coin struct {
	Denom  string // base denomination, such as umoy
	Amount Amount
}

// String is the number followed by the base denomination: "3354umoy".
func (c Coin) String() string { return c.Amount.String() + c.Denom }

// Price is what so many seconds cost.
type Price struct {
	Amount     Amount // base units
	Denom      string // base denomination
	PerSeconds uint64 // 1, 60, 3600 or 86400
}

// Rate is the price as a rate, rounded up by RateFromPrice.
func (p Price) Rate() (Rate, error) { return RateFromPrice(p.Amount, p.PerSeconds) }

// ParsePrice reads a price such as "0.02MOY/h", "20000umoy/h" or "0.5 MOY / d":
// a decimal number, a denomination, a slash and a unit of time (s, m or min, h,
// d). A price without denomination or unit is refused rather than guessed. It
// returns ErrSyntax, ErrOverflow, ErrNoDenom, ErrUnknownDenom, ErrNoUnit,
// ErrUnknownUnit or ErrTooFine.
func ParsePrice(s string) (Price, error) {
	money, unit, found := strings.Cut(s, "/")
	coin, err := parseCoin(money)
	if err != nil {
		return Price{}, fmt.Errorf("price %s: %w; %s", excerpt(s), err, examplePrice)
	}
	unit = strings.TrimSpace(unit)
	if !found || unit == "" {
		return Price{}, fmt.Errorf("price %s: %w; %s", excerpt(s), ErrNoUnit, examplePrice)
	}
	for _, u := range timeUnits {
		if u.name == unit {
			return Price{Amount: coin.Amount, Denom: coin.Denom, PerSeconds: u.seconds}, nil
		}
	}
	return Price{}, fmt.Errorf("price %s: %w %s, known are s, min, h and d", excerpt(s), ErrUnknownUnit, excerpt(unit))
}

// ParseCoin reads an amount with its denomination, such as "1.5MOY" or
// "20umoy"; errors as for ParsePrice, those about units apart.
func ParseCoin(s string) (Coin, error) {
	c, err := parseCoin(s)
	if err != nil {
		return Coin{}, fmt.Errorf("amount %s: %w; write it like 1.5MOY", excerpt(s), err)
	}
	return c, nil
}

func parseCoin(s string) (Coin, error) {
	s = strings.TrimSpace(s)
	split := strings.IndexFunc(s, func(r rune) bool { return r != '.' && (r < '0' || r > '9') })
	if split < 0 {
		split = len(s)
	}
	number, name := s[:split], strings.TrimSpace(s[split:])
	if number == "" {
		return Coin{}, ErrSyntax
	}
	if name == "" {
		return Coin{}, ErrNoDenom
	}
	for _, d := range denominations {
		if d.name == name {
			a, err := parseFixed(number, d)
			return Coin{Denom: d.base, Amount: a}, err
		}
	}
	return Coin{}, fmt.Errorf("%w %s, known are %s", ErrUnknownDenom, excerpt(name), knownDenoms())
}

// parseFixed turns a decimal number of d into base units, exactly.
func parseFixed(number string, d denomination) (Amount, error) {
	whole, fraction, point := strings.Cut(number, ".")
	if point && (whole == "" || fraction == "") {
		return Amount{}, ErrSyntax
	}
	fraction = strings.TrimRight(fraction, "0")
	if len(fraction) > d.exponent {
		return Amount{}, fmt.Errorf("%w (1%s): state it per a longer time", ErrTooFine, d.base)
	}
	digits := whole + fraction + strings.Repeat("0", d.exponent-len(fraction))
	digits = strings.TrimLeft(digits, "0")
	if digits == "" {
		return Amount{}, nil
	}
	v, err := parseDecimal(digits)
	return Amount(v), err
}

func knownDenoms() string {
	names := make([]string, len(denominations))
	for i, d := range denominations {
		names[i] = d.name
	}
	return strings.Join(names, ", ")
}

// display is how amounts of a base denomination are shown to people; an
// unknown one is shown as it is.
func display(denom string) denomination {
	for _, d := range denominations {
		if d.base == denom {
			return d
		}
	}
	return denomination{name: denom, base: denom}
}

// FormatAmount is the exact amount for people: "0.0033 MOY". ParseCoin reads
// it back if the denomination is in the table.
func FormatAmount(a Amount, denom string) string {
	d := display(denom)
	return fixed(a.String(), d.exponent) + " " + d.name
}

// FormatRate is a rate as people compare prices, per hour: "0.02 MOY/h". It is
// cut to whole base units, or, below a thousand of them, to four significant
// digits, so it shows the price that RateFromPrice rounded up; a rate worth
// signing is written with String.
func FormatRate(r Rate, denom string) string {
	d := display(denom)
	// Per hour, in 10⁻⁸ base units: rounding up to a rate adds less than that.
	const extra = 8
	v, err := uint128(r).mulDiv(3600, rateScale/100_000_000, false)
	if err != nil { // cannot be: the quotient is 0.36 of the rate
		return r.String()
	}
	digits := string(v.appendDecimal(nil))
	const significant = 4
	keep := max(len(digits)-extra, min(significant, len(digits)))
	digits = digits[:keep] + strings.Repeat("0", len(digits)-keep)
	return fixed(digits, d.exponent+extra) + " " + d.name + "/h"
}

// fixed puts the point before the last exponent digits and drops zeros behind it.
func fixed(digits string, exponent int) string {
	if exponent == 0 {
		return digits
	}
	if len(digits) <= exponent {
		digits = strings.Repeat("0", exponent-len(digits)+1) + digits
	}
	whole, fraction := digits[:len(digits)-exponent], strings.TrimRight(digits[len(digits)-exponent:], "0")
	if fraction == "" {
		return whole
	}
	return whole + "." + fraction
}
