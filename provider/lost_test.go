package provider

import (
	"encoding/hex"
	"errors"
	"testing"
	"time"

	"github.com/moyai-network/moyai/p2p/content"
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

// TestResultsOfARestart: before the journal is read a provider does not know whose
// results it has. It must not say that there are none: the tenant would believe it.
func TestResultsOfARestart(t *testing.T) {
	h, ctx := start(t, harnessOptions{keep: time.Hour})
	ten, order, id := h.mustRent(t, ctx, 1, false)
	say, err := hello(order.Digest, id[:], ten.key, "me")
	must(t, err)
	get := content.Get{Scope: order.Digest[:], Access: say.Access}
	must(t, h.desk.mayFetch(ctx, "me", get))
	h.desk.resumed.Store(false)
	if err := h.desk.mayFetch(ctx, "me", get); !errors.Is(err, content.ErrBusy) {
		t.Errorf("while it starts: %v", err)
	}
	h.desk.resumed.Store(true)
	a := h.desk.findOrder(order.Digest)
	a.job.mu.Lock()
	a.job.again = make(chan struct{})
	a.job.mu.Unlock()
	if err := h.desk.mayFetch(ctx, "me", get); !errors.Is(err, content.ErrBusy) {
		t.Errorf("while results are read again: %v", err)
	}
	close(a.job.again)
	must(t, h.desk.mayFetch(ctx, "me", get))
}
