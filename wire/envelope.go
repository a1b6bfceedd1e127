package wire

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"slices"
)

// Algorithms of a Signature.
const (
	AlgEd25519   = 1 // 32-byte key, 64-byte signature, verified by the ZIP-215 rule
	AlgSecp256k1 = 2 // 33-byte compressed key, 64-byte r‖s with low s; orders only
)

// Signature is one key's signature over an object's digest.
type Signature struct {
	Alg       uint64
	PublicKey []byte
	Sig       []byte
}

// compare orders the signatures of an envelope: by algorithm, then key.
func (s Signature) compare(t Signature) int {
	if s.Alg != t.Alg {
		return int(s.Alg) - int(t.Alg) // both are 1 or 2
	}
	return bytes.Compare(s.PublicKey, t.PublicKey)
}

// Signed is an object with its body, digest and signatures. Open and Seal
// make it; that it exists does not say that a signature verifies.
//
// Body and Sigs of an opened object share memory with the envelope they were
// read from, which must not be changed as long as they are used.
type Signed[T Object] struct {
	Value  T
	Body   []byte
	Digest [32]byte
	Sigs   []Signature
}

// Seal encodes v and signs it with each signer. More than the kind's number of
// signers, or two with one key, is an error.
func Seal[T Object](v T, signers ...Signer) (Signed[T], error) {
	body, err := Encode(v)
	if err != nil {
		return Signed[T]{}, err
	}
	s := Signed[T]{Value: v, Body: body, Digest: Hash(v.kind(), v.chain(), body)}
	for _, signer := range signers {
		if s, err = s.Countersign(signer); err != nil {
			return Signed[T]{}, err
		}
	}
	return s, nil
}

// Countersign returns s with one more signature; s itself is unchanged. It
// checks no other signature.
func (s Signed[T]) Countersign(signer Signer) (Signed[T], error) {
	sig, err := signer.Sign(s.Digest[:])
	if err != nil {
		return Signed[T]{}, fmt.Errorf("%s: sign: %w", s.Value.kind(), err)
	}
	return s.WithSignature(Signature{Alg: signer.Alg(), PublicKey: signer.PublicKey(), Sig: sig})
}

// WithSignature returns s with a signature made elsewhere put in its place; it
// does not verify it. One that is malformed, of a key that has signed already,
// or one too many is refused with ErrInvalid.
func (s Signed[T]) WithSignature(sig Signature) (Signed[T], error) {
	k := s.Value.kind()
	if err := sig.check(k); err != nil {
		return Signed[T]{}, fmt.Errorf("%s: %w", k, err)
	}
	if len(s.Sigs) >= k.MaxSignatures() {
		return Signed[T]{}, fmt.Errorf("%s: %w", k, invalid("more than %d signatures", k.MaxSignatures()))
	}
	at, found := slices.BinarySearchFunc(s.Sigs, sig, Signature.compare)
	if found {
		return Signed[T]{}, fmt.Errorf("%s: %w", k, invalid("two signatures by one key"))
	}
	s.Sigs = slices.Insert(slices.Clone(s.Sigs), at, sig)
	return s, nil
}

// Bytes returns the envelope: the canonical CBOR array of the body, as a byte
// string, and of the array of [algorithm, key, signature], sorted.
func (s Signed[T]) Bytes() []byte {
	b := make([]byte, 0, 8+len(s.Body)+len(s.Sigs)*maxSignatureEntry)
	b = append(b, 0x82)
	b = appendBytes(b, s.Body)
	b = append(b, 0x80|byte(len(s.Sigs)))
	for _, sig := range s.Sigs {
		b = append(b, 0x83, byte(sig.Alg))
		b = appendBytes(b, sig.PublicKey)
		b = appendBytes(b, sig.Sig)
	}
	return b
}

// Open reads an envelope: it decodes and validates the body, checks that it is
// meant for chainID and computes the digest. It verifies no signature. Errors
// wrap ErrTooLarge, ErrNotCanonical, ErrInvalid or ErrWrongChain.
func Open[T Object](chainID string, b []byte) (Signed[T], error) {
	k := KindOf[T]()
	if len(b) > k.MaxSigned() {
		return Signed[T]{}, fmt.Errorf("%s: %w: %d bytes where %d are allowed", k, ErrTooLarge, len(b), k.MaxSigned())
	}
	body, sigs, err := parseEnvelope(k, b)
	if err != nil {
		return Signed[T]{}, fmt.Errorf("%s: %w", k, err)
	}
	s, err := OpenBody[T](chainID, body)
	s.Sigs = sigs
	return s, err
}

// OpenBody is Open for a body that travels without signatures, such as the
// order within a transaction that its payer signs.
func OpenBody[T Object](chainID string, body []byte) (Signed[T], error) {
	v, err := Decode[T](body)
	if err != nil {
		return Signed[T]{}, err
	}
	if v.chain() != chainID {
		return Signed[T]{}, fmt.Errorf("%s: %w: made for %q, this is %q", v.kind(), ErrWrongChain, v.chain(), chainID)
	}
	return Signed[T]{Value: v, Body: body, Digest: Hash(v.kind(), chainID, body)}, nil
}

// parseEnvelope splits an envelope without copying. The grammar is small enough
// to be read by hand, which costs a tenth of the general decoder, and leaves
// one form for each content.
func parseEnvelope(k Kind, b []byte) (body []byte, sigs []Signature, err error) {
	r := reader{b: b}
	r.want(0x82, "an array of body and signatures")
	body = r.bytes(k.MaxBody(), "body")
	n := int(r.next("signatures")) - 0x80
	if r.err == nil && (n < 1 || n > k.MaxSignatures()) {
		return nil, nil, invalid("envelope does not have 1 to %d signatures", k.MaxSignatures())
	}
	for i := 0; i < n && r.err == nil; i++ {
		r.want(0x83, "a signature's array of three")
		var s Signature
		s.Alg = uint64(r.next("algorithm"))
		s.PublicKey = r.bytes(33, "public key")
		s.Sig = r.bytes(64, "signature")
		if r.err != nil {
			break
		}
		if err := s.check(k); err != nil {
			return nil, nil, err
		}
		if i > 0 && sigs[i-1].compare(s) >= 0 {
			return nil, nil, fmt.Errorf("%w: signatures are not sorted and unique", ErrNotCanonical)
		}
		sigs = append(sigs, s)
	}
	if r.err != nil {
		return nil, nil, r.err
	}
	if len(r.b) != 0 {
		return nil, nil, fmt.Errorf("%w: %d bytes after the envelope", ErrNotCanonical, len(r.b))
	}
	return body, sigs, nil
}

// check reports whether the signature has a form that kind k allows.
func (s Signature) check(k Kind) error {
	switch {
	case s.Alg == AlgEd25519:
		return firstError(size("ed25519 key", s.PublicKey, KeySize), size("signature", s.Sig, 64))
	case s.Alg == AlgSecp256k1 && k.byAccount():
		return firstError(size("secp256k1 key", s.PublicKey, 33), size("signature", s.Sig, 64))
	default:
		return invalid("algorithm %d is not allowed here", s.Alg)
	}
}

// appendBytes appends the shortest CBOR head of a byte string, and the bytes.
func appendBytes(b, data []byte) []byte {
	switch n := len(data); {
	case n < 24:
		b = append(b, 0x40|byte(n))
	case n <= 0xff:
		b = append(b, 0x58, byte(n))
	default: // bodies end far below 64 KiB
		b = binary.BigEndian.AppendUint16(append(b, 0x59), uint16(n))
	}
	return append(b, data...)
}

// reader consumes b from the front and keeps its first error.
type reader struct {
	b   []byte
	err error
}

func (r *reader) fail(format string, args ...any) {
	if r.err == nil {
		r.err = fmt.Errorf("%w: %s", ErrNotCanonical, fmt.Sprintf(format, args...))
	}
}

func (r *reader) next(what string) byte {
	if r.err != nil {
		return 0
	}
	if len(r.b) == 0 {
		r.fail("envelope ends before %s", what)
		return 0
	}
	c := r.b[0]
	r.b = r.b[1:]
	return c
}

func (r *reader) want(c byte, what string) {
	if got := r.next(what); r.err == nil && got != c {
		r.fail("envelope has byte %#02x where %s begins with %#02x", got, what, c)
	}
}

// bytes reads a byte string of at most most bytes with the shortest head.
func (r *reader) bytes(most int, what string) []byte {
	n := -1
	switch head := r.next(what); {
	case r.err != nil:
		return nil
	case head >= 0x40 && head < 0x58:
		n = int(head - 0x40)
	case head == 0x58:
		if n = int(r.next(what)); n < 24 {
			r.fail("length of %s is not in its shortest form", what)
		}
	case head == 0x59:
		if n = int(r.next(what))<<8 | int(r.next(what)); n <= 0xff {
			r.fail("length of %s is not in its shortest form", what)
		}
	default:
		r.fail("%s is not a byte string of definite length", what)
	}
	if r.err != nil {
		return nil
	}
	if n > most {
		r.err = fmt.Errorf("%w: %s of %d bytes where %d are allowed", ErrTooLarge, what, n, most)
		return nil
	}
	if n > len(r.b) {
		r.fail("%s is cut short", what)
		return nil
	}
	out := r.b[:n:n]
	r.b = r.b[n:]
	return out
}
