package p2p

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"testing"
)

func TestKeyBackup(t *testing.T) {
	key, err := NewKey()
	if err != nil {
		t.Fatal(err)
	}
	pass := []byte("correct horse battery")
	backup, err := key.Backup(pass)
	if err != nil {
		t.Fatal(err)
	}
	back, err := KeyFromBackup(backup, pass)
	if err != nil || !bytes.Equal(back.Seed(), key.Seed()) {
		t.Fatalf("restored %x (%v), want %x", back.Public(), err, key.Public())
	}
	if _, err := KeyFromBackup(backup, []byte("incorrect horse")); !errors.Is(err, ErrPassphrase) {
		t.Errorf("another passphrase: %v", err)
	}
	for _, at := range []int{len(backupHeader) + 2, len(backup) / 2, len(backup) - 6} {
		bad := bytes.Clone(backup)
		bad[at] ^= 1
		if _, err := KeyFromBackup(bad, pass); !errors.Is(err, ErrPassphrase) {
			t.Errorf("byte %d changed: %v", at, err)
		}
	}
	for _, bad := range [][]byte{nil, []byte("moyai"), bytes.Repeat([]byte("a"), maxBackup+1), []byte(backupHeader + "\nAAAA\n")} {
		if _, err := KeyFromBackup(bad, pass); err == nil {
			t.Errorf("%q is a backup", bad)
		}
	}
	if _, err := key.Backup([]byte("short")); err == nil {
		t.Error("a passphrase of five characters")
	}
}

func TestWriteKeyDoesNotOverwrite(t *testing.T) {
	path := filepath.Join(t.TempDir(), "deep", "node.key")
	key, err := NewKey()
	if err != nil {
		t.Fatal(err)
	}
	if err := key.Write(path); err != nil {
		t.Fatal(err)
	}
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
		t.Fatalf("%v, %v", info.Mode(), err)
	}
	if err := key.Write(path); !errors.Is(err, fs.ErrExist) {
		t.Errorf("written over: %v", err)
	}
}
