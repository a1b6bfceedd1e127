package wire

import (
	"reflect"
	"testing"
)

// TestViewsCopyEveryField sets every field of an object to something and looks
// for zero fields in its view: a field that a view forgot would switch a rule off.
func TestViewsCopyEveryField(t *testing.T) {
	o := sampleOrder()
	o.Terms.MinBond, o.Terms.OfflineMax, o.Terms.MaxPenalty = mustAmount("1"), mustAmount("2"), mustAmount("3")
	o.Terms.StandbyRate = mustRate("4")
	o.Terms.Verify = Verify{Policy: VerifyRedundant, Copies: 2}
	o.Terms.Priority, o.Terms.Failover = 5, 6
	b := sampleBid()
	b.Penalty, b.StandbyRate = mustAmount("7"), mustRate("8")
	order, bid := Signed[Order]{Value: o, Digest: [32]byte{1}}, Signed[Bid]{Value: b, Digest: [32]byte{2}}
	order.Value.Terms.Verify.Bps = 9 // no policy takes both
	for _, v := range []any{
		OrderView(order), BidView(bid), ReadyView(Signed[Ready]{Value: sampleReady()}),
		ReceiptView(sampleFinal()), NeedView(o), NeedView(o).Quantities[0], NeedView(o).Constraints[0],
	} {
		rv := reflect.ValueOf(v)
		for i := range rv.NumField() {
			name := rv.Type().Field(i).Name
			if rv.Field(i).IsZero() && name != "AnyRate" { // a quote's own
				t.Errorf("%s.%s is not set", rv.Type(), name)
			}
		}
	}
}
