package gateway

import (
	"net/netip"
	"slices"
	"sync"
	"time"
)

// Bounds of what is remembered.
const (
	maxAddresses = 4096
	maxNamesEach = 8
	// leastMemory is how long an answer is good at least: programs keep addresses
	// for longer than they were told to.
	leastMemory = 10 * time.Minute
	mostMemory  = 24 * time.Hour
)

// names remembers which names the task was told an address for.
type names struct {
	mu sync.Mutex
	of map[netip.Addr][]known
}

type known struct {
	name  string
	until time.Time
}

// learn remembers an answer.
func (n *names) learn(a netip.Addr, name string, ttl time.Duration, now time.Time) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.of == nil {
		n.of = map[netip.Addr][]known{}
	}
	if _, there := n.of[a]; !there && len(n.of) >= maxAddresses {
		n.forget(now)
	}
	k := known{name, now.Add(min(max(ttl, leastMemory), mostMemory))}
	list := slices.DeleteFunc(n.of[a], func(o known) bool { return o.name == name || !o.until.After(now) })
	if len(list) >= maxNamesEach {
		list = list[1:] // the oldest
	}
	n.of[a] = append(list, k)
}

// forget makes room: what has passed, and if nothing has, what passes first.
func (n *names) forget(now time.Time) {
	var soonest netip.Addr
	var when time.Time
	for a, list := range n.of {
		last := list[len(list)-1].until
		if !last.After(now) {
			delete(n.of, a)
			continue
		}
		if when.IsZero() || last.Before(when) {
			soonest, when = a, last
		}
	}
	if len(n.of) >= maxAddresses {
		delete(n.of, soonest)
	}
}

// names are those of an address, the last one told at the end.
func (n *names) names(a netip.Addr, now time.Time) []string {
	n.mu.Lock()
	defer n.mu.Unlock()
	var out []string
	for _, k := range n.of[a] {
		if k.until.After(now) {
			out = append(out, k.name)
		}
	}
	return out
}
