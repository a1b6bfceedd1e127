package wire

import (
	"bytes"
	"encoding/hex"
	"testing"
)

// Each fuzz target feeds bytes to the envelope reader and to the body decoder of
// one kind. What is accepted must encode to the very bytes it was read from;
// nothing may panic.

func fuzzKind[T Object](f *testing.F, samples []sampleOf[T], mutations []mutation[T]) {
	for _, in := range samples {
		s := sealed(in.value, in.signers...)
		f.Add(s.Bytes())
		f.Add(s.Body)
	}
	for _, r := range refusals(f, samples[0], mutations) {
		b, err := hex.DecodeString(r.Envelope)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		if s, err := Open[T](sampleChain, b); err == nil {
			if again := s.Bytes(); !bytes.Equal(again, b) {
				t.Errorf("envelope %x was accepted, its own form is %x", b, again)
			}
			if err := s.Value.Validate(); err != nil {
				t.Errorf("opened an invalid value: %v", err)
			}
		}
		v, err := Decode[T](b)
		if err != nil {
			return
		}
		again, err := Encode(v)
		if err != nil || !bytes.Equal(again, b) {
			t.Errorf("body %x was accepted, its own form is %x (%v)", b, again, err)
		}
	})
}

func fuzzByKind(f *testing.F, k Kind) {
	for _, c := range kindCases() {
		if c.kind == k {
			c.fuzz(f)
		}
	}
}

func FuzzDecodeOrder(f *testing.F)        { fuzzByKind(f, KindOrder) }
func FuzzDecodeBid(f *testing.F)          { fuzzByKind(f, KindBid) }
func FuzzDecodeReady(f *testing.F)        { fuzzByKind(f, KindReady) }
func FuzzDecodeReceipt(f *testing.F)      { fuzzByKind(f, KindReceipt) }
func FuzzDecodeClaim(f *testing.F)        { fuzzByKind(f, KindClaim) }
func FuzzDecodeContest(f *testing.F)      { fuzzByKind(f, KindContest) }
func FuzzDecodeAway(f *testing.F)         { fuzzByKind(f, KindAway) }
func FuzzDecodeAccess(f *testing.F)       { fuzzByKind(f, KindAccess) }
func FuzzDecodeNodeRecord(f *testing.F)   { fuzzByKind(f, KindNodeRecord) }
func FuzzDecodeRelayReceipt(f *testing.F) { fuzzByKind(f, KindRelayReceipt) }
