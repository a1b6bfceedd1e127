package wire

import (
	"github.com/moyai-network/moyai/mechanism/lease"
	"github.com/moyai-network/moyai/mechanism/match"
	"github.com/moyai-network/moyai/mechanism/receipt"
)

// The views hand the rules what they look at. They share byte slices with the
// object, which neither side changes.

// OrderView is an order as mechanism/lease sees it.
func OrderView(s Signed[Order]) lease.OrderView {
	o, t := &s.Value, &s.Value.Terms
	return lease.OrderView{
		Hash:         s.Digest,
		Version:      o.Version,
		ChainID:      o.ChainID,
		Payer:        o.Payer,
		SpecHash:     o.SpecHash,
		Denom:        t.Denom,
		MaxRate:      t.MaxRate,
		TimeoutMS:    t.TimeoutMS,
		MaxGraceMS:   t.MaxGraceMS,
		MaxUnackedMS: t.MaxUnackedMS,
		MinBond:      t.MinBond,
		OfflineMax:   t.OfflineMax,
		VerifyPolicy: t.Verify.Policy,
		VerifyBps:    t.Verify.Bps,
		VerifyCopies: t.Verify.Copies,
		Priority:     t.Priority,
		Failover:     t.Failover,
		StandbyRate:  t.StandbyRate,
		MaxPenalty:   t.MaxPenalty,
		ExpiresAt:    t.ExpiresAt,
	}
}

// BidView is a bid as mechanism/lease sees it.
func BidView(s Signed[Bid]) lease.BidView {
	b := &s.Value
	return lease.BidView{
		Hash:        s.Digest,
		Version:     b.Version,
		ChainID:     b.ChainID,
		OrderHash:   b.OrderHash,
		Payer:       b.Payer,
		Slot:        b.Slot,
		Generation:  b.Generation,
		Rate:        b.Rate,
		Denom:       b.Denom,
		GraceMS:     b.GraceMS,
		NoticeMS:    b.NoticeMS,
		Penalty:     b.Penalty,
		StandbyRate: b.StandbyRate,
		ExpiresAt:   b.ExpiresAt,
	}
}

// ReadyView is a ready as mechanism/lease sees it.
func ReadyView(s Signed[Ready]) lease.ReadyView {
	r := &s.Value
	return lease.ReadyView{Version: r.Version, ChainID: r.ChainID, BidHash: r.BidHash, Manifest: r.Manifest}
}

// ReceiptView is a receipt as mechanism/receipt sees it: what a countersigner
// compares with the last one.
func ReceiptView(r Receipt) receipt.Receipt {
	return receipt.Receipt{
		Sequence:  r.Sequence,
		ElapsedMS: r.ElapsedMS,
		Final:     r.Final,
		Reason:    lease.Reason(r.Reason), // Validate keeps it within the enumeration
	}
}

// NeedView is what an order asks for, as mechanism/match sees it.
func NeedView(o Order) match.Need {
	n := match.Need{
		Kind:        o.Kind,
		KindVersion: o.KindVersion,
		Quantities:  make([]match.Quantity, len(o.Quantities)),
		Constraints: make([]match.Constraint, len(o.Constraints)),
		Denom:       o.Terms.Denom,
		MaxRate:     o.Terms.MaxRate,
	}
	for i, q := range o.Quantities {
		n.Quantities[i] = match.Quantity{Dimension: q.Dimension, Amount: q.Amount}
	}
	for i, c := range o.Constraints {
		n.Constraints[i] = match.Constraint{Attribute: c.Attribute, Op: c.Op, Value: c.Value}
	}
	return n
}
