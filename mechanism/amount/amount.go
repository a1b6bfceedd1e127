// Package amount is Moyai's money arithmetic: amounts in base units, rates in
// 10⁻¹² base units per second, and the price texts people write.
//
// Everything is an unsigned 128-bit integer. Whatever can leave that range
// returns an error instead of wrapping, and whatever can lose a fraction names
// its rounding (Floor or Ceil). There are no floats and no negative amounts: a
// debt is an amount owed by somebody.
//
// The package is not a ledger: it does not know who owns an amount, nor, save
// for the text of prices, in which denomination it is.
package amount

import (
	"errors"
	"fmt"
)

// Errors of this package. Callers branch on them with errors.Is.
var (
	// ErrOverflow: the result needs more than 128 bits.
	ErrOverflow = errors.New("amount overflows 128 bits")
	// ErrUnderflow: the result would be negative.
	ErrUnderflow = errors.New("amount would be negative")
	// ErrSyntax: the text or the bytes are not an amount.
	ErrSyntax = errors.New("not an unsigned decimal number")
	// ErrDivisor: a division by zero was asked for.
	ErrDivisor = errors.New("division by zero")
)

// Amount is an unsigned number of base units of some denomination (umoy:
// 10⁻⁶ MOY). The zero value is 0; amounts compare with ==.
type Amount struct{ hi, lo uint64 }

// New returns u base units.
func New(u uint64) Amount { return Amount{lo: u} }

// Parse reads the decimal text that String writes: digits only, without sign,
// leading zeros or spaces. It returns ErrSyntax or ErrOverflow.
func Parse(s string) (Amount, error) {
	v, err := parseDecimal(s)
	if err != nil {
		return Amount{}, fmt.Errorf("amount %s: %w", excerpt(s), err)
	}
	return Amount(v), nil
}

// String is the decimal number of base units.
func (a Amount) String() string { return string(uint128(a).appendDecimal(nil)) }

// Add returns a+b, or ErrOverflow.
func (a Amount) Add(b Amount) (Amount, error) {
	v, over := uint128(a).add(uint128(b))
	if over {
		return Amount{}, ErrOverflow
	}
	return Amount(v), nil
}

// Sub returns a-b, or ErrUnderflow if b is the larger.
func (a Amount) Sub(b Amount) (Amount, error) {
	v, under := uint128(a).sub(uint128(b))
	if under {
		return Amount{}, ErrUnderflow
	}
	return Amount(v), nil
}

// Cmp is -1, 0 or +1 as a is less than, equal to or greater than b.
func (a Amount) Cmp(b Amount) int { return uint128(a).cmp(uint128(b)) }

// IsZero reports whether a is 0.
func (a Amount) IsZero() bool { return a == Amount{} }

// Min returns the smaller of a and b.
func Min(a, b Amount) Amount {
	if a.Cmp(b) <= 0 {
		return a
	}
	return b
}

// Uint64 returns a as 64 bits, and whether it fits.
func (a Amount) Uint64() (u uint64, ok bool) { return a.lo, a.hi == 0 }

// MulDivFloor returns floor(a × num / den) with a product of full width. It
// returns ErrOverflow if the quotient does not fit and ErrDivisor for den 0.
func (a Amount) MulDivFloor(num, den uint64) (Amount, error) {
	v, err := uint128(a).mulDiv(num, den, false)
	return Amount(v), err
}

// MulDivCeil returns ceil(a × num / den); errors as for MulDivFloor.
func (a Amount) MulDivCeil(num, den uint64) (Amount, error) {
	v, err := uint128(a).mulDiv(num, den, true)
	return Amount(v), err
}

// Sum adds up all of its arguments, or returns ErrOverflow.
func Sum(amounts ...Amount) (Amount, error) {
	var total Amount
	var err error
	for _, a := range amounts {
		if total, err = total.Add(a); err != nil {
			return Amount{}, err
		}
	}
	return total, nil
}

// MarshalText writes the decimal number, also as a JSON string.
func (a Amount) MarshalText() ([]byte, error) { return uint128(a).appendDecimal(nil), nil }

// UnmarshalText reads what MarshalText writes; errors as for Parse.
func (a *Amount) UnmarshalText(text []byte) error {
	v, err := Parse(string(text))
	if err != nil {
		return err
	}
	*a = v
	return nil
}

// excerpt quotes a hostile text at bounded length.
func excerpt(s string) string {
	const most = 48
	if len(s) > most {
		return fmt.Sprintf("%q…", s[:most])
	}
	return fmt.Sprintf("%q", s)
}
