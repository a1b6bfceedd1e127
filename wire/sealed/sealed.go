// Package sealed is how a tenant hands secrets to one machine: sealed to the key
// of the node that got the lease, and bound to that lease, so that nobody else
// can read them and nothing else can be made of them. docs/spec/secrets.md is its
// specification.
//
// HPKE (RFC 9180) in base mode: the sender is known by the stream that brings it,
// which is why nothing is signed here. What a node does with what it read is not
// held by any of this.
package sealed

import (
	"crypto/ecdh"
	"crypto/ed25519"
	"crypto/hpke"
	"errors"
	"fmt"
	"strings"
	"unicode/utf8"

	voi "github.com/oasisprotocol/curve25519-voi/primitives/ed25519"
	"github.com/oasisprotocol/curve25519-voi/primitives/x25519"

	"github.com/moyai-network/moyai/wire/canonical"
)

// Bounds, in bytes unless said otherwise.
const (
	MaxBytes    = 32 << 10 // sealed
	MaxPlain    = 30 << 10 // the encoding before it is sealed
	MaxVars     = 64       // entries
	MaxName     = 128
	MaxValue    = 16 << 10
	MaxUser     = 256
	MaxPassword = 8 << 10

	leaseIDLen = 20
	version1   = 1
)

var (
	// ErrInvalid: a field is out of its bounds.
	ErrInvalid = errors.New("invalid secrets")
	// ErrSealed: not sealed to this node for this lease, or changed on the way.
	ErrSealed = errors.New("secrets cannot be opened: they are sealed to another node or for another lease")
)

// Secrets is what is inside. It is never printed: see String.
type Secrets struct {
	Version  uint64   `cbor:"1,keyasint"`
	Vars     []Var    `cbor:"2,keyasint"` // sorted by Name, unique
	Registry Registry `cbor:"3,keyasint"`
}

// Var is an environment variable.
type Var struct {
	_     struct{} `cbor:",toarray"`
	Name  string
	Value string
}

// Registry is what is shown to an image's registry; empty: nothing.
type Registry struct {
	_        struct{} `cbor:",toarray"`
	User     string
	Password string
}

// String tells nothing, so that no log does.
func (s Secrets) String() string { return fmt.Sprintf("%d secrets", len(s.Vars)) }

// GoString is String: %#v tells no more.
func (s Secrets) GoString() string { return s.String() }

// Environ is the variables as KEY=VALUE.
func (s Secrets) Environ() []string {
	out := make([]string, len(s.Vars))
	for i, v := range s.Vars {
		out[i] = v.Name + "=" + v.Value
	}
	return out
}

// Names are the variables' names.
func (s Secrets) Names() []string {
	out := make([]string, len(s.Vars))
	for i, v := range s.Vars {
		out[i] = v.Name
	}
	return out
}

// Validate reports the first thing out of its bounds, by name and never by value.
func (s Secrets) Validate() error {
	if s.Version != version1 {
		return fmt.Errorf("%w: version %d where %d is known", ErrInvalid, s.Version, version1)
	}
	if len(s.Vars) > MaxVars {
		return fmt.Errorf("%w: %d where %d are allowed", ErrInvalid, len(s.Vars), MaxVars)
	}
	for i, v := range s.Vars {
		if len(v.Name) < 1 || len(v.Name) > MaxName || strings.ContainsAny(v.Name, "=\x00") {
			return fmt.Errorf("%w: name %.128q", ErrInvalid, v.Name)
		}
		if i > 0 && s.Vars[i-1].Name >= v.Name {
			return fmt.Errorf("%w: not sorted and unique at %q", ErrInvalid, v.Name)
		}
		if err := text(v.Name, v.Value, MaxValue); err != nil {
			return err
		}
	}
	return errors.Join(text("registry user", s.Registry.User, MaxUser), text("registry password", s.Registry.Password, MaxPassword))
}

func text(name, value string, most int) error {
	switch {
	case len(value) > most:
		return fmt.Errorf("%w: %s has %d bytes where %d are allowed; pass large data as an input", ErrInvalid, name, len(value), most)
	case !utf8.ValidString(value) || strings.IndexByte(value, 0) >= 0:
		return fmt.Errorf("%w: %s is not text (UTF-8 without zero bytes): encode it, as base64 does", ErrInvalid, name)
	}
	return nil
}

// New is secrets of the current version.
func New(vars []Var, registry Registry) Secrets {
	return Secrets{Version: version1, Vars: vars, Registry: registry}
}

// Seal closes secrets for a node's ed25519 key and a lease.
//
// Errors: ErrInvalid.
func Seal(s Secrets, chainID string, leaseID, node []byte) ([]byte, error) {
	if err := s.Validate(); err != nil {
		return nil, err
	}
	plain, err := canonical.Marshal(&s)
	if err != nil {
		return nil, err
	}
	if len(plain) > MaxPlain {
		return nil, fmt.Errorf("%w: %d bytes together where %d are allowed; pass large data as an input", ErrInvalid, len(plain), MaxPlain)
	}
	if len(leaseID) != leaseIDLen || len(node) != ed25519.PublicKeySize {
		return nil, fmt.Errorf("%w: lease id of %d bytes, node key of %d", ErrInvalid, len(leaseID), len(node))
	}
	point, ok := x25519.EdPublicKeyToX25519(voi.PublicKey(node))
	if !ok {
		return nil, fmt.Errorf("%w: the node's key is no point of the curve", ErrInvalid)
	}
	public, err := ecdh.X25519().NewPublicKey(point)
	if err != nil {
		return nil, err
	}
	to, err := hpke.NewDHKEMPublicKey(public)
	if err != nil {
		return nil, err
	}
	return hpke.Seal(to, hpke.HKDFSHA256(), hpke.ChaCha20Poly1305(), info(chainID, leaseID), plain)
}

// Open reads what was sealed to the node whose key has this seed.
//
// Errors: ErrSealed, ErrInvalid, canonical's.
func Open(sealed []byte, chainID string, leaseID, seed []byte) (Secrets, error) {
	if len(sealed) > MaxBytes || len(leaseID) != leaseIDLen || len(seed) != ed25519.SeedSize {
		return Secrets{}, fmt.Errorf("%w: %d bytes", ErrInvalid, len(sealed))
	}
	private, err := ecdh.X25519().NewPrivateKey(x25519.EdPrivateKeyToX25519(voi.NewKeyFromSeed(seed)))
	if err != nil {
		return Secrets{}, err
	}
	key, err := hpke.NewDHKEMPrivateKey(private)
	if err != nil {
		return Secrets{}, err
	}
	plain, err := hpke.Open(key, hpke.HKDFSHA256(), hpke.ChaCha20Poly1305(), info(chainID, leaseID), sealed)
	if err != nil {
		return Secrets{}, ErrSealed
	}
	defer clear(plain)
	var s Secrets
	if err := canonical.Unmarshal(plain, MaxPlain, &s); err != nil {
		return Secrets{}, errors.Join(ErrInvalid, errors.Unwrap(err)) // the text of err may quote what is secret
	}
	return s, s.Validate()
}

// info binds what is sealed to its purpose, its chain and its lease.
func info(chainID string, leaseID []byte) []byte {
	return append([]byte("moyai/secrets/1\x00"+chainID+"\x00"), leaseID...)
}
