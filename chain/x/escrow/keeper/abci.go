package keeper

import (
	"context"
	"errors"

	"cosmossdk.io/collections"
	sdk "github.com/cosmos/cosmos-sdk/types"
	authtypes "github.com/cosmos/cosmos-sdk/x/auth/types"

	escrowv1 "github.com/moyai-network/moyai/api/moyai/escrow/v1"
	"github.com/moyai-network/moyai/chain/x/escrow/types"
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

// EndBlock burns, pools and bonds what the block's settlements owe, once for all
// of them: a burn and a transfer per lease would cost more than the lease. It must
// run after every module that settles.
func (k Keeper) EndBlock(ctx context.Context) error {
	due, err := k.Due.Get(ctx)
	if errors.Is(err, collections.ErrNotFound) {
		return nil
	} else if err != nil {
		return err
	}
	if burned := sdk.Coins(due.Burned); !burned.Empty() {
		if err := k.bank.BurnCoins(ctx, types.ModuleName, burned); err != nil {
			return err
		}
	}
	if pooled := sdk.Coins(due.Pooled); !pooled.Empty() {
		if err := k.bank.SendCoinsFromModuleToModule(ctx, types.ModuleName, authtypes.FeeCollectorName, pooled); err != nil {
			return err
		}
	}
	if bonded := sdk.Coins(due.Bonded); !bonded.Empty() {
		if err := k.bank.SendCoinsFromModuleToModule(ctx, types.ModuleName, types.BondHolder, bonded); err != nil {
			return err
		}
	}
	totals, err := k.Totals.Get(ctx)
	if err != nil && !errors.Is(err, collections.ErrNotFound) {
		return err
	}
	totals.Burned = sdk.Coins(totals.Burned).Add(due.Burned...)
	totals.Pooled = sdk.Coins(totals.Pooled).Add(due.Pooled...)
	totals.Paid = sdk.Coins(totals.Paid).Add(due.Paid...)
	totals.Bonded = sdk.Coins(totals.Bonded).Add(due.Bonded...)
	if err := k.Totals.Set(ctx, totals); err != nil {
		return err
	}
	return k.Due.Remove(ctx)
}
