// Package wire is the signed half of Moyai: the objects that tenants and
// providers sign off chain (order, bid, ready, receipt, claim, contest, away,
// access, node record, relay receipt), their one canonical byte form, their digests and their
// signatures. docs/spec/lease.md is the authority on every field; the vectors
// beside it let a client in another language be held to this package.
//
// An object travels as an envelope, Signed: its body, which is canonical CBOR,
// and one or two signatures over the body's digest. The digest separates
// domains by kind, version and chain id, so no signature can be shown again as
// something else or somewhere else.
//
// What wire decides is form: size, encoding, field bounds, who signed. Whether
// a well-formed object may open or close a lease is for mechanism/lease, and
// whether its account exists is for the chain. Nothing here reads a clock.
package wire

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"hash"
	"sync"

	"github.com/moyai-network/moyai/wire/canonical"
)

// Version1 is the only version of every object today.
const Version1 = 1

// Kind names the type of a signed object within its digest.
type Kind string

// The kinds of signed objects.
const (
	KindOrder        Kind = "order"
	KindBid          Kind = "bid"
	KindReady        Kind = "ready"
	KindReceipt      Kind = "receipt"
	KindClaim        Kind = "claim"
	KindContest      Kind = "contest"
	KindAway         Kind = "away"
	KindAccess       Kind = "access"
	KindNodeRecord   Kind = "node-record"
	KindRelayReceipt Kind = "relay-receipt"
)

// Kinds lists every kind of signed object.
func Kinds() []Kind {
	return []Kind{
		KindOrder, KindBid, KindReady, KindReceipt, KindClaim,
		KindContest, KindAway, KindAccess, KindNodeRecord, KindRelayReceipt,
	}
}

// Refusals. Every error of this package wraps one of them.
var (
	// ErrTooLarge means the input exceeds the bound of its kind.
	ErrTooLarge = canonical.ErrTooLarge
	// ErrNotCanonical means the bytes are not the one canonical encoding.
	ErrNotCanonical = canonical.ErrNotCanonical
	// ErrInvalid means a field is out of its bounds.
	ErrInvalid = errors.New("invalid")
	// ErrWrongChain means the object was signed for another chain.
	ErrWrongChain = errors.New("wrong chain")
	// ErrWrongKey means none of the signatures is by the key asked for.
	ErrWrongKey = errors.New("wrong key")
	// ErrBadSignature means a signature by the right key does not verify.
	ErrBadSignature = errors.New("bad signature")
)

// Object is one of the signed types of this package; it cannot be implemented
// elsewhere.
type Object interface {
	Order | Bid | Ready | Receipt | Claim | Contest | Away | Access | NodeRecord | RelayReceipt
	// Validate reports the first field that is out of its bounds. The error
	// wraps ErrInvalid.
	Validate() error
	kind() Kind
	chain() string
}

// KindOf returns the kind of T.
func KindOf[T Object]() Kind {
	var v T
	return v.kind()
}

// Encode validates v and returns its body: canonical CBOR, at most
// KindOf[T]().MaxBody() bytes.
func Encode[T Object](v T) ([]byte, error) {
	k := v.kind()
	if err := v.Validate(); err != nil {
		return nil, fmt.Errorf("%s: %w", k, err)
	}
	b, err := canonical.Marshal(&v)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", k, err)
	}
	if len(b) > k.MaxBody() {
		return nil, fmt.Errorf("%s: %w: %d bytes where %d are allowed", k, ErrTooLarge, len(b), k.MaxBody())
	}
	return b, nil
}

// Decode reads a body. It accepts only what Encode produces; the result shares
// no memory with body. Errors wrap ErrTooLarge, ErrNotCanonical or ErrInvalid.
func Decode[T Object](body []byte) (T, error) {
	var v T
	k := v.kind()
	if err := canonical.Unmarshal(body, k.MaxBody(), &v); err != nil {
		var zero T
		return zero, fmt.Errorf("%s: %w", k, err)
	}
	if err := v.Validate(); err != nil {
		var zero T
		return zero, fmt.Errorf("%s: %w", k, err)
	}
	return v, nil
}

var hashers = sync.Pool{New: func() any { return sha256.New() }}

// Hash returns the digest of a body: SHA-256 over "moyai", the kind, "1" and the
// chain id, each followed by a zero byte, and then the body. Signers sign the
// digest's 32 bytes, and other objects refer to this one by it.
func Hash(kind Kind, chainID string, body []byte) [32]byte {
	h := hashers.Get().(hash.Hash)
	h.Reset()
	// Kinds and chain ids hold no zero byte (Validate), so the prefix can be
	// read in one way only.
	var prefix [96]byte
	p := append(prefix[:0], "moyai\x00"...)
	p = append(append(p, kind...), "\x001\x00"...)
	p = append(append(p, chainID...), 0)
	h.Write(p)
	h.Write(body)
	var d [32]byte
	h.Sum(d[:0])
	hashers.Put(h)
	return d
}

// LeaseIDSize is the length of a lease id in bytes.
const LeaseIDSize = 20

// LeaseID names the lease that an order and a bid make: the first 20 bytes of
// SHA-256 over "moyai", "lease", "1", each followed by a zero byte, and the two
// digests. Both sides know it before the transaction. Signatures have no part
// in it, and the digests already hold the chain id.
func LeaseID(order, bid [32]byte) [LeaseIDSize]byte {
	const prefix = "moyai\x00lease\x001\x00"
	var b [len(prefix) + 64]byte
	copy(b[:], prefix)
	copy(b[len(prefix):], order[:])
	copy(b[len(prefix)+32:], bid[:])
	sum := sha256.Sum256(b[:])
	return [LeaseIDSize]byte(sum[:LeaseIDSize])
}
