package limit

import "container/list"

// Table is a map that holds a bounded number of entries and forgets the least
// recently used. It is not safe for concurrent use.
type Table[K comparable, V any] struct {
	max    int
	byKey  map[K]*list.Element
	recent *list.List // front is the most recently used
}

type entry[K comparable, V any] struct {
	key   K
	value V
}

// NewTable returns an empty table of at most max entries, at least one.
func NewTable[K comparable, V any](maxEntries int) *Table[K, V] {
	return &Table[K, V]{max: max(maxEntries, 1), byKey: make(map[K]*list.Element), recent: list.New()}
}

// Get returns the entry of k and marks it as used.
func (t *Table[K, V]) Get(k K) (v V, ok bool) {
	e, ok := t.byKey[k]
	if !ok {
		return v, false
	}
	t.recent.MoveToFront(e)
	return e.Value.(*entry[K, V]).value, true
}

// Put sets the entry of k, forgetting another one if the table is full.
func (t *Table[K, V]) Put(k K, v V) {
	if e, ok := t.byKey[k]; ok {
		e.Value.(*entry[K, V]).value = v
		t.recent.MoveToFront(e)
		return
	}
	if t.recent.Len() >= t.max {
		oldest := t.recent.Back()
		delete(t.byKey, oldest.Value.(*entry[K, V]).key)
		t.recent.Remove(oldest)
	}
	t.byKey[k] = t.recent.PushFront(&entry[K, V]{k, v})
}

// Len is the number of entries.
func (t *Table[K, V]) Len() int { return t.recent.Len() }

// Peek is Get without a mark of use.
func (t *Table[K, V]) Peek(k K) (v V, ok bool) {
	e, ok := t.byKey[k]
	if !ok {
		return v, false
	}
	return e.Value.(*entry[K, V]).value, true
}

// Remove forgets the entry of k, if there is one.
func (t *Table[K, V]) Remove(k K) {
	if e, ok := t.byKey[k]; ok {
		delete(t.byKey, k)
		t.recent.Remove(e)
	}
}
