package pull

import (
	"crypto/sha256"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync"

	"github.com/opencontainers/go-digest"
)

// Beside blobs a store keeps files that were fetched otherwise and verified by
// their own identifier, and notes which images are here as a whole.
const (
	filePrefix  = "file-"
	imagePrefix = "image-"
)

// HintImage is what an order that wants an image may say of it: who has the image
// recognises it, and who has not learns only that others want the same.
func HintImage(d digest.Digest) [32]byte { return hint("image", d.Encoded()) }

// HintFile is HintImage for a file by its identifier.
func HintFile(id []byte) [32]byte { return hint("file", digest.FromBytes(id).Encoded()) }

func hint(kind, name string) [32]byte {
	return sha256.Sum256([]byte("moyai/hint/1\x00" + kind + "\x00" + name))
}

// hints finds what is here by what orders say of it.
type hints struct {
	mu     sync.Mutex
	byHint map[[32]byte]string // name of the file or note
}

// remember adds an entry of the store, by its name.
func (h *hints) remember(name string) {
	var key [32]byte
	if rest, ok := strings.CutPrefix(name, imagePrefix); ok {
		key = hint("image", rest)
	} else if rest, ok := strings.CutPrefix(name, filePrefix); ok {
		key = hint("file", rest)
	} else {
		return
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.byHint == nil {
		h.byHint = map[[32]byte]string{}
	}
	h.byHint[key] = name
}

// Has reports that what a hint stands for is here, all of it.
func (s *Store) Has(key [32]byte) bool {
	s.hints.mu.Lock()
	name := s.hints.byHint[key]
	s.hints.mu.Unlock()
	if name == "" {
		return false
	}
	raw, err := os.ReadFile(filepath.Join(s.dir, name))
	if strings.HasPrefix(name, filePrefix) {
		_, err := os.Stat(filepath.Join(s.dir, name))
		return err == nil
	}
	var parts []digest.Digest
	if err != nil || json.Unmarshal(raw, &parts) != nil {
		return false
	}
	for _, d := range parts {
		if _, err := os.Stat(s.path(d)); err != nil {
			return false
		}
	}
	return true
}

// note writes down that an image is here as a whole.
func (s *Store) note(d digest.Digest, parts []digest.Digest) error {
	b, err := json.Marshal(parts)
	if err != nil {
		return err
	}
	name := imagePrefix + d.Encoded()
	if err := os.WriteFile(filepath.Join(s.dir, name), b, 0o600); err != nil {
		return err
	}
	s.hints.remember(name)
	return nil
}

// Take links a file that was given before to dest; false if it is not here.
func (s *Store) Take(id []byte, dest string) bool {
	return os.Link(filepath.Join(s.dir, filePrefix+digest.FromBytes(id).Encoded()), dest) == nil
}

// Give keeps a verified file for the next that wants it. The file must not change
// any more: it is linked, not copied. What is no regular file is not kept.
func (s *Store) Give(id []byte, path string) error {
	info, err := os.Lstat(path)
	if err != nil || !info.Mode().IsRegular() {
		return err
	}
	name := filePrefix + digest.FromBytes(id).Encoded()
	if err := os.Link(path, filepath.Join(s.dir, name)); err != nil && !errors.Is(err, os.ErrExist) {
		return err
	}
	s.hints.remember(name)
	return s.room(0)
}
