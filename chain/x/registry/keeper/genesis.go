package keeper

import (
	"context"

	"cosmossdk.io/collections"

	registryv1 "github.com/moyai-network/moyai/api/moyai/registry/v1"
)

// InitGenesis loads the module's state and rebuilds its indexes; the bank's
// genesis already gave the module account the bonds.
func (k Keeper) InitGenesis(ctx context.Context, g *registryv1.GenesisState) error {
	if err := k.Params.Set(ctx, g.Params); err != nil {
		return err
	}
	for _, row := range g.ServiceKinds {
		if err := k.Kinds.Set(ctx, collections.Join(row.Name, row.Version), row); err != nil {
			return err
		}
	}
	for _, row := range g.Dimensions {
		if err := k.Dimensions.Set(ctx, row.Id, row); err != nil {
			return err
		}
	}
	for _, p := range g.Providers {
		operator, err := k.operator(p.Operator)
		if err != nil {
			return err
		}
		if err := k.Providers.Set(ctx, operator, p); err != nil {
			return err
		}
	}
	for _, n := range g.Nodes {
		if err := k.putNode(ctx, n); err != nil {
			return err
		}
	}
	for _, u := range g.Unbondings {
		operator, err := k.operator(u.Operator)
		if err != nil {
			return err
		}
		if err := k.putUnbonding(ctx, operator, u); err != nil {
			return err
		}
	}
	return k.NextUnbonding.Set(ctx, g.NextUnbondingId)
}

// ExportGenesis is the whole state, in key order.
func (k Keeper) ExportGenesis(ctx context.Context) (*registryv1.GenesisState, error) {
	g := &registryv1.GenesisState{}
	var err error
	if g.Params, err = k.Params.Get(ctx); err != nil {
		return nil, err
	}
	if g.ServiceKinds, err = values(ctx, k.Kinds); err != nil {
		return nil, err
	}
	if g.Dimensions, err = values(ctx, k.Dimensions); err != nil {
		return nil, err
	}
	if g.Providers, err = values(ctx, k.Providers); err != nil {
		return nil, err
	}
	if g.Nodes, err = values(ctx, k.Nodes); err != nil {
		return nil, err
	}
	if g.Unbondings, err = values(ctx, k.Unbondings); err != nil {
		return nil, err
	}
	g.NextUnbondingId, err = k.NextUnbonding.Peek(ctx)
	return g, err
}

// values lists a whole map; for genesis and small governed tables only.
func values[K, V any](ctx context.Context, m collections.Map[K, V]) ([]V, error) {
	var all []V
	err := m.Walk(ctx, nil, func(_ K, v V) (bool, error) {
		all = append(all, v)
		return false, nil
	})
	return all, err
}
