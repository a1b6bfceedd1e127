package keeper

import (
	"context"
	"errors"

	"cosmossdk.io/collections"
	sdk "github.com/cosmos/cosmos-sdk/types"

	escrowv1 "github.com/moyai-network/moyai/api/moyai/escrow/v1"
	"github.com/moyai-network/moyai/mechanism/meter"
)

// BeginBlock advances the meter clock. It must run before any module that
// judges a deadline of meter time.
func (k Keeper) BeginBlock(ctx context.Context) error {
	params, err := k.Params.Get(ctx)
	if err != nil {
		return err
	}
	stored, err := k.Clock.Get(ctx)
	if err != nil && !errors.Is(err, collections.ErrNotFound) {
		return err
	}
	blockMS := sdk.UnwrapSDKContext(ctx).BlockTime().UnixMilli()
	next := meter.Clock{NowMS: stored.NowMs, LastBlockMS: stored.LastBlockMs}.Advance(blockMS, params.MaxStepMs)
	return k.Clock.Set(ctx, escrowv1.MeterClock{NowMs: next.NowMS, LastBlockMs: next.LastBlockMS})
}
