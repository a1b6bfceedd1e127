package keeper

import (
	"context"

	"cosmossdk.io/collections"
	sdk "github.com/cosmos/cosmos-sdk/types"

	escrowtypes "github.com/moyai-network/moyai/chain/x/escrow/types"
	"github.com/moyai-network/moyai/mechanism/lease"
)

// EndBlock works off the queues: deadlines of leases, closed leases to forget,
// used orders that have expired. Each is bounded per block; what is left over
// waits, and nobody's money depends on when: deadlines are judged on use.
func (k Keeper) EndBlock(ctx context.Context) error {
	sdkCtx := sdk.UnwrapSDKContext(ctx)
	now, err := k.moment(sdkCtx)
	if err != nil {
		return err
	}
	limit := int(now.params.MaxQueuePerBlock)
	if err := k.expireLeases(sdkCtx, now, limit); err != nil {
		return err
	}
	if err := k.pruneLeases(sdkCtx, now.meterMS, limit); err != nil {
		return err
	}
	return k.forgetOrders(sdkCtx, now.blockMS, limit)
}

func (k Keeper) expireLeases(ctx sdk.Context, now moment, limit int) error {
	due, err := dueBefore(ctx, k.Deadlines, now.meterMS, limit)
	if err != nil {
		return err
	}
	for _, key := range due {
		branch, commit := ctx.CacheContext()
		if err := k.expire(branch, now, key.K2()); err != nil {
			// One lease that cannot be paid out must not stop the chain, nor hold up
			// the queue: it leaves the queue, and its record and hold stay as they are.
			ctx.Logger().Error("lease did not expire", "lease", key.K2(), "error", err)
			if err := k.Deadlines.Remove(ctx, key); err != nil {
				return err
			}
			continue
		}
		commit()
	}
	return nil
}

func (k Keeper) expire(ctx sdk.Context, now moment, id []byte) error {
	record, before, err := k.lease(ctx, id)
	if err != nil {
		return err
	}
	after, err := before.Apply(now.rules, lease.Expire{}, now.meterMS)
	if err != nil {
		return err
	}
	// Each for itself: one that cannot be paid must not hold up the others.
	var till escrowtypes.Till
	if err := k.advance(ctx, &till, now, record, before, after); err != nil {
		return err
	}
	return k.escrow.Settle(ctx, &till)
}

func (k Keeper) pruneLeases(ctx sdk.Context, meterMS uint64, limit int) error {
	due, err := dueBefore(ctx, k.Prune, meterMS, limit)
	if err != nil {
		return err
	}
	for _, key := range due {
		if err := k.prune(ctx, key); err != nil {
			return err
		}
	}
	return nil
}

func (k Keeper) prune(ctx sdk.Context, key dueKey) error {
	id := key.K2()
	record, err := k.Leases.Get(ctx, id)
	if err != nil {
		return err
	}
	payer, provider, err := k.parties(&record)
	if err != nil {
		return err
	}
	if err := k.Prune.Remove(ctx, key); err != nil {
		return err
	}
	if err := k.ByPayer.Remove(ctx, collections.Join3(payer, record.OpenedAt, id)); err != nil {
		return err
	}
	if err := k.ByProvider.Remove(ctx, collections.Join3(provider, record.OpenedAt, id)); err != nil {
		return err
	}
	return k.Leases.Remove(ctx, id)
}

// forgetOrders drops orders that could not be used again anyway.
func (k Keeper) forgetOrders(ctx sdk.Context, blockMS int64, limit int) error {
	var expired []usedKey
	rng := new(collections.Range[usedKey]).EndExclusive(collections.PairPrefix[int64, []byte](blockMS + 1))
	err := k.UsedOrders.Walk(ctx, rng, func(key usedKey) (bool, error) {
		expired = append(expired, key)
		return len(expired) >= limit, nil
	})
	if err != nil {
		return err
	}
	for _, key := range expired {
		if err := k.UsedOrders.Remove(ctx, key); err != nil {
			return err
		}
	}
	return nil
}

// dueBefore lists at most limit entries of a queue that are due at meterMS.
func dueBefore(ctx context.Context, queue collections.KeySet[dueKey], meterMS uint64, limit int) ([]dueKey, error) {
	var due []dueKey
	rng := new(collections.Range[dueKey]).EndExclusive(collections.PairPrefix[uint64, []byte](meterMS + 1))
	err := queue.Walk(ctx, rng, func(key dueKey) (bool, error) {
		due = append(due, key)
		return len(due) >= limit, nil
	})
	return due, err
}
