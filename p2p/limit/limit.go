// Package limit keeps token buckets by key (a peer, an account) in bounded
// memory: a stranger who invents keys evicts old buckets, never grows the map.
//
// It decides nothing about punishment and keeps no history beyond the bucket.
package limit

import (
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
	now  func() time.Time

	mu      sync.Mutex
	buckets *Table[K, *bucket]
}

type bucket struct {
	tokens float64
	at     time.Time
}

// New returns a limiter that keeps at most maxKeys buckets, forgetting the least
// recently used. now is the clock; nil means time.Now.
func New[K comparable](rate Rate, maxKeys int, now func() time.Time) *Limiter[K] {
	if now == nil {
		now = time.Now
	}
	return &Limiter[K]{rate: rate, now: now, buckets: NewTable[K, *bucket](maxKeys)}
}

// Allow takes one token from key's bucket and reports whether there was one.
func (l *Limiter[K]) Allow(key K) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	now := l.now()
	b, ok := l.buckets.Get(key)
	if !ok {
		b = &bucket{tokens: float64(l.rate.Burst), at: now}
		l.buckets.Put(key, b)
	}
	// A clock that steps back must not drain the bucket.
	if passed := now.Sub(b.at); passed > 0 {
		b.tokens = min(b.tokens+passed.Seconds()*l.rate.PerSecond, float64(l.rate.Burst))
		b.at = now
	}
	if b.tokens < 1 {
		return false
	}
	b.tokens--
	return true
}
