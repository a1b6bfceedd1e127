// Package auction orders the bids a tenant has received: which to open first,
// which to keep as candidates behind it.
//
// The order is total and depends on nothing but the bids, so a tenant, a
// simulator and an observer who see the same bids rank them alike. It decides
// nothing about validity (lease.CheckPair does) and compares rates of one
// denomination only: callers drop bids in another.
package auction

import (
	"cmp"
	"slices"

	"github.com/moyai-network/moyai/mechanism/amount"
)

// Bid is what ranking looks at.
type Bid struct {
	Provider string // who is paid; opaque
	Node     string // which machine; opaque
	Rate     amount.Rate
	// LoadMS is how long it may take to load what is not there yet, as the provider
	// says. It decides among equal rates only: nobody signs it, and a provider that
	// says less than is true gains no more than one that charges a unit less.
	LoadMS uint64
	// Held is how many leases of the same job this provider has already:
	// Spread counts them as used.
	Held uint64
	// Tie decides among equal rates and times. A hash of order and bid serves: nobody can
	// choose a name that always wins.
	Tie [32]byte
}

// Policy is how a tenant prefers its bids.
type Policy uint8

// The policies.
const (
	// Cheapest ranks by rate alone.
	Cheapest Policy = iota
	// Spread takes no provider a second time before each was used once, and
	// within that the cheapest first: an array job that loses one provider then
	// loses the least.
	Spread
)

// String is the policy's name, as flags spell it.
func (p Policy) String() string {
	switch p {
	case Cheapest:
		return "cheapest"
	case Spread:
		return "spread"
	}
	return "unknown"
}

// Rank returns the indices of bids from most to least wanted. Every index
// appears once; bids equal in everything keep their order.
func Rank(policy Policy, bids []Bid) []int {
	order := make([]int, len(bids))
	for i := range order {
		order[i] = i
	}
	slices.SortStableFunc(order, func(i, j int) int { return compare(bids[i], bids[j]) })
	if policy != Spread {
		return order
	}
	// A provider's n-th cheapest bid is its n-th use, after what it holds. The
	// lists are short, so counting by scan beats a map and keeps the order.
	uses := make([]uint64, len(bids))
	for rank, i := range order {
		uses[i] = bids[i].Held
		for _, before := range order[:rank] {
			if bids[before].Provider == bids[i].Provider {
				uses[i]++
			}
		}
	}
	slices.SortStableFunc(order, func(i, j int) int { return cmp.Compare(uses[i], uses[j]) })
	return order
}

func compare(a, b Bid) int {
	if c := a.Rate.Cmp(b.Rate); c != 0 {
		return c
	}
	if c := cmp.Compare(a.LoadMS, b.LoadMS); c != 0 {
		return c
	}
	if c := slices.Compare(a.Tie[:], b.Tie[:]); c != 0 {
		return c
	}
	if c := cmp.Compare(a.Provider, b.Provider); c != 0 {
		return c
	}
	return cmp.Compare(a.Node, b.Node)
}
