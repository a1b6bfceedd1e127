package keeper

import (
	"context"

	"cosmossdk.io/collections"
	sdk "github.com/cosmos/cosmos-sdk/types"

	escrowv1 "github.com/moyai-network/moyai/api/moyai/escrow/v1"
	marketv1 "github.com/moyai-network/moyai/api/moyai/market/v1"
	"github.com/moyai-network/moyai/chain/money"
	escrowtypes "github.com/moyai-network/moyai/chain/x/escrow/types"
	"github.com/moyai-network/moyai/chain/x/market/types"
	"github.com/moyai-network/moyai/mechanism/amount"
	"github.com/moyai-network/moyai/mechanism/lease"
)

// advance writes what the rules made of a lease: its record, its place in the
// queues, and, once it is closed, its money.
func (k Keeper) advance(ctx sdk.Context, till *escrowtypes.Till, now moment, record marketv1.Lease, before, after lease.Lease) error {
	types.FromLease(&record, after)
	if err := k.requeue(ctx, record.Id, before, after); err != nil {
		return err
	}
	if after.State != lease.StateClosed {
		if before.State == lease.StateOpen {
			emitSettling(ctx, &record)
		}
		return k.Leases.Set(ctx, record.Id, record)
	}
	record.ClosedHeight = now.height
	if err := k.settle(ctx, till, &record, after); err != nil {
		return err
	}
	if err := k.Prune.Set(ctx, collections.Join(after.ClosedAt+now.params.PruneAfterMs, record.Id)); err != nil {
		return err
	}
	emitClosed(ctx, &record)
	return k.Leases.Set(ctx, record.Id, record)
}

// settle releases a closed lease's bond, adds it to its provider's record and
// bond, and pays it out of escrow.
func (k Keeper) settle(ctx sdk.Context, till *escrowtypes.Till, record *marketv1.Lease, l lease.Lease) error {
	payer, provider, err := k.parties(record)
	if err != nil {
		return err
	}
	if !l.Settlement.BondReleased.IsZero() {
		if err := k.registry.ReleaseBond(ctx, provider, l.Settlement.BondReleased); err != nil {
			return err
		}
	}
	bonded, err := k.registry.RecordLease(ctx, provider, l.Settlement.BilledMS/1000, money.Coin(record.Denom, l.Settlement.Provider))
	if err != nil {
		return err
	}
	record.Settlement.Bonded = bonded.String()
	payments, err := payments(record, l.Settlement, bonded)
	if err != nil {
		return err
	}
	return k.escrow.Release(ctx, till, payer, types.SubjectLease, record.Id, payments)
}

// payments lists where a settlement goes, one payment per beneficiary: bank
// transfers are what a close costs most, so what goes to one account goes once.
// bonded is what of the provider's part goes to its bond.
func payments(record *marketv1.Lease, s lease.Settlement, bonded amount.Amount) ([]escrowv1.Payment, error) {
	paid, err := s.Provider.Sub(bonded)
	if err != nil {
		return nil, err
	}
	bountyTo := s.BountyTo
	if bountyTo == "" {
		bountyTo = record.Payer
	}
	parts := [...]struct {
		to  string
		sum amount.Amount
	}{
		{record.Provider, paid},
		{escrowtypes.ToBond, bonded},
		{escrowtypes.ToBurn, s.Burned},
		{escrowtypes.ToPool, s.Pool},
		{record.Payer, s.Refunded},
		{record.Contester, s.Contester},
		{bountyTo, s.Bounty},
	}
	list := make([]escrowv1.Payment, 0, len(parts))
	for i, part := range parts[:] { // the array itself: sums are merged as we go
		if part.sum.IsZero() {
			continue
		}
		sum := part.sum
		for j := i + 1; j < len(parts); j++ {
			if parts[j].to != part.to {
				continue
			}
			if sum, err = sum.Add(parts[j].sum); err != nil {
				return nil, err
			}
			parts[j].sum = amount.Amount{}
		}
		list = append(list, escrowv1.Payment{To: part.to, Amount: money.Coin(record.Denom, sum)})
	}
	return list, nil
}

// enqueue places a lease that is not closed in the queue of its deadline.
func (k Keeper) enqueue(ctx context.Context, id []byte, l lease.Lease) error {
	at, ok := l.Deadline()
	if !ok {
		return nil
	}
	return k.Deadlines.Set(ctx, collections.Join(at, id))
}

// requeue moves a lease from its old deadline to its new one.
func (k Keeper) requeue(ctx context.Context, id []byte, before, after lease.Lease) error {
	old, _ := before.Deadline()
	if at, ok := after.Deadline(); ok && at == old {
		return nil
	}
	if err := k.Deadlines.Remove(ctx, collections.Join(old, id)); err != nil {
		return err
	}
	return k.enqueue(ctx, id, after)
}
