package limit_test

import (
	"math/rand/v2"
	"testing"
	"time"

	"github.com/moyai-network/moyai/p2p/limit"
)

type clock struct{ t time.Time }

func (c *clock) now() time.Time          { return c.t }
func (c *clock) advance(d time.Duration) { c.t = c.t.Add(d) }

func TestLimiter(t *testing.T) {
	c := &clock{time.Unix(1, 0)}
	l := limit.New[string](limit.Rate{PerSecond: 2, Burst: 3}, 10, c.now)
	allowed := func(key string, n int) (got int) {
		for range n {
			if l.Allow(key) {
				got++
			}
		}
		return got
	}
	steps := []struct {
		name    string
		advance time.Duration
		key     string
		want    int // of ten tries
	}{
		{"burst", 0, "a", 3},
		{"empty", 0, "a", 0},
		{"another key has its own", 0, "b", 3},
		{"refills at the rate", time.Second, "a", 2},
		{"half a token is none", 250 * time.Millisecond, "a", 0},
		{"and the other half makes one", 250 * time.Millisecond, "a", 1},
		{"never above the burst", time.Hour, "a", 3},
		{"a clock that steps back takes nothing", -time.Hour, "a", 0},
	}
	for _, s := range steps {
		c.advance(s.advance)
		if got := allowed(s.key, 10); got != s.want {
			t.Fatalf("%s: %d allowed, want %d", s.name, got, s.want)
		}
	}
}

func TestZeroRateAllowsNothing(t *testing.T) {
	if limit.New[int](limit.Rate{}, 1, nil).Allow(1) {
		t.Error("allowed")
	}
}

// The table agrees with a slow, obviously right one under random use.
func TestTableForgetsLeastRecentlyUsed(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	r := rand.New(rand.NewPCG(seed, 0))
	const size = 5
	table := limit.NewTable[int, int](size)
	var order []int // most recently used last
	values := map[int]int{}
	touch := func(k int) {
		for i, have := range order {
			if have == k {
				order = append(order[:i], order[i+1:]...)
				break
			}
		}
		order = append(order, k)
	}
	for i := range 10_000 {
		k := r.IntN(12)
		if r.IntN(2) == 0 {
			table.Put(k, i)
			values[k] = i
			touch(k)
			if len(order) > size {
				delete(values, order[0])
				order = order[1:]
			}
		} else {
			got, ok := table.Get(k)
			want, known := values[k]
			if ok != known || got != want {
				t.Fatalf("step %d: key %d is %d, %v; want %d, %v", i, k, got, ok, want, known)
			}
			if ok {
				touch(k)
			}
		}
		if table.Len() != len(values) {
			t.Fatalf("step %d: %d entries, want %d", i, table.Len(), len(values))
		}
	}
}
