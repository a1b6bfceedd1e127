package wire

import (
	"bytes"
	"crypto/rand"
	"crypto/sha512"
	"encoding/hex"
	"math/big"
	"path/filepath"
	"slices"
	"testing"

	"github.com/oasisprotocol/curve25519-voi/primitives/ed25519"
)

// The rule of ZIP-215 (https://zips.z.cash/zip-0215) written a second time, with
// math/big, as the oracle of the library that we depend on: any encoding of a
// curve point counts, s is below the group's order, and
// [8][s]B = [8]R + [8][k]A.

var (
	fieldP = decimal("57896044618658097711785492504343953926634992332820282019728792003956564819949")
	orderL = decimal("7237005577332262213973186563042994240857116359379907606001950938285454250989")
	curveD = decimal("37095705934669439343138083508754565189542113879843219016388785533085940283555")
	sqrtM1 = decimal("19681161376707505956807079304988542015446066515923890162744021073123829784752")
	baseB  = decodePoint(append([]byte{0x58}, bytes.Repeat([]byte{0x66}, 31)...))
)

func decimal(s string) *big.Int {
	n, ok := new(big.Int).SetString(s, 10)
	if !ok {
		panic(s)
	}
	return n
}

func mod(n *big.Int) *big.Int      { return n.Mod(n, fieldP) }
func mul(a, b *big.Int) *big.Int   { return mod(new(big.Int).Mul(a, b)) }
func plus(a, b *big.Int) *big.Int  { return mod(new(big.Int).Add(a, b)) }
func minus(a, b *big.Int) *big.Int { return mod(new(big.Int).Sub(a, b)) }
func inverse(a *big.Int) *big.Int  { return new(big.Int).ModInverse(a, fieldP) }
func littleEndian(b []byte) *big.Int {
	c := bytes.Clone(b)
	slices.Reverse(c)
	return new(big.Int).SetBytes(c)
}
func toLittleEndian(n *big.Int) []byte {
	c := n.FillBytes(make([]byte, 32))
	slices.Reverse(c)
	return c
}

// point is (X:Y:Z), x = X/Z, y = Y/Z.
type point struct{ x, y, z *big.Int }

func identity() *point { return &point{big.NewInt(0), big.NewInt(1), big.NewInt(1)} }

// decodePoint returns nil if b encodes no point of the curve. y is taken modulo
// p and a sign bit on x = 0 is ignored, as ZIP-215 wants.
func decodePoint(b []byte) *point {
	y := littleEndian(b)
	sign := y.Bit(255)
	mod(y.SetBit(y, 255, 0))
	yy := mul(y, y)
	// x² = (y² - 1) / (d y² + 1)
	xx := mul(minus(yy, big.NewInt(1)), inverse(plus(mul(curveD, yy), big.NewInt(1))))
	exp := new(big.Int).Rsh(new(big.Int).Add(fieldP, big.NewInt(3)), 3)
	x := new(big.Int).Exp(xx, exp, fieldP)
	if mul(x, x).Cmp(xx) != 0 {
		x = mul(x, sqrtM1)
	}
	if mul(x, x).Cmp(xx) != 0 {
		return nil
	}
	if x.Bit(0) != sign {
		x = minus(big.NewInt(0), x)
	}
	return &point{x, y, big.NewInt(1)}
}

func (p *point) encode() []byte {
	zi := inverse(p.z)
	out := toLittleEndian(mul(p.y, zi))
	out[31] |= byte(mul(p.x, zi).Bit(0)) << 7
	return out
}

// add is the complete addition law, so it also doubles.
func (p *point) add(q *point) *point {
	a := mul(p.z, q.z)
	b := mul(a, a)
	c, d := mul(p.x, q.x), mul(p.y, q.y)
	e := mul(curveD, mul(c, d))
	f, g := minus(b, e), plus(b, e)
	h := minus(minus(mul(plus(p.x, p.y), plus(q.x, q.y)), c), d)
	return &point{mul(a, mul(f, h)), mul(a, mul(g, plus(d, c))), mul(f, g)}
}

func (p *point) times(n *big.Int) *point {
	out := identity()
	for i := n.BitLen() - 1; i >= 0; i-- {
		out = out.add(out)
		if n.Bit(i) == 1 {
			out = out.add(p)
		}
	}
	return out
}

func (p *point) isIdentity() bool { return p.x.Sign() == 0 && p.y.Cmp(p.z) == 0 }

func challenge(r, a, message []byte) *big.Int {
	h := sha512.New()
	h.Write(r)
	h.Write(a)
	h.Write(message)
	return new(big.Int).Mod(littleEndian(h.Sum(nil)), orderL)
}

func oracle(key, message, sig []byte) bool {
	a, r, s := decodePoint(key), decodePoint(sig[:32]), littleEndian(sig[32:])
	if a == nil || r == nil || s.Cmp(orderL) >= 0 {
		return false
	}
	k := challenge(sig[:32], key, message)
	minusS := new(big.Int).Sub(orderL, s)
	sum := baseB.times(minusS).add(r).add(a.times(k))
	return sum.times(big.NewInt(8)).isIdentity()
}

// smallOrder lists every encoding of the eight points whose order divides 8:
// eight that are canonical, six that are not.
var smallOrder = []string{
	"0100000000000000000000000000000000000000000000000000000000000000",
	"ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
	"0000000000000000000000000000000000000000000000000000000000000000",
	"0000000000000000000000000000000000000000000000000000000000000080",
	"26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05",
	"26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc85",
	"c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a",
	"c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac03fa",
	"0100000000000000000000000000000000000000000000000000000000000080",
	"ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
	"eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
	"eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
	"edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
	"edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
}

type zip215File struct {
	Rule    string         `json:"rule"`
	Message string         `json:"message"`
	Vectors []zip215Vector `json:"vectors"`
}

type zip215Vector struct {
	Why       string `json:"why"`
	PublicKey string `json:"public_key"`
	Sig       string `json:"signature"`
	Valid     bool   `json:"valid"`
}

func zip215Vectors() zip215File {
	bid := sealed(sampleBid(), ed("node"))
	message := bid.Digest[:]
	f := zip215File{
		Rule:    "ed25519 by ZIP-215: any encoding of a curve point, s below the group order, [8][s]B = [8]R + [8][k]A",
		Message: hex.EncodeToString(message),
	}
	add := func(why string, key, sig []byte, valid bool) {
		f.Vectors = append(f.Vectors, zip215Vector{why, hex.EncodeToString(key), hex.EncodeToString(sig), valid})
	}
	zero := make([]byte, 32)
	for i, a := range smallOrder {
		for j, r := range smallOrder {
			if i == j || j == 0 || i == 0 || (i+j)%5 == 0 { // a third of the pairs tells as much
				add("key and R of small order, s zero", bytesOf(a), append(bytesOf(r), zero...), true)
			}
		}
	}
	torsion := decodePoint(bytesOf(smallOrder[4]))
	secretA, secretR := big.NewInt(0).SetBytes(seed("zip215 a")), big.NewInt(0).SetBytes(seed("zip215 r"))
	secretA.Mod(secretA, orderL)
	secretR.Mod(secretR, orderL)
	pureA, pureR := baseB.times(secretA), baseB.times(secretR)
	sign := func(key, r []byte) []byte {
		s := challenge(r, key, message)
		s.Mul(s, secretA).Add(s, secretR).Mod(s, orderL)
		return append(bytes.Clone(r), toLittleEndian(s)...)
	}
	key, mixedKey := pureA.encode(), pureA.add(torsion).encode()
	r, mixedR := pureR.encode(), pureR.add(torsion).encode()
	good := sign(key, r)
	add("ordinary", key, good, true)
	add("key with a component of order 8", mixedKey, sign(mixedKey, r), true)
	add("R with a component of order 8", key, sign(key, mixedR), true)
	add("both with a component of order 8", mixedKey, sign(mixedKey, mixedR), true)
	add("s not below the group order", key, plusGroupOrder(good), false)
	add("s not below the group order, small key and R", bytesOf(smallOrder[0]), plusGroupOrder(append(bytesOf(smallOrder[0]), zero...)), false)
	add("key is no point", notAPoint(), good, false)
	add("R is no point", key, append(notAPoint(), good[32:]...), false)
	add("another key", mixedKey, good, false)
	flipped := bytes.Clone(good)
	flipped[40] ^= 1
	add("one bit of s flipped", key, flipped, false)
	return f
}

func notAPoint() []byte {
	for y := byte(2); ; y++ {
		b := append([]byte{y}, make([]byte, 31)...)
		if decodePoint(b) == nil {
			return b
		}
	}
}

func bytesOf(s string) []byte {
	b, err := hex.DecodeString(s)
	if err != nil {
		panic(err)
	}
	return b
}

func TestSmallOrderListIsWhole(t *testing.T) {
	distinct := map[string]bool{}
	for _, s := range smallOrder {
		p := decodePoint(bytesOf(s))
		if p == nil || !p.times(big.NewInt(8)).isIdentity() {
			t.Fatalf("%s is not of small order", s)
		}
		distinct[hex.EncodeToString(p.encode())] = true
	}
	if len(distinct) != 8 {
		t.Errorf("%d points of small order, want 8", len(distinct))
	}
	// y and y + p both fit in 255 bits only for y < 19, and of those y = 0 and
	// y = 1 alone are small: with both signs four encodings, and two more are
	// x = 0 with the sign set.
	if len(smallOrder) != 14 {
		t.Errorf("%d encodings, want 14", len(smallOrder))
	}
}

func TestZIP215(t *testing.T) {
	f := zip215Vectors()
	checkGolden(t, filepath.Join(vectorDir, "zip215.json"), f)
	message := bytesOf(f.Message)
	for _, v := range f.Vectors {
		key, sig := bytesOf(v.PublicKey), bytesOf(v.Sig)
		s := Signature{Alg: AlgEd25519, PublicKey: key, Sig: sig}
		// Twice with the cache: filled, and used.
		for how, got := range map[string]bool{
			"oracle": oracle(key, message, sig), "plain": s.verify(message, false),
			"cache, first": s.verify(message, true), "cache, again": s.verify(message, true),
			"batch": batch(key, message, sig),
		} {
			if got != v.Valid {
				t.Errorf("%s: %s says %v, want %v (key %s, signature %s)", v.Why, how, got, v.Valid, v.PublicKey, v.Sig)
			}
		}
	}
}

func batch(key, message, sig []byte) bool {
	b := ed25519.NewBatchVerifier()
	b.AddWithOptions(key, message, sig, zip215)
	b.AddWithOptions(key, message, sig, zip215)
	ok, _ := b.Verify(rand.Reader)
	return ok
}

// TestSmallOrderNode takes a crafted key all the way: a bid in the name of a
// node whose key has order 1 is accepted, everywhere or nowhere. Whoever
// registers such a key has given it to everybody, and harms only itself.
func TestSmallOrderNode(t *testing.T) {
	b := sampleBid()
	b.Node = bytesOf(smallOrder[0])
	s, err := Seal(b)
	if err != nil {
		t.Fatal(err)
	}
	s, err = s.WithSignature(Signature{Alg: AlgEd25519, PublicKey: b.Node, Sig: append(bytes.Clone(b.Node), make([]byte, 32)...)})
	if err != nil {
		t.Fatal(err)
	}
	opened, err := Open[Bid](sampleChain, s.Bytes())
	if err != nil {
		t.Fatal(err)
	}
	if err := VerifyBid(opened); err != nil {
		t.Errorf("refused: %v", err)
	}
}
