package wire

import (
	"bytes"
	"strings"

	"github.com/moyai-network/moyai/mechanism/amount"
)

// mutation makes one field of a valid object wrong. The bytes stay canonical
// and the signature right, so the field alone is why it must be refused.
type mutation[T Object] struct {
	why    string
	change func(*T)
}

func mustAmount(s string) amount.Amount {
	a, err := amount.Parse(s)
	if err != nil {
		panic(err)
	}
	return a
}

func orderMutations() []mutation[Order] {
	cut := func(b []byte) []byte { return b[:len(b)-1] }
	return []mutation[Order]{
		{"payer of 21 bytes", func(o *Order) { o.Payer = make([]byte, 21) }},
		{"payer is empty", func(o *Order) { o.Payer = nil }},
		{"kind is empty", func(o *Order) { o.Kind = "" }},
		{"kind has a capital letter", func(o *Order) { o.Kind = "Compute" }},
		{"kind has a zero byte", func(o *Order) { o.Kind = "compute\x00" }},
		{"kind of 65 bytes", func(o *Order) { o.Kind = strings.Repeat("k", 65) }},
		{"kind version 0", func(o *Order) { o.KindVersion = 0 }},
		{"nonce of 15 bytes", func(o *Order) { o.Nonce = cut(o.Nonce) }},
		{"job id of 15 bytes", func(o *Order) { o.JobID = cut(o.JobID) }},
		{"no quantities", func(o *Order) { o.Quantities = nil }},
		{"quantities are not sorted", func(o *Order) {
			o.Quantities = []Quantity{{Dimension: "memory.bytes", Amount: 1}, {Dimension: "cpu.milli", Amount: 1}}
		}},
		{"a dimension twice", func(o *Order) {
			o.Quantities = []Quantity{{Dimension: "cpu.milli", Amount: 1}, {Dimension: "cpu.milli", Amount: 2}}
		}},
		{"a quantity of zero", func(o *Order) { o.Quantities = []Quantity{{Dimension: "cpu.milli"}} }},
		{"17 quantities", func(o *Order) {
			o.Quantities = nil
			for i := range byte(17) {
				o.Quantities = append(o.Quantities, Quantity{Dimension: string('a' + rune(i)), Amount: 1})
			}
		}},
		{"a dimension begins with a digit", func(o *Order) { o.Quantities = []Quantity{{Dimension: "1cpu", Amount: 1}} }},
		{"constraints are not sorted", func(o *Order) { o.Constraints[0], o.Constraints[1] = o.Constraints[1], o.Constraints[0] }},
		{"a constraint twice", func(o *Order) { o.Constraints[1] = o.Constraints[0] }},
		{"17 constraints", func(o *Order) {
			o.Constraints = nil
			for i := range byte(17) {
				o.Constraints = append(o.Constraints, Constraint{Attribute: string('a' + rune(i)), Op: OpEqual, Value: "x"})
			}
		}},
		{"unknown operator", func(o *Order) { o.Constraints[0].Op = "~" }},
		{"a comparison with no number", func(o *Order) { o.Constraints[0].Op = OpAtLeast }},
		{"a comparison with a leading zero", func(o *Order) { o.Constraints[1].Value = "01" }},
		{"a comparison with 2^64", func(o *Order) { o.Constraints[1].Value = "18446744073709551616" }},
		{"a value with a line break", func(o *Order) { o.Constraints[0].Value = "eu\n" }},
		{"a value of 129 bytes", func(o *Order) { o.Constraints[0].Value = strings.Repeat("v", 129) }},
		{"an empty value", func(o *Order) { o.Constraints[0].Value = "" }},
		{"spec hash of 31 bytes", func(o *Order) { o.SpecHash = cut(o.SpecHash) }},
		{"denom of 2 bytes", func(o *Order) { o.Terms.Denom = "um" }},
		{"denom begins with a digit", func(o *Order) { o.Terms.Denom = "1moy" }},
		{"denom with a space", func(o *Order) { o.Terms.Denom = "u moy" }},
		{"denom of 129 bytes", func(o *Order) { o.Terms.Denom = strings.Repeat("d", 129) }},
		{"timeout 0", func(o *Order) { o.Terms.TimeoutMS = 0 }},
		{"timeout above 2^48", func(o *Order) { o.Terms.TimeoutMS = MaxMS + 1 }},
		{"max grace above 2^48", func(o *Order) { o.Terms.MaxGraceMS = 1<<64 - 1 }},
		{"max unacked 0", func(o *Order) { o.Terms.MaxUnackedMS = 0 }},
		{"max unacked above 2^48", func(o *Order) { o.Terms.MaxUnackedMS = MaxMS + 1 }},
		{"receipt key of 33 bytes", func(o *Order) { o.Terms.ReceiptKey = make([]byte, 33) }},
		{"unknown verify policy", func(o *Order) { o.Terms.Verify.Policy = "hope" }},
		{"verify none with a probability", func(o *Order) { o.Terms.Verify.Bps = 1 }},
		{"verify above 10,000 basis points", func(o *Order) { o.Terms.Verify = Verify{Policy: VerifyReplay, Bps: 10_001} }},
		{"redundant with one copy", func(o *Order) { o.Terms.Verify = Verify{Policy: VerifyRedundant, Copies: 1} }},
		{"replay with copies", func(o *Order) { o.Terms.Verify = Verify{Policy: VerifyReplay, Bps: 100, Copies: 2} }},
		{"expires at 0", func(o *Order) { o.Terms.ExpiresAt = 0 }},
		{"expires at -1", func(o *Order) { o.Terms.ExpiresAt = -1 }},
	}
}

func bidMutations() []mutation[Bid] {
	return []mutation[Bid]{
		{"order hash of 31 bytes", func(b *Bid) { b.OrderHash = b.OrderHash[:31] }},
		{"payer of 19 bytes", func(b *Bid) { b.Payer = b.Payer[:19] }},
		{"provider is empty", func(b *Bid) { b.Provider = nil }},
		{"node key of 33 bytes", func(b *Bid) { b.Node = append(bytes.Clone(b.Node), 0) }},
		{"generation 0", func(b *Bid) { b.Generation = 0 }},
		{"denom is empty", func(b *Bid) { b.Denom = "" }},
		{"grace above 2^48", func(b *Bid) { b.GraceMS = MaxMS + 1 }},
		{"notice above 2^48", func(b *Bid) { b.NoticeMS = MaxMS + 1 }},
		{"expires above 2^48", func(b *Bid) { b.ExpiresAt = MaxMS + 1 }},
	}
}

func readyMutations() []mutation[Ready] {
	return []mutation[Ready]{
		{"bid hash of 20 bytes", func(r *Ready) { r.BidHash = r.BidHash[:20] }},
		{"manifest hash is empty", func(r *Ready) { r.Manifest = nil }},
	}
}

func receiptMutations() []mutation[Receipt] {
	return []mutation[Receipt]{
		{"lease id of 32 bytes", func(r *Receipt) { r.LeaseID = make([]byte, 32) }},
		{"start receipt with elapsed time", func(r *Receipt) { r.ElapsedMS = 1 }},
		{"elapsed above 2^48", func(r *Receipt) { r.Sequence, r.ElapsedMS = 1, MaxMS+1 }},
		{"reason without final", func(r *Receipt) { r.Reason = 1 }},
		{"outputs without final", func(r *Receipt) { r.Outputs = make([]byte, 32) }},
		{"final without reason", func(r *Receipt) { r.Final = true }},
		{"final with an unknown reason", func(r *Receipt) { r.Final, r.Reason = true, 9999 }},
		{"outputs of 31 bytes", func(r *Receipt) { r.Final, r.Reason, r.Outputs = true, 1, make([]byte, 31) }},
		{"counters are not sorted", func(r *Receipt) { r.Counters = []Quantity{{Dimension: "tasks"}, {Dimension: "steps"}} }},
		{"a counter twice", func(r *Receipt) { r.Counters = []Quantity{{Dimension: "tasks"}, {Dimension: "tasks"}} }},
		{"17 counters", func(r *Receipt) {
			for i := range byte(17) {
				r.Counters = append(r.Counters, Quantity{Dimension: string('a' + rune(i))})
			}
		}},
	}
}

func claimMutations() []mutation[Claim] {
	return []mutation[Claim]{
		{"lease id of 19 bytes", func(c *Claim) { c.LeaseID = c.LeaseID[:19] }},
		{"elapsed above 2^48", func(c *Claim) { c.ElapsedMS = MaxMS + 1 }},
	}
}

func contestMutations() []mutation[Contest] {
	return []mutation[Contest]{
		{"lease id of 19 bytes", func(c *Contest) { c.LeaseID = c.LeaseID[:19] }},
		{"elapsed above 2^48", func(c *Contest) { c.ElapsedMS = MaxMS + 1 }},
	}
}

func awayMutations() []mutation[Away] {
	return []mutation[Away]{
		{"lease id of 19 bytes", func(a *Away) { a.LeaseID = a.LeaseID[:19] }},
		{"until above 2^48", func(a *Away) { a.UntilMS = MaxMS + 1 }},
	}
}

func accessMutations() []mutation[Access] {
	return []mutation[Access]{
		{"order hash of 31 bytes", func(a *Access) { a.OrderHash = a.OrderHash[:31] }},
		{"peer is empty", func(a *Access) { a.Peer = nil }},
		{"peer of 65 bytes", func(a *Access) { a.Peer = make([]byte, 65) }},
		{"expires at 0", func(a *Access) { a.ExpiresAt = 0 }},
	}
}

func nodeRecordMutations() []mutation[NodeRecord] {
	return []mutation[NodeRecord]{
		{"provider of 33 bytes", func(n *NodeRecord) { n.Provider = make([]byte, 33) }},
		{"sequence 0", func(n *NodeRecord) { n.Sequence = 0 }},
		{"17 addresses", func(n *NodeRecord) {
			n.Addresses = nil
			for i := range byte(17) {
				n.Addresses = append(n.Addresses, "/dns4/"+string('a'+rune(i)))
			}
		}},
		{"an address of 257 bytes", func(n *NodeRecord) { n.Addresses = []string{"/" + strings.Repeat("a", 256)} }},
		{"an address without a slash", func(n *NodeRecord) { n.Addresses = []string{"192.0.2.7:4001"} }},
		{"an address with a control character", func(n *NodeRecord) { n.Addresses = []string{"/dns4/\x1b[31m"} }},
		{"an address twice", func(n *NodeRecord) { n.Addresses[1] = n.Addresses[0] }},
		{"region of 33 bytes", func(n *NodeRecord) { n.Region = strings.Repeat("r", 33) }},
		{"region with a capital letter", func(n *NodeRecord) { n.Region = "EU" }},
	}
}

func relayReceiptMutations() []mutation[RelayReceipt] {
	return []mutation[RelayReceipt]{
		{"relay of 31 bytes", func(r *RelayReceipt) { r.Relay = r.Relay[:31] }},
		{"node of 33 bytes", func(r *RelayReceipt) { r.Node = make([]byte, 33) }},
		{"sequence 0", func(r *RelayReceipt) { r.Sequence = 0 }},
		{"bytes above 2^60", func(r *RelayReceipt) { r.Bytes = MaxCarried + 1 }},
	}
}
