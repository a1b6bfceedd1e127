package types

import (
	"fmt"

	sdk "github.com/cosmos/cosmos-sdk/types"

	escrowv1 "github.com/moyai-network/moyai/api/moyai/escrow/v1"
)

const bpsWhole = 10_000

// DefaultParams: 2% take, four fifths of it burned, meter steps of at most 30 s.
func DefaultParams() escrowv1.Params {
	return escrowv1.Params{TakeBps: 200, BurnBps: 8_000, MaxStepMs: 30_000}
}

// ValidateParams refuses shares above the whole and a clock that cannot move.
func ValidateParams(p escrowv1.Params) error {
	switch {
	case p.TakeBps > bpsWhole:
		return ErrInvalidParams.Wrapf("take_bps %d is more than %d", p.TakeBps, bpsWhole)
	case p.BurnBps > bpsWhole:
		return ErrInvalidParams.Wrapf("burn_bps %d is more than %d", p.BurnBps, bpsWhole)
	case p.MaxStepMs == 0:
		return ErrInvalidParams.Wrap("max_step_ms is zero: the meter clock would stand still")
	}
	return nil
}

// DefaultGenesis has no holds and a clock that has not begun.
func DefaultGenesis() *escrowv1.GenesisState {
	return &escrowv1.GenesisState{Params: DefaultParams()}
}

// ValidateGenesis checks parameters, holds (owned, positive, unique) and totals.
func ValidateGenesis(g *escrowv1.GenesisState) error {
	if err := ValidateParams(g.Params); err != nil {
		return err
	}
	seen := make(map[string]bool, len(g.Holds))
	for i, h := range g.Holds {
		if h.SubjectKind == "" || len(h.SubjectId) == 0 || h.Owner == "" {
			return fmt.Errorf("hold %d names no subject or no owner", i)
		}
		if coins := sdk.Coins(h.Locked); coins.Validate() != nil || coins.Empty() {
			return fmt.Errorf("hold %d locks %q, which is not a positive sum", i, coins)
		}
		key := h.SubjectKind + "/" + string(h.SubjectId)
		if seen[key] {
			return fmt.Errorf("hold %d: %s %x is held twice", i, h.SubjectKind, h.SubjectId)
		}
		seen[key] = true
	}
	for _, t := range []struct {
		name  string
		coins sdk.Coins
	}{{"burned", g.Totals.Burned}, {"pooled", g.Totals.Pooled}, {"paid", g.Totals.Paid}, {"bonded", g.Totals.Bonded}} {
		if err := t.coins.Validate(); err != nil {
			return fmt.Errorf("totals: %s: %w", t.name, err)
		}
	}
	return nil
}
