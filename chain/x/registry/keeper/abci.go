package keeper

import (
	"context"

	"cosmossdk.io/collections"
	sdk "github.com/cosmos/cosmos-sdk/types"

	registryv1 "github.com/moyai-network/moyai/api/moyai/registry/v1"
	"github.com/moyai-network/moyai/chain/money"
	"github.com/moyai-network/moyai/chain/x/registry/types"
	"github.com/moyai-network/moyai/mechanism/amount"
)

// EndBlock pays out unbondings that are due, at most
// Params.max_unbonding_per_block; the rest wait for the next block.
func (k Keeper) EndBlock(ctx context.Context) error {
	params, err := k.Params.Get(ctx)
	if err != nil {
		return err
	}
	due, err := k.dueUnbondings(ctx, int(params.MaxUnbondingPerBlock))
	if err != nil {
		return err
	}
	for _, key := range due {
		if err := k.completeUnbonding(ctx, key, params.BondDenom); err != nil {
			return err
		}
	}
	return nil
}

func (k Keeper) dueUnbondings(ctx context.Context, limit int) ([]dueKey, error) {
	now := sdk.UnwrapSDKContext(ctx).BlockTime().UnixMilli()
	var due []dueKey
	rng := new(collections.Range[dueKey]).EndExclusive(collections.PairPrefix[int64, uint64](now + 1))
	err := k.UnbondingQueue.Walk(ctx, rng, func(key dueKey) (bool, error) {
		due = append(due, key)
		return len(due) >= limit, nil
	})
	return due, err
}

func (k Keeper) completeUnbonding(ctx context.Context, key dueKey, denom string) error {
	u, err := k.Unbondings.Get(ctx, key.K2())
	if err != nil {
		return err
	}
	operator, err := k.operator(u.Operator)
	if err != nil {
		return err
	}
	sum, err := amount.Parse(u.Amount)
	if err != nil {
		return err
	}
	if err := k.Unbondings.Remove(ctx, u.Id); err != nil {
		return err
	}
	if err := k.UnbondingQueue.Remove(ctx, key); err != nil {
		return err
	}
	if err := k.UnbondingsByOperator.Remove(ctx, collections.Join(operator, u.Id)); err != nil {
		return err
	}
	if err := k.bank.SendCoinsFromModuleToAccount(ctx, types.ModuleName, operator, sdk.Coins{money.Coin(denom, sum)}); err != nil {
		return err
	}
	return sdk.UnwrapSDKContext(ctx).EventManager().EmitTypedEvent(&registryv1.EventUnbonded{Operator: u.Operator, Amount: u.Amount})
}
