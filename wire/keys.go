package wire

import (
	"bytes"
	"crypto/sha256"
	"fmt"

	"github.com/decred/dcrd/dcrec/secp256k1/v4"
	"github.com/decred/dcrd/dcrec/secp256k1/v4/ecdsa"
	"github.com/oasisprotocol/curve25519-voi/primitives/ed25519"
	"github.com/oasisprotocol/curve25519-voi/primitives/ed25519/extra/cache"
	"golang.org/x/crypto/ripemd160" //nolint:staticcheck,gosec // the address rule of Cosmos accounts needs it
)

// Signer makes signatures. Keyrings and key files implement it.
type Signer interface {
	// Alg is AlgEd25519 or AlgSecp256k1.
	Alg() uint64
	// PublicKey is 32 bytes for ed25519, 33 (compressed) for secp256k1.
	PublicKey() []byte
	// Sign signs the 32 bytes of a digest: ed25519 takes them as the message;
	// secp256k1 signs SHA-256 of them, as Cosmos keyrings do with any message.
	Sign(digest []byte) ([]byte, error)
}

// Ed25519Signer signs with a key held in memory: node keys and receipt keys.
type Ed25519Signer struct {
	private ed25519.PrivateKey
}

// NewEd25519Signer makes the signer of a 32-byte RFC 8032 seed.
func NewEd25519Signer(seed []byte) (*Ed25519Signer, error) {
	if len(seed) != ed25519.SeedSize {
		return nil, invalid("ed25519 seed of %d bytes where %d are due", len(seed), ed25519.SeedSize)
	}
	return &Ed25519Signer{private: ed25519.NewKeyFromSeed(seed)}, nil
}

// Alg implements Signer.
func (s *Ed25519Signer) Alg() uint64 { return AlgEd25519 }

// PublicKey implements Signer.
func (s *Ed25519Signer) PublicKey() []byte { return bytes.Clone(s.private[ed25519.SeedSize:]) }

// Sign implements Signer. It does not fail.
func (s *Ed25519Signer) Sign(digest []byte) ([]byte, error) {
	return ed25519.Sign(s.private, digest), nil
}

// Secp256k1Signer signs with an account key held in memory, as a Cosmos keyring
// with the same key would.
type Secp256k1Signer struct {
	private *secp256k1.PrivateKey
}

// NewSecp256k1Signer makes the signer of a 32-byte private key.
func NewSecp256k1Signer(key []byte) (*Secp256k1Signer, error) {
	var d secp256k1.ModNScalar
	if len(key) != secp256k1.PrivKeyBytesLen || d.SetByteSlice(key) || d.IsZero() {
		return nil, invalid("secp256k1 private key is not a number of 32 bytes between 1 and the group's order")
	}
	return &Secp256k1Signer{private: secp256k1.NewPrivateKey(&d)}, nil
}

// Alg implements Signer.
func (s *Secp256k1Signer) Alg() uint64 { return AlgSecp256k1 }

// PublicKey implements Signer.
func (s *Secp256k1Signer) PublicKey() []byte { return s.private.PubKey().SerializeCompressed() }

// Sign implements Signer. It does not fail.
func (s *Secp256k1Signer) Sign(digest []byte) ([]byte, error) {
	h := sha256.Sum256(digest)
	// The first byte of the compact form is a recovery code, which is not part
	// of the signature; s is low already.
	return ecdsa.SignCompact(s.private, h[:], true)[1:], nil
}

// AccountAddress derives the 20-byte account address of a public key as the
// Cosmos SDK does. Errors wrap ErrInvalid.
func AccountAddress(alg uint64, publicKey []byte) ([]byte, error) {
	sum := sha256.Sum256(publicKey)
	switch {
	case alg == AlgEd25519 && len(publicKey) == KeySize:
		return bytes.Clone(sum[:20]), nil
	case alg == AlgSecp256k1 && len(publicKey) == 33:
		h := ripemd160.New() //nolint:gosec // as above
		h.Write(sum[:])
		return h.Sum(nil), nil
	default:
		return nil, invalid("no account address for algorithm %d and a key of %d bytes", alg, len(publicKey))
	}
}

// zip215 is the verification rule that consensus depends on: points of small
// order and non-canonical point encodings are accepted, the equation is
// cofactored, s is below the group's order. Every implementation that follows
// ZIP-215 gives one answer for any signature, however crafted.
var zip215 = &ed25519.Options{Verify: ed25519.VerifyOptionsZIP_215}

// expandedKeys is how many node keys stay decompressed, at about 1.5 KiB each.
// A node signs bid, ready and receipts of lease after lease with one key, and a
// hit saves a sixth of a verification. A receipt key is new with every order,
// so keeping it would only cost. Answers do not depend on the cache.
const expandedKeys = 4096

var nodeKeys = cache.NewVerifier(cache.NewLRUCache(expandedKeys))

// byNode reports whether objects of this kind are signed by node keys alone.
func (k Kind) byNode() bool {
	switch k {
	case KindBid, KindReady, KindClaim, KindNodeRecord, KindRelayReceipt:
		return true
	default:
		return false
	}
}

// byAccount reports whether an account's key, of either algorithm, may sign
// objects of this kind.
func (k Kind) byAccount() bool { return k == KindOrder || k == KindNodeRecord }

// verify checks s over digest; the caller has checked its form. recurring says
// that the key will be met again.
func (s Signature) verify(digest []byte, recurring bool) bool {
	switch {
	case s.Alg == AlgEd25519 && recurring:
		return nodeKeys.VerifyWithOptions(s.PublicKey, digest, s.Sig, zip215)
	case s.Alg == AlgEd25519:
		return ed25519.VerifyWithOptions(s.PublicKey, digest, s.Sig, zip215)
	case s.Alg == AlgSecp256k1:
		return verifySecp256k1(s.PublicKey, digest, s.Sig)
	default:
		return false
	}
}

// verifySecp256k1 accepts r‖s with 0 < r < n and 0 < s ≤ n/2 only, so a
// signature has one form.
func verifySecp256k1(publicKey, digest, sig []byte) bool {
	if len(sig) != 64 {
		return false
	}
	key, err := secp256k1.ParsePubKey(publicKey)
	if err != nil {
		return false
	}
	var r, s secp256k1.ModNScalar
	if r.SetByteSlice(sig[:32]) || s.SetByteSlice(sig[32:]) || s.IsOverHalfOrder() {
		return false
	}
	h := sha256.Sum256(digest)
	return ecdsa.NewSignature(&r, &s).Verify(h[:], key)
}

// VerifyBy verifies the ed25519 signature of publicKey: the node's on a bid,
// ready or claim, the receipt key's on a contest, away or access. Errors wrap
// ErrWrongKey, if that key has not signed, or ErrBadSignature. Receipts, which
// carry two signatures, are for VerifyReceipt.
func (s Signed[T]) VerifyBy(publicKey []byte) error {
	k := s.Value.kind()
	for _, sig := range s.Sigs {
		if sig.Alg != AlgEd25519 || !bytes.Equal(sig.PublicKey, publicKey) {
			continue
		}
		if !sig.verify(s.Digest[:], k.byNode()) {
			return fmt.Errorf("%s: %w", k, ErrBadSignature)
		}
		return nil
	}
	return fmt.Errorf("%s: %w: not signed by %x", k, ErrWrongKey, publicKey)
}

// VerifyOrder verifies the order's signature by a key whose account address is
// the payer. The chain has no need of it: there the transaction's signer is the
// payer. Errors wrap ErrWrongKey or ErrBadSignature.
func VerifyOrder(s Signed[Order]) error {
	if len(s.Sigs) != 1 {
		return fmt.Errorf("order: %w: %d signatures where one is due", ErrWrongKey, len(s.Sigs))
	}
	sig := s.Sigs[0]
	addr, err := AccountAddress(sig.Alg, sig.PublicKey)
	if err != nil {
		return fmt.Errorf("order: %w", err)
	}
	if !bytes.Equal(addr, s.Value.Payer) {
		return fmt.Errorf("order: %w: signed by account %x, the payer is %x", ErrWrongKey, addr, s.Value.Payer)
	}
	if !sig.verify(s.Digest[:], false) {
		return fmt.Errorf("order: %w", ErrBadSignature)
	}
	return nil
}

// VerifyBid verifies the bid's signature by the node it names.
func VerifyBid(s Signed[Bid]) error { return s.VerifyBy(s.Value.Node) }

// VerifyNodeRecord verifies the record's signature by the node it names.
func VerifyNodeRecord(s Signed[NodeRecord]) error { return s.VerifyBy(s.Value.Node) }

// VerifyRelayReceipt verifies the receipt's signature by the machine it names.
func VerifyRelayReceipt(s Signed[RelayReceipt]) error { return s.VerifyBy(s.Value.Node) }

// VerifyConsent verifies that the account a record names as its provider has
// signed it too: without that, anybody could name anybody's account. Errors wrap
// ErrWrongKey, if no key of that account has signed, or ErrBadSignature. It does
// not look at the node's signature.
func VerifyConsent(s Signed[NodeRecord]) error {
	for _, sig := range s.Sigs {
		account, err := AccountAddress(sig.Alg, sig.PublicKey)
		if err != nil {
			return fmt.Errorf("node record: %w", err)
		}
		if !bytes.Equal(account, s.Value.Provider) {
			continue
		}
		if !sig.verify(s.Digest[:], false) {
			return fmt.Errorf("node record: %w", ErrBadSignature)
		}
		return nil
	}
	return fmt.Errorf("node record: %w: not signed by a key of account %x", ErrWrongKey, s.Value.Provider)
}

// VerifyReceipt says which of the two keys of a lease signed the receipt. A
// signature by a third key is ErrWrongKey, one that does not verify
// ErrBadSignature; with an error nothing counts as signed.
func VerifyReceipt(s Signed[Receipt], node, receiptKey []byte) (nodeSigned, keySigned bool, err error) {
	for _, sig := range s.Sigs {
		byNode := bytes.Equal(sig.PublicKey, node)
		byKey := bytes.Equal(sig.PublicKey, receiptKey)
		if sig.Alg != AlgEd25519 || !byNode && !byKey {
			return false, false, fmt.Errorf("receipt: %w: %x is neither the node nor the receipt key", ErrWrongKey, sig.PublicKey)
		}
		if !sig.verify(s.Digest[:], byNode) {
			return false, false, fmt.Errorf("receipt: %w by %x", ErrBadSignature, sig.PublicKey)
		}
		nodeSigned = nodeSigned || byNode
		keySigned = keySigned || byKey
	}
	return nodeSigned, keySigned, nil
}
