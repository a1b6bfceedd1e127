package amount

import "math/bits"

// uint128 is the arithmetic under Amount and Rate. Its operations report what
// does not fit and leave the choice of error to the caller.
type uint128 struct{ hi, lo uint64 }

// uint192 holds the product of 128 and 64 bits, so that multiplying before
// dividing never loses a bit.
type uint192 struct{ hi, mid, lo uint64 }

func (a uint128) add(b uint128) (sum uint128, overflow bool) {
	lo, c := bits.Add64(a.lo, b.lo, 0)
	hi, c := bits.Add64(a.hi, b.hi, c)
	return uint128{hi, lo}, c != 0
}

func (a uint128) sub(b uint128) (diff uint128, underflow bool) {
	lo, c := bits.Sub64(a.lo, b.lo, 0)
	hi, c := bits.Sub64(a.hi, b.hi, c)
	return uint128{hi, lo}, c != 0
}

func (a uint128) cmp(b uint128) int {
	switch {
	case a.hi < b.hi:
		return -1
	case a.hi > b.hi:
		return 1
	case a.lo < b.lo:
		return -1
	case a.lo > b.lo:
		return 1
	}
	return 0
}

func (a uint128) mul(n uint64) uint192 {
	c, lo := bits.Mul64(a.lo, n)
	hi, mid := bits.Mul64(a.hi, n)
	mid, carry := bits.Add64(mid, c, 0)
	return uint192{hi + carry, mid, lo} // hi ≤ 2^64-2, the carry always fits
}

// div divides by den, which must not be zero.
func (p uint192) div(den uint64) (q uint192, rem uint64) {
	q.hi, rem = bits.Div64(0, p.hi, den)
	q.mid, rem = bits.Div64(rem, p.mid, den)
	q.lo, rem = bits.Div64(rem, p.lo, den)
	return q, rem
}

// narrow drops the empty top word.
func (p uint192) narrow() (v uint128, overflow bool) {
	return uint128{p.mid, p.lo}, p.hi != 0
}

// mulDiv is a*num/den, rounded up if ceil is set.
func (a uint128) mulDiv(num, den uint64, ceil bool) (uint128, error) {
	if den == 0 {
		return uint128{}, ErrDivisor
	}
	q, rem := a.mul(num).div(den)
	v, over := q.narrow()
	if over {
		return uint128{}, ErrOverflow
	}
	if ceil && rem != 0 {
		if v, over = v.add(uint128{lo: 1}); over {
			return uint128{}, ErrOverflow
		}
	}
	return v, nil
}

// maxDigits is the length of 2^128-1 in decimal.
const maxDigits = 39

// appendDecimal appends the shortest decimal text.
func (a uint128) appendDecimal(b []byte) []byte {
	var text [maxDigits]byte
	at := len(text)
	for {
		q, digit := uint192{0, a.hi, a.lo}.div(10)
		a, _ = q.narrow()
		at--
		text[at] = byte('0' + digit)
		if a == (uint128{}) {
			return append(b, text[at:]...)
		}
	}
}

// parseDecimal accepts exactly what appendDecimal writes: digits only, no
// sign, no leading zero, so that one value has one text.
func parseDecimal(s string) (uint128, error) {
	switch {
	case s == "":
		return uint128{}, ErrSyntax
	case len(s) > maxDigits:
		return uint128{}, ErrOverflow
	case len(s) > 1 && s[0] == '0':
		return uint128{}, ErrSyntax
	}
	var v uint128
	for i := range len(s) {
		if s[i] < '0' || s[i] > '9' {
			return uint128{}, ErrSyntax
		}
		scaled, over := v.mul(10).narrow()
		if over {
			return uint128{}, ErrOverflow
		}
		if v, over = scaled.add(uint128{lo: uint64(s[i] - '0')}); over {
			return uint128{}, ErrOverflow
		}
	}
	return v, nil
}
