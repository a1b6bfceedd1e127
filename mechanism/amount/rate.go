package amount

import (
	"fmt"
	"math"
)

const (
	// rateScale is how many units of a Rate make one base unit per second.
	rateScale = 1_000_000_000_000
	// accrualScale is the same per millisecond.
	accrualScale = 1000 * rateScale
)

// Rate is an unsigned price of time: 10⁻¹² base units per second. The zero
// value is free of charge; rates compare with ==.
type Rate struct{ hi, lo uint64 }

// NewRate returns a rate of u × 10⁻¹² base units per second.
func NewRate(u uint64) Rate { return Rate{lo: u} }

// ParseRate reads the decimal text that String writes. It returns ErrSyntax or
// ErrOverflow.
func ParseRate(s string) (Rate, error) {
	v, err := parseDecimal(s)
	if err != nil {
		return Rate{}, fmt.Errorf("rate %s: %w", excerpt(s), err)
	}
	return Rate(v), nil
}

// RateFromPrice is the one function from a price (base units per so many
// seconds) to a rate, for bids and ceilings alike. It rounds up, so a provider
// never gets less than its price and a ceiling equal to the price admits it.
// It returns ErrDivisor for per 0, and ErrOverflow.
func RateFromPrice(price Amount, per uint64) (Rate, error) {
	v, err := uint128(price).mulDiv(rateScale, per, true)
	return Rate(v), err
}

// String is the decimal number of 10⁻¹² base units per second.
func (r Rate) String() string { return string(uint128(r).appendDecimal(nil)) }

// Cmp is -1, 0 or +1 as r is less than, equal to or greater than o.
func (r Rate) Cmp(o Rate) int { return uint128(r).cmp(uint128(o)) }

// IsZero reports whether r is 0.
func (r Rate) IsZero() bool { return r == Rate{} }

// Add returns r+o, or ErrOverflow.
func (r Rate) Add(o Rate) (Rate, error) {
	v, over := uint128(r).add(uint128(o))
	if over {
		return Rate{}, ErrOverflow
	}
	return Rate(v), nil
}

// Mul returns r × n, or ErrOverflow.
func (r Rate) Mul(n uint64) (Rate, error) {
	v, over := uint128(r).mul(n).narrow()
	if over {
		return Rate{}, ErrOverflow
	}
	return Rate(v), nil
}

// MulDivCeil returns ceil(r × num / den). It returns ErrOverflow if that does
// not fit and ErrDivisor for den 0.
func (r Rate) MulDivCeil(num, den uint64) (Rate, error) {
	v, err := uint128(r).mulDiv(num, den, true)
	return Rate(v), err
}

// AccrueFloor is what ms milliseconds cost, rounded down: the amount billed.
// It is always computed from the start of a stream, never added up in steps,
// which would lose a fraction per step. It returns ErrOverflow.
func (r Rate) AccrueFloor(ms uint64) (Amount, error) {
	v, err := uint128(r).mulDiv(ms, accrualScale, false)
	return Amount(v), err
}

// AccrueCeil is what ms milliseconds cost, rounded up: the amount to lock so
// that AccrueFloor of the same time can always be paid. It returns ErrOverflow.
func (r Rate) AccrueCeil(ms uint64) (Amount, error) {
	v, err := uint128(r).mulDiv(ms, accrualScale, true)
	return Amount(v), err
}

// TimeToExhaust is the greatest time in milliseconds whose AccrueFloor does
// not exceed a; math.MaxUint64 if no time in that range does.
func (r Rate) TimeToExhaust(a Amount) uint64 {
	fits := func(ms uint64) bool {
		v, err := r.AccrueFloor(ms)
		return err == nil && v.Cmp(a) <= 0
	}
	if fits(math.MaxUint64) {
		return math.MaxUint64
	}
	// AccrueFloor never falls as time grows, so the last time that fits can be
	// searched, one bit a step. Searching with the rule itself leaves no second
	// formula to disagree with it.
	var ms uint64
	for bit := uint64(1) << 63; bit != 0; bit >>= 1 {
		if fits(ms | bit) {
			ms |= bit
		}
	}
	return ms
}

// MarshalText writes the decimal number, also as a JSON string.
func (r Rate) MarshalText() ([]byte, error) { return uint128(r).appendDecimal(nil), nil }

// UnmarshalText reads what MarshalText writes; errors as for ParseRate.
func (r *Rate) UnmarshalText(text []byte) error {
	v, err := ParseRate(string(text))
	if err != nil {
		return err
	}
	*r = v
	return nil
}
