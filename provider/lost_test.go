package provider

import (
	"encoding/hex"
	"testing"
)

// chosenToo is a tenant that asks for a Ready and opens with somebody else.
type chosenToo struct{ tenantBid }

func (*chosenToo) SendReady([]byte) error { return nil }

// TestLostOrderFreesItsSlot: an order opens one lease. Once it opened on another
// machine, what was reserved and prepared for it here is free, long before the
// bid expires.
func TestLostOrderFreesItsSlot(t *testing.T) {
	h, ctx := start(t, harnessOptions{})
	must(t, eventually(ctx, "a block", func() bool { return h.watch.now().height > 0 }))
	order, body, _, err := h.w.order(1, false)
	must(t, err)
	a, _, err := h.stall.bid(order)
	must(t, err)
	must(t, h.stall.promise(ctx, a, &chosenToo{tenantBid{h: h, order: order, manifest: body}}))
	must(t, eventually(ctx, "the promise", func() bool { return h.desk.findOrder(order.Digest) != nil }))
	if bid, _ := h.desk.slots.Use(); bid == 0 {
		t.Fatal("a promise that reserves nothing")
	}
	h.w.change(func() { h.w.block(worldEvent{"elsewhere", hex.EncodeToString(order.Digest[:])}) })
	must(t, eventually(ctx, "the slot", func() bool {
		bid, leased := h.desk.slots.Use()
		return bid == 0 && leased == 0
	}))
}
