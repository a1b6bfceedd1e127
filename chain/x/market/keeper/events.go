package keeper

import (
	"strconv"

	sdk "github.com/cosmos/cosmos-sdk/types"

	marketv1 "github.com/moyai-network/moyai/api/moyai/market/v1"
	"github.com/moyai-network/moyai/chain/event"
	"github.com/moyai-network/moyai/mechanism/lease"
)

func emitOpened(ctx sdk.Context, l *marketv1.Lease)   { ctx.EventManager().EmitEvent(openedEvent(l)) }
func emitSettling(ctx sdk.Context, l *marketv1.Lease) { ctx.EventManager().EmitEvent(settlingEvent(l)) }
func emitClosed(ctx sdk.Context, l *marketv1.Lease)   { ctx.EventManager().EmitEvent(closedEvent(l)) }

// emitUpdated tells what a receipt, claim or contest in the window has changed.
func emitUpdated(ctx sdk.Context, l *marketv1.Lease, action marketv1.CloseAction, after lease.Lease) {
	elapsed := after.AckedMS
	switch action {
	case marketv1.CloseAction_CLOSE_ACTION_CLAIM:
		elapsed = after.ClaimMS
	case marketv1.CloseAction_CLOSE_ACTION_CONTEST:
		elapsed = after.ContestMS
	}
	ctx.EventManager().EmitEvent(updatedEvent(l, action, elapsed))
}

func openedEvent(l *marketv1.Lease) sdk.Event {
	return event.New("moyai.market.v1.EventLeaseOpened", 13).
		Bytes("bid_hash", l.BidHash).
		String("denom", l.Denom).
		Uint64("dry_at", l.DryAt).
		Uint64("generation", l.Generation).
		String("hold", l.Hold).
		Bytes("lease_id", l.Id).
		Bytes("node", l.Node).
		Uint64("opened_at", l.OpenedAt).
		Bytes("order_hash", l.OrderHash).
		String("payer", l.Payer).
		String("provider", l.Provider).
		String("rate", l.Rate).
		Uint32("slot", l.Slot).Event()
}

func settlingEvent(l *marketv1.Lease) sdk.Event {
	return event.New("moyai.market.v1.EventLeaseSettling", 5).
		Uint64("acked_ms", l.AckedMs).
		Uint32("closed_by", l.ClosedBy).
		Bytes("lease_id", l.Id).
		Bytes("node", l.Node).
		Uint64("window_ends_at", l.WindowEndsAt).Event()
}

func updatedEvent(l *marketv1.Lease, action marketv1.CloseAction, elapsedMS uint64) sdk.Event {
	return event.New("moyai.market.v1.EventLeaseUpdated", 4).
		String("action", action.String()).
		Uint64("elapsed_ms", elapsedMS).
		Bytes("lease_id", l.Id).
		Bytes("node", l.Node).Event()
}

func closedEvent(l *marketv1.Lease) sdk.Event {
	return event.New("moyai.market.v1.EventLeaseClosed", 7).
		String("denom", l.Denom).
		Bytes("lease_id", l.Id).
		Bytes("node", l.Node).
		String("payer", l.Payer).
		String("provider", l.Provider).
		Uint32("reason", l.Reason).
		Raw("settlement", settlementJSON(l.Settlement)).Event()
}

// settlementJSON writes a settlement as protobuf's JSON does, fields in order.
func settlementJSON(s *marketv1.Settlement) string {
	b := make([]byte, 0, 320)
	b = append(b, `{"billed_ms":"`...)
	b = strconv.AppendUint(b, s.BilledMs, 10)
	for _, f := range [...]struct{ key, value string }{
		{"gross", s.Gross}, {"provider", s.Provider}, {"burned", s.Burned}, {"pool", s.Pool},
		{"refunded", s.Refunded}, {"contester", s.Contester}, {"bounty", s.Bounty}, {"bounty_to", s.BountyTo}, {"bonded", s.Bonded},
	} {
		b = append(b, `","`...)
		b = append(b, f.key...)
		b = append(b, `":"`...)
		b = append(b, f.value...) // decimals and an address: nothing to escape
	}
	return string(append(b, `"}`...))
}
