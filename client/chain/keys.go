package chain

import (
	"errors"
	"fmt"
	"io"
	"sort"
	"strings"

	"github.com/cosmos/cosmos-sdk/crypto/hd"
	"github.com/cosmos/cosmos-sdk/crypto/keyring"
	cryptotypes "github.com/cosmos/cosmos-sdk/crypto/types"
	sdk "github.com/cosmos/cosmos-sdk/types"
	sdkerrors "github.com/cosmos/cosmos-sdk/types/errors"
	signingtypes "github.com/cosmos/cosmos-sdk/types/tx/signing"
	"github.com/cosmos/go-bip39"
)

// Backends of the keyring.
const (
	BackendOS     = "os"     // the operating system's key store
	BackendFile   = "file"   // an encrypted folder; asks for its passphrase
	BackendTest   = "test"   // an unprotected folder: for development networks
	BackendMemory = "memory" // gone with the process: for tests
)

const (
	keyringApp = "moyai"
	coinType   = 118 // the Cosmos path, so that existing wallets derive the same accounts
)

// Keys is the Cosmos keyring: accounts that pay, operate and sign orders. Node
// keys and receipt keys are ed25519 and live in files of their own.
type Keys struct {
	kr      keyring.Keyring
	backend string
}

// Key is one account of the keyring, without its secret.
type Key struct {
	Name      string
	Account   []byte // 20 bytes
	Address   string // bech32 of Account
	PublicKey []byte // compressed secp256k1, 33 bytes
}

// OpenKeys opens the keyring under home. Passphrases are read from input, which
// may be nil for backends that ask for none.
func OpenKeys(home, backend string, input io.Reader) (*Keys, error) {
	switch backend {
	case BackendOS, BackendFile, BackendTest, BackendMemory:
	case "":
		return nil, errors.New("no keyring backend given: use os, file or test")
	default:
		return nil, fmt.Errorf("unknown keyring backend %q: use os, file or test", backend)
	}
	cdc, _, err := newCodec()
	if err != nil {
		return nil, err
	}
	if input == nil {
		input = strings.NewReader("")
	}
	kr, err := keyring.New(keyringApp, backend, home, input, cdc)
	if err != nil {
		return nil, fmt.Errorf("open %s keyring in %s: %w", backend, home, err)
	}
	return &Keys{kr: kr, backend: backend}, nil
}

// Create makes a new account and returns it with the 24 words that restore it.
// ErrKeyExists if the name is taken.
func (k *Keys) Create(name string) (Key, string, error) {
	if err := k.free(name); err != nil {
		return Key{}, "", err
	}
	rec, words, err := k.kr.NewMnemonic(name, keyring.English, hd.CreateHDPath(coinType, 0, 0).String(),
		keyring.DefaultBIP39Passphrase, hd.Secp256k1)
	if err != nil {
		return Key{}, "", fmt.Errorf("create key %q: %w", name, err)
	}
	key, err := keyOf(rec)
	return key, words, err
}

// Import restores an account from its words. ErrKeyExists if the name is taken.
func (k *Keys) Import(name, words string) (Key, error) {
	if err := k.free(name); err != nil {
		return Key{}, err
	}
	words = strings.Join(strings.Fields(words), " ")
	if !bip39.IsMnemonicValid(words) {
		return Key{}, errors.New("these are not valid recovery words: check spelling, order and count (12 to 24)")
	}
	rec, err := k.kr.NewAccount(name, words, keyring.DefaultBIP39Passphrase,
		hd.CreateHDPath(coinType, 0, 0).String(), hd.Secp256k1)
	if err != nil {
		return Key{}, fmt.Errorf("import key %q: %w", name, err)
	}
	return keyOf(rec)
}

// Show returns one account. ErrNoKey if there is none of that name.
func (k *Keys) Show(name string) (Key, error) {
	rec, err := k.record(name)
	if err != nil {
		return Key{}, err
	}
	return keyOf(rec)
}

// List returns every account, sorted by name.
func (k *Keys) List() ([]Key, error) {
	recs, err := k.kr.List()
	if err != nil {
		return nil, fmt.Errorf("list keys: %w", err)
	}
	keys := make([]Key, 0, len(recs))
	for _, rec := range recs {
		key, err := keyOf(rec)
		if err != nil {
			return nil, err
		}
		keys = append(keys, key)
	}
	sort.Slice(keys, func(i, j int) bool { return keys[i].Name < keys[j].Name })
	return keys, nil
}

// Signer unlocks a key once and signs with it as long as the process lives, so
// that no signature waits for the keyring's key derivation. ErrNoKey if there
// is none of that name.
func (k *Keys) Signer(name string) (*KeySigner, error) {
	rec, err := k.record(name)
	if err != nil {
		return nil, err
	}
	key, err := keyOf(rec)
	if err != nil {
		return nil, err
	}
	s := &KeySigner{Key: key, kr: k.kr}
	if s.pub, err = rec.GetPubKey(); err != nil {
		return nil, fmt.Errorf("read key %q: %w", name, err)
	}
	if local := rec.GetLocal(); local != nil {
		s.priv, _ = local.PrivKey.GetCachedValue().(cryptotypes.PrivKey)
	}
	return s, nil
}

// KeySigner signs with one account's secp256k1 key. It is a wire.Signer.
type KeySigner struct {
	Key
	kr   keyring.Keyring
	pub  cryptotypes.PubKey
	priv cryptotypes.PrivKey // nil for hardware keys
}

// algSecp256k1 is wire's number for secp256k1 signatures.
const algSecp256k1 = 2

// Alg is wire's number of the signature algorithm.
func (s *KeySigner) Alg() uint64 { return algSecp256k1 }

// PublicKey is the compressed secp256k1 key, 33 bytes.
func (s *KeySigner) PublicKey() []byte { return s.Key.PublicKey }

// Sign returns the 64-byte low-s ECDSA signature over SHA-256(message), as
// Cosmos keyrings make.
func (s *KeySigner) Sign(message []byte) ([]byte, error) {
	if s.priv != nil {
		return s.priv.Sign(message)
	}
	sig, _, err := s.kr.Sign(s.Name, message, signingtypes.SignMode_SIGN_MODE_DIRECT)
	if err != nil {
		return nil, fmt.Errorf("sign with key %q: %w", s.Name, err)
	}
	return sig, nil
}

func (k *Keys) free(name string) error {
	if strings.TrimSpace(name) == "" {
		return errors.New("a key needs a name")
	}
	switch _, err := k.kr.Key(name); {
	case err == nil:
		return fmt.Errorf("key %q: %w; choose another name", name, ErrKeyExists)
	case isKeyNotFound(err):
		return nil
	default:
		return fmt.Errorf("read key %q: %w", name, err)
	}
}

func (k *Keys) record(name string) (*keyring.Record, error) {
	rec, err := k.kr.Key(name)
	if err != nil {
		if isKeyNotFound(err) {
			return nil, fmt.Errorf("key %q: %w; create it, or name another", name, ErrNoKey)
		}
		return nil, fmt.Errorf("read key %q: %w", name, err)
	}
	return rec, nil
}

func keyOf(rec *keyring.Record) (Key, error) {
	pub, err := rec.GetPubKey()
	if err != nil {
		return Key{}, fmt.Errorf("read key %q: %w", rec.Name, err)
	}
	account := sdk.AccAddress(pub.Address())
	return Key{Name: rec.Name, Account: account, Address: Address(account), PublicKey: pub.Bytes()}, nil
}

func isKeyNotFound(err error) bool { return errors.Is(err, sdkerrors.ErrKeyNotFound) }
