package wire

import (
	"bytes"
	"encoding/hex"
	"errors"
	"testing"
)

// Values made with cosmos-sdk v0.55.0, crypto/keys/secp256k1: an account's key
// must sign the same bytes here and in a keyring.
func TestSecp256k1AsKeyringsDo(t *testing.T) {
	s := secp("payer")
	const (
		key  = "0206cc6e9fb0e12fa1b0f96713e99b631ac2a68e2237b62b5526ae6491abccdbbe"
		addr = "0bbad975c0a83a0a81e28bd16ed9dca27423dfdc"
		want = "be3bdb32c6afa408176465d0963cf0029275802992ee3de9655a71b63361c1fe36a8f1d1da53ed041e316bfe09da511996899f3334548d875e8bf00576850f84"
	)
	sig, err := s.Sign(digestOf("digest"))
	if err != nil {
		t.Fatal(err)
	}
	if got := hex.EncodeToString(s.PublicKey()); got != key {
		t.Errorf("public key %s, want %s", got, key)
	}
	if got := hex.EncodeToString(addressOf(s)); got != addr {
		t.Errorf("address %s, want %s", got, addr)
	}
	if got := hex.EncodeToString(sig); got != want {
		t.Errorf("signature %s, want %s", got, want)
	}
	if !verifySecp256k1(s.PublicKey(), digestOf("digest"), sig) {
		t.Error("own signature refused")
	}
}

func TestAccountAddressRefuses(t *testing.T) {
	for _, c := range []struct {
		alg uint64
		n   int
	}{{AlgEd25519, 33}, {AlgSecp256k1, 32}, {0, 32}, {3, 33}, {AlgEd25519, 0}} {
		if a, err := AccountAddress(c.alg, make([]byte, c.n)); !errors.Is(err, ErrInvalid) {
			t.Errorf("algorithm %d, %d bytes: address %x, error %v", c.alg, c.n, a, err)
		}
	}
}

func TestSignerSeeds(t *testing.T) {
	if _, err := NewEd25519Signer(make([]byte, 64)); !errors.Is(err, ErrInvalid) {
		t.Errorf("seed of 64 bytes: %v", err)
	}
	for name, key := range map[string][]byte{
		"zero": make([]byte, 32), "above the order": bytes.Repeat([]byte{0xff}, 32), "short": {1},
	} {
		if _, err := NewSecp256k1Signer(key); !errors.Is(err, ErrInvalid) {
			t.Errorf("private key %s: %v", name, err)
		}
	}
}

func TestVerifyReceipt(t *testing.T) {
	node, key, other := ed("node"), ed("receipt key"), ed("stranger")
	for _, c := range []struct {
		name            string
		signers         []Signer
		byNode, byKey   bool
		err             error
		sameKeyForBoth  bool
		breakASignature bool
	}{
		{name: "both", signers: []Signer{node, key}, byNode: true, byKey: true},
		{name: "both, other order", signers: []Signer{key, node}, byNode: true, byKey: true},
		{name: "node", signers: []Signer{node}, byNode: true},
		{name: "receipt key", signers: []Signer{key}, byKey: true},
		{name: "stranger", signers: []Signer{other}, err: ErrWrongKey},
		{name: "node and stranger", signers: []Signer{node, other}, err: ErrWrongKey},
		{name: "one of two is broken", signers: []Signer{node, key}, breakASignature: true, err: ErrBadSignature},
		{name: "one key on both sides", signers: []Signer{node}, sameKeyForBoth: true, byNode: true, byKey: true},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := sealed(sampleReceipt(), c.signers...)
			if c.breakASignature {
				s.Sigs[1].Sig = bytes.Clone(s.Sigs[1].Sig)
				s.Sigs[1].Sig[3] ^= 0x40
			}
			receiptKey := key.PublicKey()
			if c.sameKeyForBoth {
				receiptKey = node.PublicKey()
			}
			n, k, err := VerifyReceipt(s, node.PublicKey(), receiptKey)
			if !errors.Is(err, c.err) || n != c.byNode || k != c.byKey {
				t.Errorf("node %v, key %v, error %v; want %v, %v, %v", n, k, err, c.byNode, c.byKey, c.err)
			}
		})
	}
}

func TestVerifyConsent(t *testing.T) {
	ownAccount := sampleNodeRecord() // a machine whose key is its account's
	ownAccount.Provider = addressOf(ed("node"))
	for _, c := range []struct {
		name            string
		record          NodeRecord
		signers         []Signer
		breakASignature bool
		err             error
	}{
		{name: "node and operator", record: sampleNodeRecord(), signers: []Signer{ed("node"), secp("operator")}},
		{name: "one key for both", record: ownAccount, signers: []Signer{ed("node")}},
		{name: "node alone", record: sampleNodeRecord(), signers: []Signer{ed("node")}, err: ErrWrongKey},
		{name: "node and another account", record: sampleNodeRecord(), signers: []Signer{ed("node"), secp("payer")}, err: ErrWrongKey},
		{name: "broken", record: sampleNodeRecord(), signers: []Signer{ed("node"), secp("operator")}, breakASignature: true, err: ErrBadSignature},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := sealed(c.record, c.signers...)
			if c.breakASignature {
				last := &s.Sigs[len(s.Sigs)-1]
				last.Sig = bytes.Clone(last.Sig)
				last.Sig[5] ^= 4
			}
			back, err := Open[NodeRecord](sampleChain, s.Bytes())
			if err != nil {
				t.Fatal(err)
			}
			if err := VerifyConsent(back); !errors.Is(err, c.err) {
				t.Errorf("%v, want %v", err, c.err)
			}
			if err := VerifyNodeRecord(back); err != nil {
				t.Errorf("the node's own signature: %v", err)
			}
		})
	}
}

func TestCountersign(t *testing.T) {
	proposed := sealed(sampleReceipt(), ed("node"))
	opened, err := Open[Receipt](sampleChain, proposed.Bytes())
	if err != nil {
		t.Fatal(err)
	}
	both, err := opened.Countersign(ed("receipt key"))
	if err != nil {
		t.Fatal(err)
	}
	if want := sealed(sampleReceipt(), ed("node"), ed("receipt key")).Bytes(); !bytes.Equal(both.Bytes(), want) {
		t.Errorf("countersigned %x, want %x", both.Bytes(), want)
	}
	if len(opened.Sigs) != 1 {
		t.Error("countersigning changed the proposal")
	}
	if _, err := opened.Countersign(ed("node")); !errors.Is(err, ErrInvalid) {
		t.Errorf("the same key twice: %v", err)
	}
	if _, err := both.Countersign(ed("stranger")); !errors.Is(err, ErrInvalid) {
		t.Errorf("a third signature: %v", err)
	}
	// A signature alone can be sent back, and put in its place.
	again, err := opened.WithSignature(both.Sigs[both.indexOf(ed("receipt key").PublicKey())])
	if err != nil || !bytes.Equal(again.Bytes(), both.Bytes()) {
		t.Errorf("put together %x (%v), want %x", again.Bytes(), err, both.Bytes())
	}
}

func (s Signed[T]) indexOf(publicKey []byte) int {
	for i, sig := range s.Sigs {
		if bytes.Equal(sig.PublicKey, publicKey) {
			return i
		}
	}
	return -1
}

func TestLeaseID(t *testing.T) {
	order, bid := [32]byte(digestOf("a")), [32]byte(digestOf("b"))
	id := LeaseID(order, bid)
	// SHA-256 of the documented input, made with another implementation.
	const want = "a28842fcdb0cb18945df3f2889c60b1840180fea"
	if got := hex.EncodeToString(id[:]); got != want {
		t.Errorf("lease id %s, want %s", got, want)
	}
	if LeaseID(bid, order) == id {
		t.Error("order and bid are interchangeable")
	}
}
