package wire

import (
	"testing"

	"github.com/oasisprotocol/curve25519-voi/primitives/ed25519"
)

func benchmarkOpen[T Object](b *testing.B, s Signed[T]) {
	raw := s.Bytes()
	b.SetBytes(int64(len(raw)))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := Open[T](sampleChain, raw); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkOpenOrder(b *testing.B) { benchmarkOpen(b, sealed(sampleOrder(), secp("payer"))) }
func BenchmarkOpenBid(b *testing.B)   { benchmarkOpen(b, sealed(sampleBid(), ed("node"))) }
func BenchmarkOpenReceipt(b *testing.B) {
	benchmarkOpen(b, sealed(sampleFinal(), ed("node"), ed("receipt key")))
}

// BenchmarkVerifyBid is what the chain does with a bid: open and verify, the
// node's key being one it has seen.
func BenchmarkVerifyBid(b *testing.B) {
	raw := sealed(sampleBid(), ed("node")).Bytes()
	b.ReportAllocs()
	for b.Loop() {
		s, err := Open[Bid](sampleChain, raw)
		if err != nil {
			b.Fatal(err)
		}
		if err := VerifyBid(s); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkVerifyReceipt(b *testing.B) {
	node, key := ed("node"), ed("receipt key")
	raw := sealed(sampleFinal(), node, key).Bytes()
	nodeKey, receiptKey := node.PublicKey(), key.PublicKey()
	b.ReportAllocs()
	for b.Loop() {
		s, err := Open[Receipt](sampleChain, raw)
		if err != nil {
			b.Fatal(err)
		}
		if n, k, err := VerifyReceipt(s, nodeKey, receiptKey); err != nil || !n || !k {
			b.Fatal(n, k, err)
		}
	}
}

func BenchmarkVerifyOrderSecp256k1(b *testing.B) {
	s := sealed(sampleOrder(), secp("payer"))
	b.ReportAllocs()
	for b.Loop() {
		if err := VerifyOrder(s); err != nil {
			b.Fatal(err)
		}
	}
}

// The next three justify the cache: a key seen before, a key never seen, and
// no cache at all.
func BenchmarkVerifyEd25519Cached(b *testing.B) {
	s := sealed(sampleBid(), ed("node"))
	for b.Loop() {
		if !s.Sigs[0].verify(s.Digest[:], true) {
			b.Fatal("refused")
		}
	}
}

func BenchmarkVerifyEd25519Fresh(b *testing.B) {
	const keys = expandedKeys + 1 // one more than fits: every look-up misses
	sigs := make([]Signature, keys)
	digest := digestOf("benchmark")
	for i := range sigs {
		s := ed(string(rune(i)))
		sig, err := s.Sign(digest)
		if err != nil {
			b.Fatal(err)
		}
		sigs[i] = Signature{Alg: AlgEd25519, PublicKey: s.PublicKey(), Sig: sig}
	}
	i := 0
	for b.Loop() {
		if !sigs[i%keys].verify(digest, true) {
			b.Fatal("refused")
		}
		i++
	}
}

func BenchmarkVerifyEd25519Plain(b *testing.B) {
	s := sealed(sampleBid(), ed("node"))
	for b.Loop() {
		if !ed25519.VerifyWithOptions(s.Sigs[0].PublicKey, s.Digest[:], s.Sigs[0].Sig, zip215) {
			b.Fatal("refused")
		}
	}
}

func BenchmarkSealReceipt(b *testing.B) {
	r, node := sampleReceipt(), ed("node")
	b.ReportAllocs()
	for b.Loop() {
		if _, err := Seal(r, node); err != nil {
			b.Fatal(err)
		}
	}
}
