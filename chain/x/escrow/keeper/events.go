package keeper

import (
	"context"
	"strings"

	sdk "github.com/cosmos/cosmos-sdk/types"

	escrowv1 "github.com/moyai-network/moyai/api/moyai/escrow/v1"
	"github.com/moyai-network/moyai/chain/event"
)

func emitLocked(ctx context.Context, kind string, id []byte, owner string, locked sdk.Coins) {
	sdk.UnwrapSDKContext(ctx).EventManager().EmitEvent(lockedEvent(kind, id, owner, locked))
}

func lockedEvent(kind string, id []byte, owner string, locked sdk.Coins) sdk.Event {
	var coins strings.Builder
	coins.WriteByte('[')
	for i, c := range locked {
		if i > 0 {
			coins.WriteByte(',')
		}
		writeCoin(&coins, c)
	}
	coins.WriteByte(']')
	return event.New("moyai.escrow.v1.EventLocked", 4).
		Raw("locked", coins.String()).
		String("owner", owner).
		Bytes("subject_id", id).
		String("subject_kind", kind).Event()
}

func emitReleased(ctx context.Context, kind string, id []byte, payments []escrowv1.Payment) {
	sdk.UnwrapSDKContext(ctx).EventManager().EmitEvent(releasedEvent(kind, id, payments))
}

func releasedEvent(kind string, id []byte, payments []escrowv1.Payment) sdk.Event {
	var list strings.Builder
	list.WriteByte('[')
	first := true
	for _, p := range payments {
		if p.Amount.IsZero() {
			continue
		}
		if !first {
			list.WriteByte(',')
		}
		first = false
		list.WriteString(`{"to":` + event.Quote(p.To) + `,"amount":`)
		writeCoin(&list, p.Amount)
		list.WriteByte('}')
	}
	list.WriteByte(']')
	return event.New("moyai.escrow.v1.EventReleased", 3).
		Raw("payments", list.String()).
		Bytes("subject_id", id).
		String("subject_kind", kind).Event()
}

func writeCoin(b *strings.Builder, c sdk.Coin) {
	b.WriteString(`{"denom":` + event.Quote(c.Denom) + `,"amount":"` + c.Amount.String() + `"}`)
}
