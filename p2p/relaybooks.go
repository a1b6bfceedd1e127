package p2p

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/moyai-network/moyai/wire"
)

// maxAccounts is of how many machines a relay's books tell; those that were
// carried the longest ago are struck first.
const maxAccounts = 4096

// RelayAccount is what a relay has carried for one machine: connections that
// others made to it, both directions, since the relay first met it.
type RelayAccount struct {
	Machine      string    `json:"machine"`              // its peer id
	Bytes        uint64    `json:"bytes"`                // carried in all
	Acknowledged uint64    `json:"acknowledged"`         // of them, by a signed receipt
	Sequence     uint64    `json:"sequence"`             // of that receipt, 0 without one
	ChainID      string    `json:"chain_id,omitempty"`   // on which the machine is one
	Receipt      []byte    `json:"receipt,omitempty"`    // the signed wire.RelayReceipt
	Refused      string    `json:"refused,omitempty"`    // why the machine did not sign the last time
	Carried      time.Time `json:"last_carried"`         // when bytes were carried last
	Signed       time.Time `json:"last_signed,omitzero"` // when the machine signed last
}

// Unacknowledged is what was carried since the last receipt.
func (a RelayAccount) Unacknowledged() uint64 { return a.Bytes - min(a.Acknowledged, a.Bytes) }

// RelayBooks are a relay's accounts. The zero value is not usable: see
// OpenRelayBooks.
type RelayBooks struct {
	path string

	mu       sync.Mutex
	accounts map[peer.ID]*RelayAccount
	changed  bool
	due      chan peer.ID // who has enough unacknowledged to be asked
}

// OpenRelayBooks reads the books at path; none yet is an empty set. An empty path
// keeps them in memory alone.
func OpenRelayBooks(path string) (*RelayBooks, error) {
	b := &RelayBooks{path: path, accounts: map[peer.ID]*RelayAccount{}, due: make(chan peer.ID, 64)}
	if path == "" {
		return b, nil
	}
	raw, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return b, nil
	}
	if err != nil {
		return nil, fmt.Errorf("relay's books: %w", err)
	}
	var all []*RelayAccount
	if err := json.Unmarshal(raw, &all); err != nil {
		return nil, fmt.Errorf("relay's books %s are damaged: %w: move the file away to begin new ones", path, err)
	}
	for _, a := range all {
		id, err := peer.Decode(a.Machine)
		if err != nil {
			return nil, fmt.Errorf("relay's books %s: machine %q: %w", path, a.Machine, err)
		}
		b.accounts[id] = a
	}
	return b, nil
}

// Accounts are the books' content, the largest first.
func (b *RelayBooks) Accounts() []RelayAccount {
	b.mu.Lock()
	defer b.mu.Unlock()
	out := make([]RelayAccount, 0, len(b.accounts))
	for _, a := range b.accounts {
		out = append(out, *a)
	}
	slices.SortFunc(out, func(a, b RelayAccount) int {
		if a.Bytes != b.Bytes {
			return -cmpUint(a.Bytes, b.Bytes)
		}
		return strings.Compare(a.Machine, b.Machine)
	})
	return out
}

func cmpUint(a, b uint64) int {
	if a < b {
		return -1
	}
	return 1
}

// Save writes the books if they have changed. A crash leaves the former ones.
func (b *RelayBooks) Save() error {
	b.mu.Lock()
	dirty := b.changed && b.path != ""
	b.changed = false
	b.mu.Unlock()
	if !dirty {
		return nil
	}
	raw, err := json.MarshalIndent(b.Accounts(), "", "  ")
	if err == nil {
		err = writeWhole(b.path, append(raw, '\n'))
	}
	if err != nil {
		b.mu.Lock()
		b.changed = true
		b.mu.Unlock()
		return fmt.Errorf("relay's books: %w", err)
	}
	return nil
}

func writeWhole(path string, content []byte) error {
	f, err := os.CreateTemp(filepath.Dir(path), filepath.Base(path)+".*")
	if err != nil {
		return err
	}
	_, err = f.Write(content)
	if err = errors.Join(err, f.Sync(), f.Close()); err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		_ = os.Remove(f.Name())
	}
	return err
}

// account returns a machine's, made if there is none; b.mu is held.
func (b *RelayBooks) account(id peer.ID) *RelayAccount {
	a := b.accounts[id]
	if a == nil {
		if len(b.accounts) >= maxAccounts {
			b.strikeOldest()
		}
		a = &RelayAccount{Machine: id.String()}
		b.accounts[id] = a
	}
	return a
}

func (b *RelayBooks) strikeOldest() {
	var oldest peer.ID
	for id, a := range b.accounts {
		if o := b.accounts[oldest]; o == nil || a.Carried.Before(o.Carried) {
			oldest = id
		}
	}
	delete(b.accounts, oldest)
}

// receiptEvery is after how many bytes a machine is asked for a receipt.
const receiptEvery = 16 << 20

// carry counts n bytes for a machine and returns what is unacknowledged.
func (b *RelayBooks) carry(id peer.ID, n int) uint64 {
	b.mu.Lock()
	defer b.mu.Unlock()
	a := b.account(id)
	before := a.Unacknowledged()
	a.Bytes = min(a.Bytes+uint64(max(n, 0)), wire.MaxCarried)
	a.Carried, b.changed = time.Now(), true
	open := a.Unacknowledged()
	if before/receiptEvery != open/receiptEvery {
		select {
		case b.due <- id:
		default: // the rounds come by
		}
	}
	return open
}

func (b *RelayBooks) unacknowledged(id peer.ID) uint64 {
	b.mu.Lock()
	defer b.mu.Unlock()
	if a := b.accounts[id]; a != nil {
		return a.Unacknowledged()
	}
	return 0
}

// open is a copy of one account, if anything in it is unacknowledged.
func (b *RelayBooks) open(id peer.ID) (RelayAccount, bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	a := b.accounts[id]
	if a == nil || a.Unacknowledged() == 0 {
		return RelayAccount{}, false
	}
	return *a, true
}

// owing are the machines with something unacknowledged.
func (b *RelayBooks) owing() (ids []peer.ID) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for id, a := range b.accounts {
		if a.Unacknowledged() > 0 {
			ids = append(ids, id)
		}
	}
	return ids
}

// enter takes a machine's answer into its account: a receipt that it signed for
// what it was asked, or the reason why it did not.
func (b *RelayBooks) enter(relay []byte, id peer.ID, asked RelayAccount, answer *relayAnswer) error {
	if answer.Refused != "" {
		b.mu.Lock()
		defer b.mu.Unlock()
		b.account(id).Refused, b.changed = answer.Refused, true
		return fmt.Errorf("%s does not acknowledge: %s", id, answer.Refused)
	}
	node, err := NodeFromPeerID(id)
	if err != nil {
		return err
	}
	r, err := wire.Open[wire.RelayReceipt](answer.ChainID, answer.Receipt)
	if err != nil {
		return err
	}
	v := r.Value
	switch {
	case !bytes.Equal(v.Relay, relay), !bytes.Equal(v.Node, node):
		return fmt.Errorf("%w: receipt of another relay or machine", ErrInvalidMessage)
	case v.Bytes != asked.Bytes:
		return fmt.Errorf("%w: receipt over %d bytes, asked for %d", ErrInvalidMessage, v.Bytes, asked.Bytes)
	case v.Sequence <= asked.Sequence:
		return fmt.Errorf("%w: receipt %d after %d", ErrInvalidMessage, v.Sequence, asked.Sequence)
	}
	if err := wire.VerifyRelayReceipt(r); err != nil {
		return err
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	a := b.account(id)
	if v.Sequence > a.Sequence {
		a.Acknowledged, a.Sequence, a.Receipt = v.Bytes, v.Sequence, answer.Receipt
		a.ChainID, a.Signed, a.Refused, b.changed = answer.ChainID, time.Now(), "", true
	}
	return nil
}
