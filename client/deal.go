package client

import (
	"bytes"
	"slices"

	"github.com/moyai-network/moyai/mechanism/auction"
)

// choose deals bids to orders, one slot to one order, so that no two items of one
// transaction want the same place. Each order in turn takes the best bid whose
// slot is free; if none is, earlier orders make room where they can.
func (s *shopping) choose(orders []*order, col *collection) []*choice {
	d := &dealing{ranked: make([][]*bid, len(orders)), picked: make([]*bid, len(orders)), owner: map[slotKey]int{}}
	held := map[string]uint64{}
	for p, n := range s.held {
		held[p] = n
	}
	policy := auction.Cheapest
	if s.job.Array != nil {
		policy = auction.Spread
	}
	for i := range orders {
		d.ranked[i] = s.rank(policy, s.inPlace(col.bids[i]), held)
		if d.free(i) || d.displace(i, map[slotKey]bool{}) {
			held[d.picked[i].provider]++
		}
	}
	var out []*choice
	for i, o := range orders {
		if d.picked[i] == nil {
			continue
		}
		ch := &choice{order: o, bids: []*bid{d.picked[i]}}
		for _, b := range d.ranked[i] {
			if _, taken := d.owner[b.slot()]; !taken && len(ch.bids) < s.program.candidates() {
				ch.bids = append(ch.bids, b)
			}
		}
		ch.ready = make([][]byte, len(ch.bids))
		out = append(out, ch)
	}
	return out
}

// inPlace are the bids of the machine that has the job's volumes, or all.
func (s *shopping) inPlace(bids []*bid) []*bid {
	if s.job.Place == nil {
		return bids
	}
	return slices.DeleteFunc(slices.Clone(bids), func(b *bid) bool { return !bytes.Equal(b.signed.Value.Node, s.job.Place.Node) })
}

// dealing is a matching of orders and slots under way.
type dealing struct {
	ranked [][]*bid
	picked []*bid
	owner  map[slotKey]int
}

func (d *dealing) take(i int, b *bid) {
	d.picked[i], d.owner[b.slot()] = b, i
}

// free gives order i its best bid whose slot nobody has.
func (d *dealing) free(i int) bool {
	for _, b := range d.ranked[i] {
		if _, taken := d.owner[b.slot()]; !taken {
			d.take(i, b)
			return true
		}
	}
	return false
}

// displace gives order i a slot whose order can go elsewhere (an augmenting path).
func (d *dealing) displace(i int, seen map[slotKey]bool) bool {
	for _, b := range d.ranked[i] {
		k := b.slot()
		if seen[k] {
			continue
		}
		seen[k] = true
		if other, taken := d.owner[k]; !taken || d.displace(other, seen) {
			d.take(i, b)
			return true
		}
	}
	return false
}

func (s *shopping) rank(policy auction.Policy, bids []*bid, held map[string]uint64) []*bid {
	views := make([]auction.Bid, len(bids))
	for i, b := range bids {
		views[i] = auction.Bid{
			Provider: b.provider, Node: string(b.signed.Value.Node), Rate: b.signed.Value.Rate,
			LoadMS: b.loadMS, Held: held[b.provider], Tie: b.signed.Digest,
		}
	}
	out := make([]*bid, 0, len(bids))
	for _, i := range auction.Rank(policy, views) {
		out = append(out, bids[i])
	}
	slices.SortStableFunc(out, func(a, b *bid) int {
		if s.avoid[a.provider] == s.avoid[b.provider] {
			return 0
		}
		if s.avoid[a.provider] {
			return 1
		}
		return -1
	})
	return out
}
