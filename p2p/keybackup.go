package p2p

import (
	"bytes"
	"crypto/cipher"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"strings"

	"golang.org/x/crypto/chacha20poly1305"
	"golang.org/x/crypto/scrypt"
)

// A backup of a node key is text: a line that says what it is, and in base64 a
// salt, a nonce and the seed, sealed with XChaCha20-Poly1305 under a key that
// scrypt makes of a passphrase. The line and the salt are sealed along.
const (
	backupHeader = "moyai node key backup, 1"
	backupSalt   = 16
	scryptN      = 1 << 16 // 64 MiB with r = 8: a third of a second to try one passphrase
	scryptR      = 8
	scryptP      = 1
	maxBackup    = 1024

	// MinPassphrase is the least length of a passphrase, in bytes.
	MinPassphrase = 8
)

// ErrPassphrase: the passphrase is wrong, or the backup was changed.
var ErrPassphrase = errors.New("wrong passphrase, or the backup is damaged")

// Backup seals the key under a passphrase.
func (k Key) Backup(passphrase []byte) ([]byte, error) {
	if len(passphrase) < MinPassphrase {
		return nil, fmt.Errorf("a passphrase needs at least %d characters", MinPassphrase)
	}
	sealed := make([]byte, backupSalt+chacha20poly1305.NonceSizeX, 128)
	_, _ = rand.Read(sealed) // never fails: crypto/rand aborts the program instead
	aead, err := backupCipher(passphrase, sealed[:backupSalt])
	if err != nil {
		return nil, err
	}
	nonce := bytes.Clone(sealed[backupSalt:])
	sealed = aead.Seal(sealed, nonce, k.Seed(), associated(sealed[:backupSalt]))
	return []byte(backupHeader + "\n" + base64.StdEncoding.EncodeToString(sealed) + "\n"), nil
}

// KeyFromBackup opens what Backup sealed. ErrPassphrase if it does not open.
func KeyFromBackup(backup, passphrase []byte) (Key, error) {
	if len(backup) > maxBackup {
		return Key{}, fmt.Errorf("a backup of %d bytes is none: they have less than %d", len(backup), maxBackup)
	}
	header, body, ok := strings.Cut(strings.TrimSpace(string(backup)), "\n")
	if !ok || strings.TrimSpace(header) != backupHeader {
		return Key{}, fmt.Errorf("not a backup of a node key: the first line is not %q", backupHeader)
	}
	sealed, err := base64.StdEncoding.DecodeString(strings.TrimSpace(body))
	const least = backupSalt + chacha20poly1305.NonceSizeX + chacha20poly1305.Overhead
	if err != nil || len(sealed) < least {
		return Key{}, ErrPassphrase
	}
	aead, err := backupCipher(passphrase, sealed[:backupSalt])
	if err != nil {
		return Key{}, err
	}
	seed, err := aead.Open(nil, sealed[backupSalt:backupSalt+chacha20poly1305.NonceSizeX],
		sealed[backupSalt+chacha20poly1305.NonceSizeX:], associated(sealed[:backupSalt]))
	if err != nil {
		return Key{}, ErrPassphrase
	}
	return KeyFromSeed(seed)
}

func associated(salt []byte) []byte { return append([]byte(backupHeader+"\n"), salt...) }

func backupCipher(passphrase, salt []byte) (cipher.AEAD, error) {
	key, err := scrypt.Key(passphrase, salt, scryptN, scryptR, scryptP, chacha20poly1305.KeySize)
	if err != nil {
		return nil, fmt.Errorf("key of a passphrase: %w", err)
	}
	return chacha20poly1305.NewX(key)
}
