package amount

import (
	"encoding/binary"
	"errors"
)

// ErrCBOR: the bytes are not the one canonical encoding of an unsigned
// integer of at most 128 bits.
var ErrCBOR = errors.New("not a canonical CBOR unsigned integer of at most 128 bits")

// Amounts and rates are CBOR unsigned integers in the preferred serialisation
// of RFC 8949 (sections 3.4.3 and 4.1): major type 0 in its shortest head up
// to 2^64-1, above that tag 2 over a byte string without leading zeros. The
// few lines are written out here so that the rules need no CBOR library and
// no other encoding of the same number is ever accepted.
const (
	cborTagBignum = 0xc2 // tag 2, unsigned bignum
	cborBytes     = 0x40 // major type 2, length in the low bits
	cborMax       = 2 + 16
)

// MarshalCBOR writes the preferred serialisation; it never fails.
func (a Amount) MarshalCBOR() ([]byte, error) { return uint128(a).appendCBOR(nil), nil }

// UnmarshalCBOR reads exactly one canonical integer, or returns ErrCBOR.
func (a *Amount) UnmarshalCBOR(b []byte) error {
	v, err := parseCBOR(b)
	if err != nil {
		return err
	}
	*a = Amount(v)
	return nil
}

// MarshalCBOR writes the preferred serialisation; it never fails.
func (r Rate) MarshalCBOR() ([]byte, error) { return uint128(r).appendCBOR(nil), nil }

// UnmarshalCBOR reads exactly one canonical integer, or returns ErrCBOR.
func (r *Rate) UnmarshalCBOR(b []byte) error {
	v, err := parseCBOR(b)
	if err != nil {
		return err
	}
	*r = Rate(v)
	return nil
}

func (a uint128) appendCBOR(b []byte) []byte {
	if a.hi != 0 {
		var full [16]byte
		binary.BigEndian.PutUint64(full[:8], a.hi)
		binary.BigEndian.PutUint64(full[8:], a.lo)
		digits := full[:]
		for digits[0] == 0 {
			digits = digits[1:]
		}
		b = append(b, cborTagBignum, cborBytes|byte(len(digits)))
		return append(b, digits...)
	}
	switch {
	case a.lo < 24:
		return append(b, byte(a.lo))
	case a.lo < 1<<8:
		return append(b, 24, byte(a.lo))
	case a.lo < 1<<16:
		return binary.BigEndian.AppendUint16(append(b, 25), uint16(a.lo))
	case a.lo < 1<<32:
		return binary.BigEndian.AppendUint32(append(b, 26), uint32(a.lo))
	}
	return binary.BigEndian.AppendUint64(append(b, 27), a.lo)
}

// parseCBOR decodes loosely and then compares with the one right encoding, so
// being canonical is checked by the encoder itself.
func parseCBOR(b []byte) (uint128, error) {
	if len(b) == 0 || len(b) > cborMax {
		return uint128{}, ErrCBOR
	}
	var digits []byte
	switch head := b[0]; {
	case head < 24 && len(b) == 1:
		digits = b
	case head >= 24 && head <= 27 && len(b) == 1+1<<(head-24):
		digits = b[1:]
	case head == cborTagBignum && len(b) > 2 && b[1] == cborBytes|byte(len(b)-2):
		digits = b[2:]
	default:
		return uint128{}, ErrCBOR
	}
	var full [16]byte
	copy(full[len(full)-len(digits):], digits)
	v := uint128{binary.BigEndian.Uint64(full[:8]), binary.BigEndian.Uint64(full[8:])}
	if string(v.appendCBOR(nil)) != string(b) {
		return uint128{}, ErrCBOR
	}
	return v, nil
}
