package types

import (
	"fmt"

	sdk "github.com/cosmos/cosmos-sdk/types"

	registryv1 "github.com/moyai-network/moyai/api/moyai/registry/v1"
	"github.com/moyai-network/moyai/mechanism/amount"
	"github.com/moyai-network/moyai/mechanism/escrow"
)

// BondDenom is the base denomination of the network.
const BondDenom = "umoy"

// DefaultParams: three weeks of unbonding, and a fee floor of one base unit per
// 10,000 gas, so that a lease's two transactions cost well below an ordinary
// take. A fifth of what is earned fills a bond up to 1 MOY. The first fees pay a
// newcomer's one-sided close and claim at some 20 each, and as much again.
func DefaultParams() registryv1.Params {
	return registryv1.Params{
		UnbondingMs:          21 * 24 * 3_600_000,
		MaxNodesPerProvider:  256,
		MaxUnbondingPerBlock: 64,
		BondDenom:            BondDenom,
		MinGasPrice:          100,
		BondFloor:            "1000000",
		BondFillBps:          2_000,
		FirstFees:            "100",
	}
}

// BondParams are the registry's parameters as the rules of bonds read them. They
// were validated when they were set.
func BondParams(p registryv1.Params) (escrow.BondParams, error) {
	floor, err := amount.Parse(p.BondFloor)
	if err != nil {
		return escrow.BondParams{}, ErrInvalidParams.Wrapf("bond_floor: %s", err)
	}
	b := escrow.BondParams{Floor: floor, FillBps: p.BondFillBps}
	if err := b.Validate(); err != nil {
		return b, ErrInvalidParams.Wrapf("bond_fill_bps: %s", err)
	}
	return b, nil
}

// ValidateParams refuses what would make the registry unbounded or unusable.
func ValidateParams(p registryv1.Params) error {
	if err := sdk.ValidateDenom(p.BondDenom); err != nil {
		return ErrInvalidParams.Wrapf("bond_denom: %s", err)
	}
	if _, err := BondParams(p); err != nil {
		return err
	}
	if _, err := amount.Parse(p.FirstFees); err != nil {
		return ErrInvalidParams.Wrapf("first_fees: %s", err)
	}
	switch {
	case p.UnbondingMs == 0:
		return ErrInvalidParams.Wrap("unbonding_ms is zero: a bond must outlive bids and disputes")
	case p.UnbondingMs > 1<<42:
		return ErrInvalidParams.Wrap("unbonding_ms is more than a century")
	case p.MaxNodesPerProvider == 0:
		return ErrInvalidParams.Wrap("max_nodes_per_provider is zero")
	case p.MaxUnbondingPerBlock == 0:
		return ErrInvalidParams.Wrap("max_unbonding_per_block is zero: no bond would ever return")
	}
	return nil
}

// DefaultGenesis knows one service kind, compute, and its dimensions.
func DefaultGenesis() *registryv1.GenesisState {
	return &registryv1.GenesisState{
		Params:       DefaultParams(),
		ServiceKinds: DefaultServiceKinds(),
		Dimensions:   DefaultDimensions(),
	}
}

// DefaultServiceKinds lists what can be leased today.
func DefaultServiceKinds() []registryv1.ServiceKind {
	return []registryv1.ServiceKind{{
		Name: "compute", Version: 1, Assurance: "none", VerifyPolicies: []string{"none"},
		Description: "runs a program; nothing here proves that its output is right",
	}}
}

// DefaultDimensions lists what orders may ask a quantity of, sorted by id.
func DefaultDimensions() []registryv1.Dimension {
	return []registryv1.Dimension{
		{Id: "cpu.milli", Unit: "1/1000 core", Description: "processor time share"},
		{Id: "egress.bytes", Unit: "byte", Description: "traffic out of the provider"},
		{Id: "gpu.a100", Unit: "device", Description: "NVIDIA A100"},
		{Id: "gpu.any", Unit: "device", Description: "any graphics processor"},
		{Id: "gpu.h100", Unit: "device", Description: "NVIDIA H100"},
		{Id: "gpu.h200", Unit: "device", Description: "NVIDIA H200"},
		{Id: "gpu.l40s", Unit: "device", Description: "NVIDIA L40S"},
		{Id: "gpu.memory.bytes", Unit: "byte", Description: "memory of each graphics processor"},
		{Id: "gpu.rtx4090", Unit: "device", Description: "NVIDIA RTX 4090"},
		{Id: "gpu.slice", Unit: "instance", Description: "part of a graphics processor that the hardware keeps apart (MIG)"},
		{Id: "memory.bytes", Unit: "byte", Description: "main memory"},
		{Id: "storage.bytes", Unit: "byte", Description: "scratch space on disk"},
	}
}

// ValidateGenesis checks parameters and that every row is unique and refers to
// rows that exist.
func ValidateGenesis(g *registryv1.GenesisState) error {
	if err := ValidateParams(g.Params); err != nil {
		return err
	}
	kinds := map[string]bool{}
	for _, k := range g.ServiceKinds {
		if key := fmt.Sprintf("%s/%d", k.Name, k.Version); k.Name == "" || kinds[key] {
			return fmt.Errorf("service kind %q is nameless or listed twice", key)
		} else {
			kinds[key] = true
		}
	}
	dimensions := map[string]bool{}
	for _, d := range g.Dimensions {
		if d.Id == "" || dimensions[d.Id] {
			return fmt.Errorf("dimension %q is nameless or listed twice", d.Id)
		}
		dimensions[d.Id] = true
	}
	providers := map[string]bool{}
	for _, p := range g.Providers {
		if providers[p.Operator] {
			return fmt.Errorf("provider %s is listed twice", p.Operator)
		}
		providers[p.Operator] = true
		bond, err := amount.Parse(p.Bond)
		if err != nil {
			return fmt.Errorf("provider %s: bond: %w", p.Operator, err)
		}
		locked, err := amount.Parse(p.Locked)
		if err != nil {
			return fmt.Errorf("provider %s: locked: %w", p.Operator, err)
		}
		if locked.Cmp(bond) > 0 {
			return fmt.Errorf("provider %s: %s locked of a bond of %s", p.Operator, locked, bond)
		}
	}
	nodes := map[string]bool{}
	for _, n := range g.Nodes {
		if !providers[n.Operator] {
			return fmt.Errorf("node %x belongs to %s, who is no provider", n.Node, n.Operator)
		}
		if nodes[string(n.Node)] {
			return fmt.Errorf("node %x is listed twice", n.Node)
		}
		nodes[string(n.Node)] = true
	}
	for _, u := range g.Unbondings {
		if _, err := amount.Parse(u.Amount); err != nil || u.Id >= g.NextUnbondingId {
			return fmt.Errorf("unbonding %d of %s: bad amount %q, or an id not yet given", u.Id, u.Operator, u.Amount)
		}
	}
	return nil
}
