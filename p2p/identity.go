package p2p

import (
	"crypto/ed25519"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"

	"github.com/libp2p/go-libp2p/core/crypto"
	"github.com/libp2p/go-libp2p/core/peer"
)

// Key is a host's ed25519 identity. A provider's is its node key, so that the
// peer id that speaks and the key that signs bids are the same.
type Key struct{ priv ed25519.PrivateKey }

// NewKey makes a fresh random key.
func NewKey() (Key, error) {
	_, priv, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return Key{}, fmt.Errorf("make a node key: %w", err)
	}
	return Key{priv}, nil
}

// KeyFromSeed makes the key of a 32-byte ed25519 seed.
func KeyFromSeed(seed []byte) (Key, error) {
	if len(seed) != ed25519.SeedSize {
		return Key{}, fmt.Errorf("node key seed has %d bytes, want %d", len(seed), ed25519.SeedSize)
	}
	return Key{ed25519.NewKeyFromSeed(seed)}, nil
}

// LoadKey reads a key file: the 32-byte seed in hex and a newline. It refuses a
// file that others may read, since whoever has the seed signs bids.
// errors.Is(err, fs.ErrNotExist) when there is none.
func LoadKey(path string) (Key, error) {
	info, err := os.Stat(path)
	if err != nil {
		return Key{}, fmt.Errorf("node key: %w", err)
	}
	// Windows tells no such thing by a mode: there a file has what its folder grants.
	if perm := info.Mode().Perm(); perm&0o077 != 0 && runtime.GOOS != "windows" {
		return Key{}, fmt.Errorf("node key %s has mode %#o and others may read it: run chmod 600 on it", path, perm)
	}
	if info.Size() > 256 {
		return Key{}, fmt.Errorf("node key %s is not a key file: it has %d bytes", path, info.Size())
	}
	text, err := os.ReadFile(path)
	if err != nil {
		return Key{}, fmt.Errorf("node key: %w", err)
	}
	seed, err := hex.DecodeString(strings.TrimSpace(string(text)))
	if err != nil || len(seed) != ed25519.SeedSize {
		return Key{}, fmt.Errorf("node key %s is damaged: want %d hex digits; restore it from its backup", path, 2*ed25519.SeedSize)
	}
	return KeyFromSeed(seed)
}

// LoadOrCreateKey reads the key file at path or, if there is none, makes a key
// and writes it there with mode 0600.
func LoadOrCreateKey(path string) (Key, error) {
	key, err := LoadKey(path)
	if !errors.Is(err, fs.ErrNotExist) {
		return key, err
	}
	if key, err = NewKey(); err != nil {
		return Key{}, err
	}
	// Two processes that start at once must not end up with two identities.
	if err = key.Write(path); errors.Is(err, fs.ErrExist) {
		return LoadKey(path)
	}
	return key, err
}

// Write makes a key file of mode 0600, which must not exist: errors.Is(err,
// fs.ErrExist) if it does.
func (k Key) Write(path string) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return fmt.Errorf("node key: %w", err)
	}
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return fmt.Errorf("node key: %w", err)
	}
	_, werr := f.WriteString(hex.EncodeToString(k.Seed()) + "\n")
	if err := errors.Join(werr, f.Sync(), f.Close()); err != nil {
		_ = os.Remove(path)
		return fmt.Errorf("write node key %s: %w", path, err)
	}
	return nil
}

// Seed is the secret: 32 bytes, from which the key can be made again.
func (k Key) Seed() []byte { return k.priv.Seed() }

// Public is the ed25519 public key, 32 bytes: wire.Bid.Node of a provider.
func (k Key) Public() []byte { return append([]byte(nil), k.priv.Public().(ed25519.PublicKey)...) }

// PeerID is the libp2p name of the key.
func (k Key) PeerID() (peer.ID, error) { return PeerIDFromNode(k.Public()) }

// IsZero reports whether k holds no key.
func (k Key) IsZero() bool { return len(k.priv) == 0 }

func (k Key) libp2p() (crypto.PrivKey, error) {
	if k.IsZero() {
		return nil, errors.New("host needs an identity key")
	}
	return crypto.UnmarshalEd25519PrivateKey(k.priv)
}

// PeerIDFromNode turns an ed25519 node key into its peer id.
func PeerIDFromNode(node []byte) (peer.ID, error) {
	pub, err := crypto.UnmarshalEd25519PublicKey(node)
	if err != nil {
		return "", fmt.Errorf("node key: %w", err)
	}
	return peer.IDFromPublicKey(pub)
}

// NodeFromPeerID is the inverse of PeerIDFromNode. It fails for peer ids that do
// not carry an ed25519 key, which no Moyai host has.
func NodeFromPeerID(id peer.ID) ([]byte, error) {
	pub, err := id.ExtractPublicKey()
	if err != nil {
		return nil, fmt.Errorf("peer %s: %w", id, err)
	}
	if pub.Type() != crypto.Ed25519 {
		return nil, fmt.Errorf("peer %s is not an ed25519 key", id)
	}
	return pub.Raw()
}
