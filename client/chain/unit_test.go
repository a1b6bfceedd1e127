package chain

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"math"
	"testing"
	"time"

	"github.com/decred/dcrd/dcrec/secp256k1/v4"
	"github.com/decred/dcrd/dcrec/secp256k1/v4/ecdsa"
)

func TestFee(t *testing.T) {
	for _, tc := range []struct{ gas, price, want uint64 }{
		{0, 1000, 0}, {1, 1, 1}, {1_000_000, 25, 25}, {1_000_001, 25, 26}, {200_000, 5, 1}, {200_000, 0, 0},
		{math.MaxUint64, 1_000_000, math.MaxUint64},
	} {
		if got, err := feeFor(tc.gas, tc.price); err != nil || got != tc.want {
			t.Errorf("feeFor(%d, %d) = %d, %v; want %d", tc.gas, tc.price, got, err, tc.want)
		}
	}
	if _, err := feeFor(math.MaxUint64, 1_000_001); err == nil {
		t.Error("an overflowing fee was not refused")
	}
}

// TestExpiryIsUnique: the timeout is a transaction's nonce.
func TestExpiryIsUnique(t *testing.T) {
	f := &feed{time: time.Unix(1_700_000_000, 0)}
	seen := map[time.Time]bool{}
	for range 100_000 {
		e := f.expiry()
		if seen[e] {
			t.Fatalf("timeout %v was given twice", e)
		}
		seen[e] = true
		if d := e.Sub(f.time); d > 60*time.Second || d < 40*time.Second {
			t.Fatalf("timeout %s after the last block", d)
		}
	}
}

func TestErrorIs(t *testing.T) {
	err := fmt.Errorf("wrapped: %w", &Error{Code: CodeInsufficientFunds, Text: "1 < 2"})
	if !errors.Is(err, CodeInsufficientFunds) || errors.Is(err, CodeOutOfGas) || errors.Is(err, ErrNotFound) {
		t.Errorf("%v does not match its code alone", err)
	}
	if !errors.Is(&Error{Code: CodeKeyNotFound}, ErrNotFound) {
		t.Error("key not found is not ErrNotFound")
	}
}

func TestKeys(t *testing.T) {
	home := t.TempDir()
	k, err := OpenKeys(home, BackendTest, nil)
	if err != nil {
		t.Fatal(err)
	}
	key, words, err := k.Create("a")
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := k.Create("a"); !errors.Is(err, ErrKeyExists) {
		t.Errorf("second key of one name: %v", err)
	}
	again, err := OpenKeys(home, BackendTest, nil)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := again.Show("a"); err != nil || got.Address != key.Address {
		t.Errorf("after reopening %+v, %v; want %s", got, err, key.Address)
	}
	other, err := OpenKeys(t.TempDir(), BackendMemory, nil)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := other.Import("b", "  "+words+"\n"); err != nil || got.Address != key.Address {
		t.Errorf("imported %+v, %v; want %s", got, err, key.Address)
	}
	if _, err := other.Import("c", "these are no words"); err == nil {
		t.Error("nonsense was imported")
	}
	raw, err := ParseAddress(key.Address)
	if err != nil || string(raw) != string(key.Account) {
		t.Errorf("address does not survive: %x, %v", raw, err)
	}
	if _, err := ParseAddress("cosmos1qqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqnrql8a"); err == nil {
		t.Error("an address of another chain was accepted")
	}

	s, err := again.Signer("a")
	if err != nil {
		t.Fatal(err)
	}
	digest := sha256.Sum256([]byte("digest"))
	sig, err := s.Sign(digest[:])
	if err != nil {
		t.Fatal(err)
	}
	pub, err := secp256k1.ParsePubKey(s.PublicKey())
	if err != nil {
		t.Fatal(err)
	}
	var r, sv secp256k1.ModNScalar
	r.SetByteSlice(sig[:32])
	sv.SetByteSlice(sig[32:])
	signed := sha256.Sum256(digest[:])
	if sv.IsOverHalfOrder() || !ecdsa.NewSignature(&r, &sv).Verify(signed[:], pub) {
		t.Error("signature is not low-s ECDSA over SHA-256 of the digest")
	}
}
