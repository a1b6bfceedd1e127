package chain

import (
	"context"
	"encoding/hex"
	"fmt"

	"github.com/cosmos/cosmos-sdk/types/query"

	escrowv1 "github.com/moyai-network/moyai/api/moyai/escrow/v1"
	marketv1 "github.com/moyai-network/moyai/api/moyai/market/v1"
	registryv1 "github.com/moyai-network/moyai/api/moyai/registry/v1"
)

// MarketParams returns the market's governed parameters.
func (c *Client) MarketParams(ctx context.Context) (marketv1.Params, error) {
	res, err := marketv1.NewQueryClient(c).Params(ctx, &marketv1.QueryParamsRequest{})
	if err != nil {
		return marketv1.Params{}, fmt.Errorf("market parameters: %w", err)
	}
	return res.Params, nil
}

// EscrowParams returns the escrow's governed parameters: take, burn, meter step.
func (c *Client) EscrowParams(ctx context.Context) (escrowv1.Params, error) {
	res, err := escrowv1.NewQueryClient(c).Params(ctx, &escrowv1.QueryParamsRequest{})
	if err != nil {
		return escrowv1.Params{}, fmt.Errorf("escrow parameters: %w", err)
	}
	return res.Params, nil
}

// RegistryParams returns the registry's governed parameters.
func (c *Client) RegistryParams(ctx context.Context) (registryv1.Params, error) {
	res, err := registryv1.NewQueryClient(c).Params(ctx, &registryv1.QueryParamsRequest{})
	if err != nil {
		return registryv1.Params{}, fmt.Errorf("registry parameters: %w", err)
	}
	return res.Params, nil
}

// MeterClock returns the chain's money clock, in milliseconds.
func (c *Client) MeterClock(ctx context.Context) (escrowv1.MeterClock, error) {
	res, err := escrowv1.NewQueryClient(c).MeterClock(ctx, &escrowv1.QueryMeterClockRequest{})
	if err != nil {
		return escrowv1.MeterClock{}, fmt.Errorf("meter clock: %w", err)
	}
	return res.Clock, nil
}

// Totals returns what settlement burned, pooled and paid since genesis.
func (c *Client) Totals(ctx context.Context) (escrowv1.Totals, error) {
	res, err := escrowv1.NewQueryClient(c).Totals(ctx, &escrowv1.QueryTotalsRequest{})
	if err != nil {
		return escrowv1.Totals{}, fmt.Errorf("escrow totals: %w", err)
	}
	return res.Totals, nil
}

// Holds lists locked money, of one owner if owner is not empty.
func (c *Client) Holds(ctx context.Context, owner string) ([]escrowv1.Hold, error) {
	var out []escrowv1.Hold
	err := pages(func(page *query.PageRequest) (*query.PageResponse, error) {
		res, err := escrowv1.NewQueryClient(c).Holds(ctx, &escrowv1.QueryHoldsRequest{Owner: owner, Pagination: page})
		if err != nil {
			return nil, err
		}
		out = append(out, res.Holds...)
		return res.Pagination, nil
	})
	if err != nil {
		return nil, fmt.Errorf("holds: %w", err)
	}
	return out, nil
}

// Lease returns one lease. ErrNotFound if the chain has none of that id, or has
// pruned it.
func (c *Client) Lease(ctx context.Context, id []byte) (*marketv1.Lease, error) {
	res, err := marketv1.NewQueryClient(c).Lease(ctx, &marketv1.QueryLeaseRequest{Id: hex.EncodeToString(id)})
	if err != nil {
		return nil, fmt.Errorf("lease %x: %w", id, err)
	}
	return &res.Lease, nil
}

// LeaseFilter narrows Leases; zero fields do not.
type LeaseFilter struct {
	Payer    string
	Provider string
	State    marketv1.LeaseState
}

// Leases lists the leases the chain still keeps.
func (c *Client) Leases(ctx context.Context, f LeaseFilter) ([]marketv1.Lease, error) {
	var out []marketv1.Lease
	err := pages(func(page *query.PageRequest) (*query.PageResponse, error) {
		res, err := marketv1.NewQueryClient(c).Leases(ctx, &marketv1.QueryLeasesRequest{
			Payer: f.Payer, Provider: f.Provider, State: f.State, Pagination: page,
		})
		if err != nil {
			return nil, err
		}
		out = append(out, res.Leases...)
		return res.Pagination, nil
	})
	if err != nil {
		return nil, fmt.Errorf("leases: %w", err)
	}
	return out, nil
}

// Slot returns the last generation the chain has seen on a node's slot (a bid
// must exceed it) and the lease that is open on it, if any.
func (c *Client) Slot(ctx context.Context, node []byte, slot uint32) (generation uint64, leaseID []byte, err error) {
	res, err := marketv1.NewQueryClient(c).Slot(ctx, &marketv1.QuerySlotRequest{Node: hex.EncodeToString(node), Slot: slot})
	if err != nil {
		return 0, nil, fmt.Errorf("slot %d of node %x: %w", slot, node, err)
	}
	return res.Generation, res.LeaseId, nil
}

// Provider returns one operator with its bond on the way back. ErrNotFound if
// the address is no provider.
func (c *Client) Provider(ctx context.Context, operator string) (registryv1.Provider, []registryv1.Unbonding, error) {
	res, err := registryv1.NewQueryClient(c).Provider(ctx, &registryv1.QueryProviderRequest{Operator: operator})
	if err != nil {
		return registryv1.Provider{}, nil, fmt.Errorf("provider %s: %w", operator, err)
	}
	return res.Provider, res.Unbonding, nil
}

// Providers lists every operator.
func (c *Client) Providers(ctx context.Context) ([]registryv1.Provider, error) {
	var out []registryv1.Provider
	err := pages(func(page *query.PageRequest) (*query.PageResponse, error) {
		res, err := registryv1.NewQueryClient(c).Providers(ctx, &registryv1.QueryProvidersRequest{Pagination: page})
		if err != nil {
			return nil, err
		}
		out = append(out, res.Providers...)
		return res.Pagination, nil
	})
	if err != nil {
		return nil, fmt.Errorf("providers: %w", err)
	}
	return out, nil
}

// Nodes lists machines, of one operator if operator is not empty; live leaves
// revoked keys out.
func (c *Client) Nodes(ctx context.Context, operator string, live bool) ([]registryv1.Node, error) {
	var out []registryv1.Node
	err := pages(func(page *query.PageRequest) (*query.PageResponse, error) {
		res, err := registryv1.NewQueryClient(c).Nodes(ctx, &registryv1.QueryNodesRequest{
			Operator: operator, Live: live, Pagination: page,
		})
		if err != nil {
			return nil, err
		}
		out = append(out, res.Nodes...)
		return res.Pagination, nil
	})
	if err != nil {
		return nil, fmt.Errorf("nodes: %w", err)
	}
	return out, nil
}

// minGasPrice is the governed fee floor, remembered until the chain refuses it.
func (c *Client) minGasPrice(ctx context.Context) (uint64, error) {
	c.mu.Lock()
	price, known := c.gasPrice, c.gasPriceKnown
	c.mu.Unlock()
	if known {
		return price, nil
	}
	params, err := c.RegistryParams(ctx)
	if err != nil {
		return 0, err
	}
	c.mu.Lock()
	c.gasPrice, c.gasPriceKnown = params.MinGasPrice, true
	c.mu.Unlock()
	return params.MinGasPrice, nil
}

func (c *Client) forgetGasPrice() {
	c.mu.Lock()
	c.gasPriceKnown = false
	c.mu.Unlock()
}
