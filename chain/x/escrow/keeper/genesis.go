package keeper

import (
	"context"
	"errors"

	"cosmossdk.io/collections"
	sdk "github.com/cosmos/cosmos-sdk/types"

	escrowv1 "github.com/moyai-network/moyai/api/moyai/escrow/v1"
)

// InitGenesis loads the module's state; the bank's genesis already gave the
// module account the money the holds speak of.
func (k Keeper) InitGenesis(ctx context.Context, g *escrowv1.GenesisState) error {
	if err := k.Params.Set(ctx, g.Params); err != nil {
		return err
	}
	if err := k.Clock.Set(ctx, g.Clock); err != nil {
		return err
	}
	if err := k.Totals.Set(ctx, g.Totals); err != nil {
		return err
	}
	for _, h := range g.Holds {
		owner, err := k.addresses.StringToBytes(h.Owner)
		if err != nil {
			return err
		}
		if err := k.Holds.Set(ctx, collections.Join3(sdk.AccAddress(owner), h.SubjectKind, h.SubjectId), h); err != nil {
			return err
		}
	}
	return nil
}

// ExportGenesis is the whole state, in key order.
func (k Keeper) ExportGenesis(ctx context.Context) (*escrowv1.GenesisState, error) {
	g := &escrowv1.GenesisState{}
	var err error
	if g.Params, err = k.Params.Get(ctx); err != nil {
		return nil, err
	}
	if g.Clock, err = k.Clock.Get(ctx); err != nil && !errors.Is(err, collections.ErrNotFound) {
		return nil, err
	}
	if g.Totals, err = k.Totals.Get(ctx); err != nil && !errors.Is(err, collections.ErrNotFound) {
		return nil, err
	}
	err = k.Holds.Walk(ctx, nil, func(_ holdKey, h escrowv1.Hold) (bool, error) {
		g.Holds = append(g.Holds, h)
		return false, nil
	})
	return g, err
}
