package types

import (
	"fmt"

	sdk "github.com/cosmos/cosmos-sdk/types"

	marketv1 "github.com/moyai-network/moyai/api/moyai/market/v1"
	"github.com/moyai-network/moyai/mechanism/amount"
	"github.com/moyai-network/moyai/mechanism/lease"
	"github.com/moyai-network/moyai/wire"
)

const (
	second = 1_000
	minute = 60 * second
	hour   = 60 * minute
	day    = 24 * hour
)

// Bounds that no governance may lift: they keep blocks finite.
const (
	hardItems      = 1_000
	hardCandidates = 16
	hardQueue      = 10_000
)

// DefaultParams suit a network between strangers: ten minutes to show what one
// holds, a month of lease, a week of memory.
func DefaultParams() marketv1.Params {
	return marketv1.Params{
		WindowMs:         10 * minute,
		MaxTimeoutMs:     30 * day,
		MaxGraceMs:       hour,
		MaxUnackedMs:     10 * minute,
		MaxBidLifeMs:     30 * second,
		MaxOrderLifeMs:   10 * minute,
		Denoms:           []marketv1.Denom{{Denom: "umoy", Bounty: "20"}},
		MaxItems:         256,
		MaxCandidates:    4,
		PruneAfterMs:     7 * day,
		MaxQueuePerBlock: 256,
		SkewMs:           30 * second,
		GasPerSignature:  600,
	}
}

// LeaseParams are the market's parameters as the rules read them. The escrow's
// share and a denomination's bounty are the caller's to add.
func LeaseParams(p marketv1.Params) lease.Params {
	return lease.Params{
		WindowMS: p.WindowMs, MaxTimeoutMS: p.MaxTimeoutMs, MaxGraceMS: p.MaxGraceMs, MaxUnackedMS: p.MaxUnackedMs,
		MaxBidLifeMS: p.MaxBidLifeMs, MaxOrderLifeMS: p.MaxOrderLifeMs, SkewMS: p.SkewMs, MaxCandidates: int(p.MaxCandidates),
	}
}

// ValidateParams refuses parameters that contradict themselves or leave a block
// without bound.
func ValidateParams(p marketv1.Params) error {
	if err := LeaseParams(p).Validate(); err != nil {
		return ErrInvalidParams.Wrap(err.Error())
	}
	switch {
	case p.MaxItems == 0 || p.MaxItems > hardItems:
		return ErrInvalidParams.Wrapf("max_items %d, must be 1 to %d", p.MaxItems, hardItems)
	case p.MaxCandidates > hardCandidates:
		return ErrInvalidParams.Wrapf("max_candidates %d, at most %d", p.MaxCandidates, hardCandidates)
	case p.MaxQueuePerBlock == 0 || p.MaxQueuePerBlock > hardQueue:
		return ErrInvalidParams.Wrapf("max_queue_per_block %d, must be 1 to %d", p.MaxQueuePerBlock, hardQueue)
	case p.PruneAfterMs > wire.MaxMS:
		return ErrInvalidParams.Wrapf("prune_after_ms %d is beyond time", p.PruneAfterMs)
	case p.GasPerSignature == 0:
		return ErrInvalidParams.Wrap("gas_per_signature is zero: nested signatures would be free")
	case len(p.Denoms) == 0:
		return ErrInvalidParams.Wrap("no denomination to price leases in")
	}
	seen := map[string]bool{}
	for _, d := range p.Denoms {
		if err := sdk.ValidateDenom(d.Denom); err != nil || seen[d.Denom] {
			return ErrInvalidParams.Wrapf("denomination %q is invalid or listed twice", d.Denom)
		}
		seen[d.Denom] = true
		if _, err := amount.Parse(d.Bounty); err != nil {
			return ErrInvalidParams.Wrapf("bounty of %s: %s", d.Denom, err)
		}
	}
	return nil
}

// DefaultGenesis is a market nobody has traded on.
func DefaultGenesis() *marketv1.GenesisState {
	return &marketv1.GenesisState{Params: DefaultParams()}
}

// ValidateGenesis checks parameters and that leases, slots and orders are
// unique and well formed.
func ValidateGenesis(g *marketv1.GenesisState) error {
	if err := ValidateParams(g.Params); err != nil {
		return err
	}
	leases := map[string]bool{}
	for i := range g.Leases {
		l := &g.Leases[i]
		if len(l.Id) != wire.LeaseIDSize || leases[string(l.Id)] {
			return fmt.Errorf("lease %d: id %x is malformed or listed twice", i, l.Id)
		}
		leases[string(l.Id)] = true
		if _, err := ToLease(l); err != nil {
			return fmt.Errorf("lease %x: %w", l.Id, err)
		}
	}
	slots := map[string]bool{}
	for i, s := range g.Slots {
		key := fmt.Sprintf("%x/%d", s.Node, s.Slot)
		if len(s.Node) != wire.KeySize || slots[key] {
			return fmt.Errorf("slot %d: %s is malformed or listed twice", i, key)
		}
		slots[key] = true
	}
	orders := map[string]bool{}
	for i, o := range g.UsedOrders {
		if len(o.OrderHash) != wire.DigestSize || orders[string(o.OrderHash)] {
			return fmt.Errorf("used order %d: hash %x is malformed or listed twice", i, o.OrderHash)
		}
		orders[string(o.OrderHash)] = true
	}
	return nil
}
