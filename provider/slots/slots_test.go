package slots_test

import (
	"bytes"
	"errors"
	"maps"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/moyai-network/moyai/provider/slots"
)

const cpu, mem = "cpu.milli", "memory.bytes"

// counter is a journal of generations in memory.
type counter map[uint32]uint64

func (c counter) advance(slot uint32) (uint64, error) { c[slot]++; return c[slot], nil }

func named(n byte) func(slots.Pair) (slots.Holder, error) {
	return func(slots.Pair) (slots.Holder, error) { return slots.Holder{n}, nil }
}

func book(t *testing.T, table *slots.Table, n byte, group string, q slots.Quantity) slots.Pair {
	t.Helper()
	pair, holder, err := table.Book(group, q, named(n))
	if err != nil || holder != (slots.Holder{n}) {
		t.Fatalf("booking %d: %v", n, err)
	}
	return pair
}

func TestDistinctSlotsWhileCapacityLastsThenShared(t *testing.T) {
	table := slots.New(slots.Quantity{cpu: 2000, mem: 100}, counter{}.advance)
	one := slots.Quantity{cpu: 1000, mem: 10}
	a, b := book(t, table, 1, "alice", one), book(t, table, 2, "alice", one)
	if a.Slot == b.Slot {
		t.Fatal("two bids share a slot although both fit")
	}
	// A third order of hers is bid what she is bid already.
	if x := book(t, table, 9, "alice", one); x != a && x != b {
		t.Fatalf("a third bid names %v, want %v or %v", x, a, b)
	}
	table.Free(slots.Holder{9})
	c := book(t, table, 3, "bob", one)
	if c != a && c != b {
		t.Fatalf("bob got %v, want a share of %v or %v", c, a, b)
	}
	// The chain opened alice's lease on that pair: bob's bid is dead and frees nothing.
	holder := slots.Holder{1}
	if c == b {
		holder = slots.Holder{2}
	}
	table.Lease(holder)
	table.Free(slots.Holder{3})
	if free := table.Unbid(); free[cpu] != 0 {
		t.Fatalf("%d thousandths free while one lease and one bid hold a core each", free[cpu])
	}
	table.Free(holder)
	if free := table.Unbid(); free[cpu] != 1000 {
		t.Fatalf("%d thousandths free after the work ended", free[cpu])
	}
	if p := book(t, table, 5, "dave", one); p.Slot == c.Slot {
		t.Fatalf("slot %d is bid while the chain still has a lease open on it", p.Slot)
	}
	table.Free(slots.Holder{5})
	table.Retire(holder)
	table.Retire(holder)
	d := book(t, table, 4, "carol", one)
	if d.Slot != c.Slot || d.Generation != c.Generation+1 {
		t.Fatalf("after a lease on %v the slot's next bid names %v", c, d)
	}
}

// TestOneTenantCannotFreezeAPair gives one tenant all it asks for, and leaves room
// for another.
func TestOneTenantCannotFreezeAPair(t *testing.T) {
	table := slots.New(slots.Quantity{cpu: 1000}, counter{}.advance)
	one := slots.Quantity{cpu: 1000}
	got := 0
	for n := range byte(2 * slots.MaxSharers) {
		if _, _, err := table.Book("greedy", one, named(n)); err == nil {
			got++
		} else if !errors.Is(err, slots.ErrFull) {
			t.Fatal(err)
		}
	}
	if got == 0 || got >= slots.MaxSharers {
		t.Fatalf("one tenant got %d of %d shares", got, slots.MaxSharers)
	}
	book(t, table, 200, "other", one)
}

func TestASharedSlotIsWideEnoughForTheLargestBid(t *testing.T) {
	table := slots.New(slots.Quantity{cpu: 3000}, counter{}.advance)
	book(t, table, 1, "a", slots.Quantity{cpu: 1500})
	book(t, table, 2, "b", slots.Quantity{cpu: 1500})
	// 2000 fits only in place of one of the two, not beside them: 1500 + 2000 > 3000.
	if _, _, err := table.Book("c", slots.Quantity{cpu: 2000}, named(3)); !errors.Is(err, slots.ErrFull) {
		t.Fatalf("overcommitted: %v", err)
	}
	table.Free(slots.Holder{2})
	book(t, table, 3, "c", slots.Quantity{cpu: 1000})
	if free := table.Unbid(); free[cpu] != 500 {
		t.Fatalf("free %d", free[cpu])
	}
	// Opened with the smaller bid, the envelope shrinks to it.
	book(t, table, 4, "d", slots.Quantity{cpu: 1400}) // shares with 3: 1500 + 1400 ≤ 3000
	table.Lease(slots.Holder{3})
	if free := table.Unbid(); free[cpu] != 500 {
		t.Fatalf("free after the smaller bid won: %d", free[cpu])
	}
}

func TestNothingIsBookedWithoutANameOrAGeneration(t *testing.T) {
	boom := errors.New("disk full")
	fail := true
	table := slots.New(slots.Quantity{cpu: 1000}, func(uint32) (uint64, error) {
		if fail {
			return 0, boom
		}
		return 1, nil
	})
	if _, _, err := table.Book("a", slots.Quantity{cpu: 1000}, named(1)); !errors.Is(err, boom) {
		t.Fatalf("got %v", err)
	}
	fail = false
	if _, _, err := table.Book("a", slots.Quantity{cpu: 1000}, func(slots.Pair) (slots.Holder, error) { return slots.Holder{}, boom }); !errors.Is(err, boom) {
		t.Fatalf("got %v", err)
	}
	if free := table.Unbid(); free[cpu] != 1000 {
		t.Fatalf("%d free after two failed bookings", free[cpu])
	}
}

func TestRestoreKeepsPromisesBeyondTheCapacity(t *testing.T) {
	gens := counter{2: 9}
	table := slots.New(slots.Quantity{cpu: 1000}, gens.advance)
	if err := table.Restore(slots.Pair{Slot: 2, Generation: 9}, slots.Holder{1}, "a", slots.Quantity{cpu: 4000}, true); err != nil {
		t.Fatal(err)
	}
	if free := table.Unbid(); free[cpu] != 0 {
		t.Fatalf("free %d", free[cpu])
	}
	if _, _, err := table.Book("b", slots.Quantity{cpu: 1}, named(2)); !errors.Is(err, slots.ErrFull) {
		t.Fatalf("got %v", err)
	}
	table.Free(slots.Holder{1})
	table.Retire(slots.Holder{1})
	for range 3 { // idle slots are reused, and with a fresh generation each
		p := book(t, table, 2, "b", slots.Quantity{cpu: 1000})
		if p.Slot == 2 && p.Generation <= 9 {
			t.Fatalf("generation %d of slot 2 again", p.Generation)
		}
		table.Free(slots.Holder{2})
	}
	if err := table.Restore(slots.Pair{Slot: 1 << 30}, slots.Holder{3}, "", nil, false); err == nil {
		t.Fatal("a slot number from a damaged journal was believed")
	}
}

// sorted makes a run depend on its seed alone.
func sorted[V any](m map[slots.Holder]V) []slots.Holder {
	return slices.SortedFunc(maps.Keys(m), func(a, b slots.Holder) int { return bytes.Compare(a[:], b[:]) })
}

// TestBidsOnDistinctSlotsAlwaysFit plays tenants, chain and lapses at random.
func TestBidsOnDistinctSlotsAlwaysFit(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		total := slots.Quantity{cpu: 4000, mem: 64}
		table := slots.New(total, counter{}.advance)
		type bid struct {
			pair  slots.Pair
			need  slots.Quantity
			group string
		}
		out := map[slots.Holder]bid{}            // bids and leases that stand
		leased := map[slots.Pair]slots.Holder{}  // pairs the chain has used, for good
		running := map[slots.Pair]slots.Holder{} // of those, the ones still running
		retired := map[uint32]uint64{}           // slot → highest generation that was used up
		var next byte
		for range rapid.IntRange(1, 80).Draw(t, "steps") {
			switch rapid.IntRange(0, 3).Draw(t, "what") {
			case 0, 1:
				need := slots.Quantity{cpu: rapid.Uint64Range(1, 4000).Draw(t, cpu), mem: rapid.Uint64Range(0, 64).Draw(t, mem)}
				group := rapid.SampledFrom([]string{"a", "b", "c"}).Draw(t, "payer")
				next++
				pair, holder, err := table.Book(group, need, named(next))
				if err != nil {
					continue
				}
				if _, used := leased[pair]; used {
					t.Fatalf("%v was leased before and is bid again", pair)
				}
				if g := retired[pair.Slot]; pair.Generation <= g {
					t.Fatalf("%v after generation %d was used up", pair, g)
				}
				shares := 0
				for _, o := range out {
					if o.pair == pair && o.group == group {
						shares++
					}
				}
				if shares >= slots.MaxSharers/2 {
					t.Fatalf("%d bids to %s on %v, and another", shares, group, pair)
				}
				out[holder] = bid{pair, need, group}
			case 2: // the chain opens one
				for _, h := range sorted(out) {
					b := out[h]
					if _, used := leased[b.pair]; used {
						continue
					}
					leased[b.pair], running[b.pair] = h, h
					retired[b.pair.Slot] = max(retired[b.pair.Slot], b.pair.Generation)
					table.Lease(h)
					break
				}
			case 3: // a bid lapses or a lease ends
				for _, h := range sorted(out) {
					b := out[h]
					table.Free(h)
					delete(out, h)
					if running[b.pair] == h {
						delete(running, b.pair)
						if rapid.Bool().Draw(t, "closed on chain") {
							table.Retire(h)
						}
						for o, ob := range out { // the others on the pair are dead
							if ob.pair == b.pair {
								delete(out, o)
							}
						}
					}
					break
				}
			}
			worst := slots.Quantity{}
			perSlot := map[uint32]slots.Quantity{}
			for h, b := range out {
				if r, ok := running[b.pair]; ok && r != h {
					continue // cannot be opened any more
				}
				q := perSlot[b.pair.Slot]
				if q == nil {
					q = slots.Quantity{}
					perSlot[b.pair.Slot] = q
				}
				for d, n := range b.need {
					q[d] = max(q[d], n)
				}
			}
			for _, q := range perSlot {
				for d, n := range q {
					worst[d] += n
				}
			}
			free := table.Unbid()
			for d, n := range total {
				if worst[d] > n {
					t.Fatalf("%d of %s could be called on, %d are there", worst[d], d, n)
				}
				if free[d] != n-worst[d] {
					t.Fatalf("table says %d of %s are free, %d are", free[d], d, n-worst[d])
				}
			}
		}
	})
}
