package discovery

import (
	"context"
	"encoding/base32"
	"strings"
	"sync"

	ds "github.com/ipfs/go-datastore"
	"github.com/ipfs/go-datastore/query"
	"github.com/libp2p/go-libp2p-kad-dht/records"

	"github.com/moyai-network/moyai/p2p/limit"
)

// maxStored is how many entries one host keeps for others, node records and
// roles together. At its bounds an entry takes 9 KiB, a usual one less than one.
const maxStored = 8192

// store keeps what others ask this host to keep: a bounded number of entries,
// the least recently used of which are forgotten. Strangers can invent keys, so
// whoever floods it displaces others; who announces again is there again.
type store struct {
	mu    sync.Mutex
	table *limit.Table[ds.Key, []byte]
	keys  map[ds.Key]struct{} // those of table, and some that it has forgotten
	most  int
}

var _ ds.Batching = (*store)(nil)

func newStore(most int) *store {
	return &store{table: limit.NewTable[ds.Key, []byte](most), keys: map[ds.Key]struct{}{}, most: most}
}

// Put implements ds.Write. A provider record that is not of a role is dropped
// without an error, which would break the batch it comes in.
func (s *store) Put(_ context.Context, key ds.Key, value []byte) error {
	if !s.wanted(key) || len(value) > maxQuestion {
		return nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.table.Put(key, value)
	s.keys[key] = struct{}{}
	if len(s.keys) > 2*s.most {
		s.sweep()
	}
	return nil
}

func (s *store) wanted(key ds.Key) bool {
	rest, isRole := strings.CutPrefix(key.String(), records.ProvidersKeyPrefix)
	if !isRole {
		return true // the DHT has validated a record's value before it comes here
	}
	encoded, _, ok := strings.Cut(rest, "/")
	if !ok {
		return false
	}
	raw, err := base32.StdEncoding.WithPadding(base32.NoPadding).DecodeString(encoded)
	return err == nil && isRoleKey(raw)
}

func (s *store) sweep() {
	for k := range s.keys {
		if _, ok := s.table.Peek(k); !ok {
			delete(s.keys, k)
		}
	}
}

// Get implements ds.Read.
func (s *store) Get(_ context.Context, key ds.Key) ([]byte, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	v, ok := s.table.Get(key)
	if !ok || v == nil {
		return nil, ds.ErrNotFound
	}
	return v, nil
}

// Has implements ds.Read.
func (s *store) Has(ctx context.Context, key ds.Key) (bool, error) {
	_, err := s.Get(ctx, key)
	return err == nil, nil
}

// GetSize implements ds.Read.
func (s *store) GetSize(ctx context.Context, key ds.Key) (int, error) {
	v, err := s.Get(ctx, key)
	if err != nil {
		return -1, err
	}
	return len(v), nil
}

// Delete implements ds.Write.
func (s *store) Delete(_ context.Context, key ds.Key) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.table.Remove(key)
	delete(s.keys, key)
	return nil
}

// Query implements ds.Read. It copies what the prefix selects, no more than the
// store holds.
func (s *store) Query(_ context.Context, q query.Query) (query.Results, error) {
	prefix := ds.NewKey(q.Prefix)
	var found []query.Entry
	s.mu.Lock()
	for k := range s.keys {
		if q.Prefix != "" && !prefix.IsAncestorOf(k) {
			continue
		}
		v, ok := s.table.Peek(k)
		if !ok {
			continue
		}
		e := query.Entry{Key: k.String(), Size: len(v)}
		if !q.KeysOnly {
			e.Value = v
		}
		found = append(found, e)
	}
	s.mu.Unlock()
	return query.NaiveQueryApply(q, query.ResultsWithEntries(q, found)), nil
}

// Batch implements ds.Batching.
func (s *store) Batch(context.Context) (ds.Batch, error) { return ds.NewBasicBatch(s), nil }

// Sync implements ds.Datastore: there is nothing but memory.
func (s *store) Sync(context.Context, ds.Key) error { return nil }

// Close implements ds.Datastore.
func (s *store) Close() error { return nil }
