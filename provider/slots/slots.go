// Package slots divides a machine's capacity into what can be bid.
//
// A slot is a reservation of some quantity of each dimension, named by a small
// number. The bids that are out on distinct slots, and the leases that run, all
// fit into the machine at once: a bid is firm. One slot may be bid to many
// tenants under the same (slot, generation), because the chain opens at most one
// lease on each pair; so nobody can freeze capacity by asking. When a lease took
// the pair, or the last bid on it lapsed, the slot's next use has the next
// generation.
//
// It keeps numbers and a lock, nothing else: whether an order is acceptable at
// all is mechanism/match's to say, and generations are made by the caller's
// journal before Book returns.
package slots

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
)

// Quantity is so many units of each dimension.
type Quantity map[string]uint64

// fits reports whether need is within free.
func (need Quantity) fits(free Quantity) bool {
	for d, n := range need {
		if n > free[d] {
			return false
		}
	}
	return true
}

// Slot and generation name what the chain opens at most one lease on.
type Pair struct {
	Slot       uint32
	Generation uint64
}

// ErrFull: the need does not fit beside what is bid and leased.
var ErrFull = errors.New("no capacity free")

// MaxSharers bounds how many bids may be out on one pair: each more makes it
// less likely that a bid can be opened.
const MaxSharers = 16

// maxShares bounds how many of them may be to one group.
const maxShares = MaxSharers / 2

// Holder names whose booking it is: a lease id.
type Holder = [20]byte

type slot struct {
	generation uint64 // 0: idle
	envelope   Quantity
	bids       map[Holder]booking
	leased     bool
	lease      Holder
	// parked: the lease's work is over and its capacity given back, but on chain
	// it is still OPEN, and the chain opens no second lease on such a slot.
	parked bool
}

type booking struct {
	need  Quantity
	group string
}

// Table is the division. Its methods may be called from many goroutines.
type Table struct {
	mu      sync.Mutex
	total   Quantity
	used    Quantity // sum of the envelopes
	slots   []*slot
	advance Advance
}

// Advance makes the next generation of a slot durable and returns it.
type Advance func(slot uint32) (uint64, error)

// New is an empty table over a capacity.
func New(total Quantity, advance Advance) *Table {
	return &Table{total: maps.Clone(total), used: Quantity{}, advance: advance}
}

// Book reserves room for a bid and returns the pair it must name. A slot of its
// own is taken while capacity lasts; then a slot that is bid already is shared,
// rather one that is not bid to the same group (a payer) yet. A tenant with several
// orders out, as an array job has, is thus bid one pair for each of them and takes
// it for one; it sees that they are the same. Groups get at most half the shares of
// a pair, so that no tenant can freeze it with orders alone. The holder is not known
// before the pair (a lease id hashes it), so name is called with the pair, under the
// lock, and its result holds the booking.
//
// Errors: ErrFull; name's and the journal's errors as they are.
func (t *Table) Book(group string, need Quantity, name func(Pair) (Holder, error)) (Pair, Holder, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	index, ok := t.place(group, need)
	if !ok {
		return Pair{}, Holder{}, ErrFull
	}
	s := t.slots[index]
	if s.generation == 0 {
		generation, err := t.advance(uint32(index))
		if err != nil {
			return Pair{}, Holder{}, err
		}
		s.generation = generation
	}
	pair := Pair{uint32(index), s.generation}
	holder, err := name(pair)
	if err != nil {
		t.settle(s)
		return Pair{}, Holder{}, err
	}
	s.bids[holder] = booking{maps.Clone(need), group}
	t.resize(s)
	return pair, holder, nil
}

// place finds the slot: an idle or new one if the need fits beside everything,
// else the least shared one that can be widened to it.
func (t *Table) place(group string, need Quantity) (int, bool) {
	if need.fits(t.free()) {
		for i, s := range t.slots {
			if s.generation == 0 {
				return i, true
			}
		}
		t.slots = append(t.slots, &slot{envelope: Quantity{}, bids: map[Holder]booking{}})
		return len(t.slots) - 1, true
	}
	best, bestHeld := -1, 0
	for i, s := range t.slots {
		held := s.holds(group)
		if !s.shareable() || held >= maxShares || !need.fits(t.freeWithout(s)) {
			continue
		}
		if best < 0 || held < bestHeld || held == bestHeld && len(s.bids) < len(t.slots[best].bids) {
			best, bestHeld = i, held
		}
	}
	return best, best >= 0
}

// shareable reports whether another bid could go out on the slot's pair.
func (s *slot) shareable() bool {
	return s.generation != 0 && !s.leased && !s.parked && len(s.bids) < MaxSharers
}

// holds counts the bids to a group that are out on the slot's pair.
func (s *slot) holds(group string) int {
	n := 0
	for _, b := range s.bids {
		if b.group == group {
			n++
		}
	}
	return n
}

func (t *Table) free() Quantity { return t.freeWithout(nil) }

// freeWithout is what is free beside every slot but s.
func (t *Table) freeWithout(s *slot) Quantity {
	free := Quantity{}
	for d, n := range t.total {
		used := t.used[d]
		if s != nil {
			used -= s.envelope[d]
		}
		free[d] = n - min(n, used)
	}
	return free
}

// Lease records that the chain opened a lease for holder. The other bids on the
// pair are dead: the chain refuses them. It is harmless to call it again.
func (t *Table) Lease(holder Holder) {
	t.mu.Lock()
	defer t.mu.Unlock()
	s := t.of(holder)
	if s == nil || s.leased {
		return
	}
	s.leased, s.lease = true, holder
	t.resize(s)
}

// Free gives a holder's booking back: its bid lapsed or its work ended. The slot of
// a lease takes no new bid before Retire; its capacity is free at once. Unknown
// holders are ignored, so that it may be called again.
func (t *Table) Free(holder Holder) {
	t.mu.Lock()
	defer t.mu.Unlock()
	s := t.of(holder)
	if s == nil {
		return
	}
	delete(s.bids, holder)
	if s.leased && s.lease == holder {
		// The pair is used up: whoever else was bid it can no longer open it.
		s.leased, s.parked = false, true
		clear(s.bids)
	}
	t.settle(s)
}

// Retire lets the slot of a lease whose work is over be bid again: the chain no
// longer counts it as open. A lease that still works keeps its slot.
func (t *Table) Retire(holder Holder) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, s := range t.slots {
		if s.parked && s.lease == holder {
			s.parked = false
			t.settle(s)
		}
	}
}

// settle makes an empty slot idle, and fits the envelope of any other.
func (t *Table) settle(s *slot) {
	if len(s.bids) == 0 && !s.parked {
		s.generation = 0
	}
	t.resize(s)
}

// resize sets a slot's envelope to the most that any one of its bids needs: at
// most one of them will be opened.
func (t *Table) resize(s *slot) {
	envelope := Quantity{}
	if s.leased {
		envelope = maps.Clone(s.bids[s.lease].need)
	} else {
		for _, b := range s.bids {
			for d, n := range b.need {
				envelope[d] = max(envelope[d], n)
			}
		}
	}
	for d, n := range s.envelope {
		t.used[d] -= n
	}
	for d, n := range envelope {
		t.used[d] += n
	}
	s.envelope = envelope
}

func (t *Table) of(holder Holder) *slot {
	for _, s := range t.slots {
		if _, ok := s.bids[holder]; ok {
			return s
		}
	}
	return nil
}

// Restore books what a journal remembers, whatever the capacity is now: promises
// made before the operator lowered it still stand. Use it before the first Book.
func (t *Table) Restore(pair Pair, holder Holder, group string, need Quantity, leased bool) error {
	const maxSlots = 1 << 16
	if pair.Slot >= maxSlots {
		return fmt.Errorf("slot %d is beyond %d", pair.Slot, maxSlots)
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	for len(t.slots) <= int(pair.Slot) {
		t.slots = append(t.slots, &slot{envelope: Quantity{}, bids: map[Holder]booking{}})
	}
	s := t.slots[pair.Slot]
	if s.leased && leased && s.lease != holder {
		return fmt.Errorf("slot %d is held by two leases", pair.Slot)
	}
	// Only the newest generation can still be bid; older ones are here because a
	// lease on them still runs.
	s.generation = max(s.generation, pair.Generation)
	s.bids[holder] = booking{maps.Clone(need), group}
	if leased {
		s.leased, s.lease = true, holder
	}
	t.resize(s)
	return nil
}

// Largest is what a need could take now in the largest slot, counting slots that
// can be shared.
func (t *Table) Largest() Quantity {
	t.mu.Lock()
	defer t.mu.Unlock()
	largest := t.free()
	for _, s := range t.slots {
		if !s.shareable() {
			continue
		}
		// Per dimension: an upper bound, good enough to name what is missing.
		for d, n := range t.freeWithout(s) {
			largest[d] = max(largest[d], n)
		}
	}
	return largest
}

// Unbid is what no bid or lease holds.
func (t *Table) Unbid() Quantity {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.free()
}

// Use counts the slots that are bid or leased.
func (t *Table) Use() (bid, leased int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, s := range t.slots {
		switch {
		case s.leased:
			leased++
		case s.generation != 0 && !s.parked:
			bid++
		}
	}
	return bid, leased
}

// Bids lists the holders of unopened bids per slot that has any, for whoever asks
// the chain what became of them.
func (t *Table) Bids() map[Pair][]Holder {
	t.mu.Lock()
	defer t.mu.Unlock()
	out := map[Pair][]Holder{}
	for i, s := range t.slots {
		if s.generation == 0 || s.leased || s.parked {
			continue
		}
		pair := Pair{uint32(i), s.generation}
		for h := range s.bids {
			out[pair] = append(out[pair], h)
		}
		slices.SortFunc(out[pair], func(a, b Holder) int { return slices.Compare(a[:], b[:]) })
	}
	return out
}
