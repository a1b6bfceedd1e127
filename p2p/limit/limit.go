// Package limit keeps token buckets by key (a peer, an account) in bounded
// memory: a stranger who invents keys evicts old buckets, never grows the map.
//
// It decides nothing about punishment and keeps no history beyond the bucket.
package limit

import (
	"container/list"
	"sync"
	"time"
)

// Rate is a refill rate with a burst. The zero Rate allows nothing.
type Rate struct {
	PerSecond float64 // tokens added per second
	Burst     int     // bucket size, and the tokens a new key starts with
}

// Limiter is a set of token buckets, one per key, safe for concurrent use.
type Limiter[K comparable] struct {
	rate Rate
	max  int
	now  func() time.Time

	mu     sync.Mutex
	byKey  map[K]*list.Element
	recent *list.List // front is the most recently used bucket
}

type bucket[K comparable] struct {
	key    K
	tokens float64
	at     time.Time
}

// New returns a limiter that keeps at most maxKeys buckets, forgetting the least
// recently used. now is the clock; nil means time.Now.
func New[K comparable](rate Rate, maxKeys int, now func() time.Time) *Limiter[K] {
	if now == nil {
		now = time.Now
	}
	return &Limiter[K]{
		rate: rate, max: max(maxKeys, 1), now: now,
		byKey: make(map[K]*list.Element), recent: list.New(),
	}
}

// Allow takes one token from key's bucket and reports whether there was one.
func (l *Limiter[K]) Allow(key K) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	b := l.bucket(key)
	if b.tokens < 1 {
		return false
	}
	b.tokens--
	return true
}

// Len is the number of keys remembered, at most maxKeys.
func (l *Limiter[K]) Len() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.recent.Len()
}

func (l *Limiter[K]) bucket(key K) *bucket[K] {
	now := l.now()
	if e, ok := l.byKey[key]; ok {
		l.recent.MoveToFront(e)
		b := e.Value.(*bucket[K])
		if passed := now.Sub(b.at); passed > 0 {
			b.tokens = min(b.tokens+passed.Seconds()*l.rate.PerSecond, float64(l.rate.Burst))
			b.at = now
		}
		return b
	}
	if l.recent.Len() >= l.max {
		oldest := l.recent.Back()
		delete(l.byKey, oldest.Value.(*bucket[K]).key)
		l.recent.Remove(oldest)
	}
	b := &bucket[K]{key: key, tokens: float64(l.rate.Burst), at: now}
	l.byKey[key] = l.recent.PushFront(b)
	return b
}
