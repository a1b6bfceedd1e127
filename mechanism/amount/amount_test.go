package amount

import (
	"encoding/hex"
	"encoding/json"
	"errors"
	"math"
	"math/big"
	"testing"
)

// oracle is the value as math/big knows it.
func oracle(v uint128) *big.Int {
	n := new(big.Int).SetUint64(v.hi)
	return n.Or(n.Lsh(n, 64), new(big.Int).SetUint64(v.lo))
}

var limit = new(big.Int).Lsh(big.NewInt(1), 128)

// agree compares a result with the oracle's: the same number, or the same
// refusal where the oracle's leaves 128 bits.
func agree(t *testing.T, what string, got uint128, err error, want *big.Int) {
	t.Helper()
	switch {
	case want.Sign() < 0:
		if !errors.Is(err, ErrUnderflow) {
			t.Errorf("%s: %v, want underflow (%s)", what, err, want)
		}
	case want.Cmp(limit) >= 0:
		if !errors.Is(err, ErrOverflow) {
			t.Errorf("%s: %v, want overflow (%s)", what, err, want)
		}
	case err != nil:
		t.Errorf("%s: %v, want %s", what, err, want)
	case oracle(got).Cmp(want) != 0:
		t.Errorf("%s: %s, want %s", what, oracle(got), want)
	}
}

func ceilDiv(n, d *big.Int) *big.Int {
	q, rem := new(big.Int).QuoRem(n, d, new(big.Int))
	if rem.Sign() != 0 {
		q.Add(q, big.NewInt(1))
	}
	return q
}

func FuzzArithmetic(f *testing.F) {
	const top = math.MaxUint64
	f.Add(uint64(0), uint64(0), uint64(0), uint64(0), uint64(0), uint64(1))
	f.Add(uint64(top), uint64(top), uint64(0), uint64(1), uint64(top), uint64(top))
	f.Add(uint64(0), uint64(5_555_555_555_556), uint64(0), uint64(3334), uint64(600_000), uint64(3600))
	f.Add(uint64(1), uint64(0), uint64(1), uint64(1), uint64(2), uint64(3))
	f.Add(uint64(top), uint64(top), uint64(top), uint64(top), uint64(1_000_000_000_000_000), uint64(1_000_000_000_000_000))
	f.Fuzz(func(t *testing.T, ahi, alo, bhi, blo, num, den uint64) {
		a, b := uint128{ahi, alo}, uint128{bhi, blo}
		bigA, bigB := oracle(a), oracle(b)
		n, d := new(big.Int).SetUint64(num), new(big.Int).SetUint64(den)
		product := new(big.Int).Mul(bigA, n)

		sum, err := Amount(a).Add(Amount(b))
		agree(t, "add", uint128(sum), err, new(big.Int).Add(bigA, bigB))
		diff, err := Amount(a).Sub(Amount(b))
		agree(t, "sub", uint128(diff), err, new(big.Int).Sub(bigA, bigB))
		scaled, err := Rate(a).Mul(num)
		agree(t, "mul", uint128(scaled), err, product)
		if got, want := Amount(a).Cmp(Amount(b)), bigA.Cmp(bigB); got != want {
			t.Errorf("cmp %d, want %d", got, want)
		}
		floor, errFloor := Amount(a).MulDivFloor(num, den)
		ceil, errCeil := Amount(a).MulDivCeil(num, den)
		if den == 0 {
			if !errors.Is(errFloor, ErrDivisor) || !errors.Is(errCeil, ErrDivisor) {
				t.Errorf("division by zero: %v, %v", errFloor, errCeil)
			}
		} else {
			agree(t, "floor", uint128(floor), errFloor, new(big.Int).Quo(product, d))
			agree(t, "ceil", uint128(ceil), errCeil, ceilDiv(product, d))
			rate, err := RateFromPrice(Amount(a), den)
			agree(t, "rate", uint128(rate), err, ceilDiv(new(big.Int).Mul(bigA, big.NewInt(rateScale)), d))
		}
		scale := big.NewInt(accrualScale)
		due, err := Rate(a).AccrueFloor(num)
		agree(t, "accrue floor", uint128(due), err, new(big.Int).Quo(product, scale))
		due, err = Rate(a).AccrueCeil(num)
		agree(t, "accrue ceil", uint128(due), err, ceilDiv(product, scale))

		// Greatest ms with floor(a·ms/scale) ≤ b: floor(((b+1)·scale − 1) / a).
		exhaust := new(big.Int).SetUint64(math.MaxUint64)
		if bigA.Sign() > 0 {
			x := new(big.Int).Add(bigB, big.NewInt(1))
			x.Sub(x.Mul(x, scale), big.NewInt(1)).Quo(x, bigA)
			if x.Cmp(exhaust) < 0 {
				exhaust = x
			}
		}
		// Where accrual itself overflows, the formula and the rule part: no time
		// whose accrual cannot be computed counts as affordable.
		got := Rate(a).TimeToExhaust(Amount(b))
		if last := new(big.Int).Mul(limit, scale); bigA.Sign() > 0 {
			last.Sub(last, big.NewInt(1)).Quo(last, bigA)
			if last.Cmp(exhaust) < 0 {
				exhaust = last
			}
		}
		if new(big.Int).SetUint64(got).Cmp(exhaust) != 0 {
			t.Errorf("time to exhaust %d, want %s", got, exhaust)
		}
	})
}

func FuzzText(f *testing.F) {
	for _, s := range []string{"0", "1", "007", "", "-1", "+1", " 1", "1e3", "340282366920938463463374607431768211455",
		"340282366920938463463374607431768211456", "999999999999999999999999999999999999999", "1000000000000000000000000000000000000000"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		want, ok := new(big.Int).SetString(s, 10)
		canonical := ok && want.Sign() >= 0 && want.String() == s
		got, err := Parse(s)
		switch {
		case err == nil && (!canonical || got.String() != s):
			t.Errorf("parsed %q as %s", s, got)
		case err != nil && canonical && want.Cmp(limit) < 0:
			t.Errorf("refused %q: %v", s, err)
		}
		rate, rateErr := ParseRate(s)
		if (err == nil) != (rateErr == nil) || uint128(rate) != uint128(got) {
			t.Errorf("amount %s, %v; rate %s, %v", got, err, rate, rateErr)
		}
	})
}

func FuzzCBOR(f *testing.F) {
	for _, v := range vectors {
		b, err := hex.DecodeString(v.hex)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	for _, bad := range refusedCBOR {
		b, _ := hex.DecodeString(bad.hex)
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		var a Amount
		if err := a.UnmarshalCBOR(b); err != nil {
			if !errors.Is(err, ErrCBOR) || a != (Amount{}) {
				t.Errorf("%x: %s, %v", b, a, err)
			}
			return
		}
		again, _ := a.MarshalCBOR()
		if string(again) != string(b) {
			t.Errorf("%x decodes to %s, which encodes to %x", b, a, again)
		}
	})
}

// From RFC 8949, appendix A, and the ends of each width.
var vectors = []struct{ value, hex string }{
	{"0", "00"},
	{"1", "01"},
	{"10", "0a"},
	{"23", "17"},
	{"24", "1818"},
	{"25", "1819"},
	{"100", "1864"},
	{"255", "18ff"},
	{"256", "190100"},
	{"1000", "1903e8"},
	{"65535", "19ffff"},
	{"65536", "1a00010000"},
	{"1000000", "1a000f4240"},
	{"4294967295", "1affffffff"},
	{"4294967296", "1b0000000100000000"},
	{"1000000000000", "1b000000e8d4a51000"},
	{"18446744073709551615", "1bffffffffffffffff"},
	{"18446744073709551616", "c249010000000000000000"},
	{"340282366920938463463374607431768211455", "c250ffffffffffffffffffffffffffffffff"},
}

func TestCBORVectors(t *testing.T) {
	for _, v := range vectors {
		a, err := Parse(v.value)
		if err != nil {
			t.Fatal(err)
		}
		b, err := a.MarshalCBOR()
		if err != nil || hex.EncodeToString(b) != v.hex {
			t.Errorf("%s encodes to %x, %v, want %s", v.value, b, err, v.hex)
		}
		var back Rate
		if err := back.UnmarshalCBOR(b); err != nil || back.String() != v.value {
			t.Errorf("%s decodes to %s, %v", v.hex, back, err)
		}
	}
}

var refusedCBOR = []struct{ hex, why string }{
	{"", "nothing"},
	{"1800", "0 in two bytes"},
	{"1817", "23 in two bytes"},
	{"1900ff", "255 in three bytes"},
	{"1a0000ffff", "65535 in five bytes"},
	{"1b00000000ffffffff", "2^32-1 in nine bytes"},
	{"0000", "two items"},
	{"18", "cut short"},
	{"1c", "reserved head"},
	{"20", "negative"},
	{"f6", "null"},
	{"f7", "undefined"},
	{"f90000", "half-precision float"},
	{"6130", "text"},
	{"c240", "empty bignum"},
	{"c24101", "1 as bignum"},
	{"c248ffffffffffffffff", "64 bits as bignum"},
	{"c24a00010000000000000000", "bignum with leading zero"},
	{"c25101000000000000000000000000000000ff", "136 bits"},
	{"c349010000000000000000", "negative bignum"},
	{"c25f49010000000000000000ff", "bignum of indefinite length"},
	{"d8020a", "long form of the tag"},
}

func TestCBORRefused(t *testing.T) {
	for _, bad := range refusedCBOR {
		b, err := hex.DecodeString(bad.hex)
		if err != nil {
			t.Fatal(err)
		}
		a := New(7)
		if err := a.UnmarshalCBOR(b); !errors.Is(err, ErrCBOR) {
			t.Errorf("%s (%s): %v, want %v", bad.hex, bad.why, err, ErrCBOR)
		}
		if a != New(7) {
			t.Errorf("%s: a refused decoding changed the value to %s", bad.hex, a)
		}
	}
}

func TestJSON(t *testing.T) {
	type both struct {
		A Amount
		R Rate
	}
	in := both{Amount{1, 0}, NewRate(5)}
	b, err := json.Marshal(in)
	if err != nil || string(b) != `{"A":"18446744073709551616","R":"5"}` {
		t.Fatalf("%s, %v", b, err)
	}
	var out both
	if err := json.Unmarshal(b, &out); err != nil || out != in {
		t.Errorf("%+v, %v", out, err)
	}
	for _, bad := range []string{`{"A":"-1"}`, `{"A":"1.5"}`, `{"R":""}`, `{"R":"0x10"}`} {
		if err := json.Unmarshal([]byte(bad), &out); !errors.Is(err, ErrSyntax) {
			t.Errorf("%s: %v, want %v", bad, err, ErrSyntax)
		}
	}
}

func TestSum(t *testing.T) {
	if got, err := Sum(); err != nil || !got.IsZero() {
		t.Errorf("empty sum %s, %v", got, err)
	}
	if got, err := Sum(New(1), New(2), New(39)); err != nil || got != New(42) {
		t.Errorf("%s, %v", got, err)
	}
	if _, err := Sum(Amount{math.MaxUint64, math.MaxUint64}, New(1)); !errors.Is(err, ErrOverflow) {
		t.Errorf("%v, want overflow", err)
	}
	if got := Min(New(3), New(2)); got != New(2) {
		t.Errorf("min %s", got)
	}
	if _, ok := (Amount{1, 0}).Uint64(); ok {
		t.Error("2^64 fits 64 bits")
	}
}
