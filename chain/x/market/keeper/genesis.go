package keeper

import (
	"context"

	"cosmossdk.io/collections"
	sdk "github.com/cosmos/cosmos-sdk/types"

	marketv1 "github.com/moyai-network/moyai/api/moyai/market/v1"
	"github.com/moyai-network/moyai/chain/x/market/types"
	"github.com/moyai-network/moyai/mechanism/lease"
)

// InitGenesis loads leases, slots and used orders and rebuilds indexes and
// queues from them; the escrow's genesis has the holds.
func (k Keeper) InitGenesis(ctx context.Context, g *marketv1.GenesisState) error {
	if err := k.Params.Set(ctx, g.Params); err != nil {
		return err
	}
	sdkCtx := sdk.UnwrapSDKContext(ctx)
	for i := range g.Leases {
		if err := k.importLease(sdkCtx, g.Params, &g.Leases[i]); err != nil {
			return err
		}
	}
	for _, s := range g.Slots {
		if err := k.Slots.Set(ctx, collections.Join(s.Node, s.Slot), s); err != nil {
			return err
		}
	}
	for _, o := range g.UsedOrders {
		if err := k.UsedOrders.Set(ctx, collections.Join(o.ExpiresAt, o.OrderHash)); err != nil {
			return err
		}
	}
	return nil
}

func (k Keeper) importLease(ctx sdk.Context, params marketv1.Params, record *marketv1.Lease) error {
	l, err := types.ToLease(record)
	if err != nil {
		return err
	}
	payer, provider, err := k.parties(record)
	if err != nil {
		return err
	}
	if err := k.insert(ctx, *record, l, payer, provider); err != nil {
		return err
	}
	if l.State != lease.StateClosed {
		return nil
	}
	return k.Prune.Set(ctx, collections.Join(l.ClosedAt+params.PruneAfterMs, record.Id))
}

// ExportGenesis is the whole state but for what InitGenesis derives.
func (k Keeper) ExportGenesis(ctx context.Context) (*marketv1.GenesisState, error) {
	g := &marketv1.GenesisState{}
	var err error
	if g.Params, err = k.Params.Get(ctx); err != nil {
		return nil, err
	}
	err = k.Leases.Walk(ctx, nil, func(_ []byte, l marketv1.Lease) (bool, error) {
		g.Leases = append(g.Leases, l)
		return false, nil
	})
	if err != nil {
		return nil, err
	}
	err = k.Slots.Walk(ctx, nil, func(_ slotKey, s marketv1.SlotState) (bool, error) {
		g.Slots = append(g.Slots, s)
		return false, nil
	})
	if err != nil {
		return nil, err
	}
	err = k.UsedOrders.Walk(ctx, nil, func(key usedKey) (bool, error) {
		g.UsedOrders = append(g.UsedOrders, marketv1.UsedOrder{ExpiresAt: key.K1(), OrderHash: key.K2()})
		return false, nil
	})
	return g, err
}
