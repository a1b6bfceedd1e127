package keeper

import (
	"errors"

	"cosmossdk.io/collections"
	sdk "github.com/cosmos/cosmos-sdk/types"

	marketv1 "github.com/moyai-network/moyai/api/moyai/market/v1"
	"github.com/moyai-network/moyai/chain/parallel"
	escrowtypes "github.com/moyai-network/moyai/chain/x/escrow/types"
	"github.com/moyai-network/moyai/chain/x/market/types"
	"github.com/moyai-network/moyai/mechanism/lease"
)

// closer applies the items of one message.
type closer struct {
	Keeper
	moment
	till   escrowtypes.Till
	sender string
}

// evidence proves what all items show. Items whose lease is unknown or closed
// show nothing: several race to close, and the others should not cost a
// verification each.
func (c *closer) evidence(ctx sdk.Context, items []marketv1.CloseItem) ([]evidence, error) {
	of := make([]*keys, len(items))
	total := 0
	for i := range items {
		record, err := c.Leases.Get(ctx, items[i].LeaseId)
		if errors.Is(err, collections.ErrNotFound) || err == nil && record.State == marketv1.LeaseState_LEASE_STATE_CLOSED {
			continue
		} else if err != nil {
			return nil, err
		}
		k := keysOf(&record)
		of[i] = &k
		total += signatures(&items[i])
	}
	c.charge(ctx, total)
	shown := make([]evidence, len(items))
	parallel.Each(len(items), func(i int) {
		if of[i] != nil {
			shown[i] = c.moment.evidence(*of[i], &items[i])
		}
	})
	return shown, nil
}

// item applies one step to one lease, or refuses and leaves nothing behind.
func (c *closer) item(ctx sdk.Context, item *marketv1.CloseItem, shown evidence) (marketv1.LeaseState, error) {
	record, before, err := c.lease(ctx, item.LeaseId)
	if err != nil {
		return 0, err
	}
	if before.State == lease.StateClosed {
		return record.State, types.ErrClosed.Wrapf("%x", record.Id)
	}
	step, err := c.step(ctx, item, shown, &record)
	if err != nil {
		return record.State, err
	}
	after, err := before.Apply(c.rules, step, c.meterMS)
	if err != nil {
		return record.State, err
	}
	if after.Final {
		record.Outputs = shown.receipt.Outputs
	}
	branch, commit := ctx.CacheContext()
	till := c.till.Branch()
	if err := c.advance(branch, till, c.moment, record, before, after); err != nil {
		return record.State, err
	}
	if after.State == lease.StateSettling && item.Action != marketv1.CloseAction_CLOSE_ACTION_ONE_SIDED {
		emitUpdated(branch, &record, item.Action, after)
	}
	commit()
	till.Commit()
	return marketv1.LeaseState(after.State), nil
}

// step is what an item asks of the rules, given what it shows.
func (c *closer) step(ctx sdk.Context, item *marketv1.CloseItem, shown evidence, record *marketv1.Lease) (lease.Step, error) {
	var by lease.Party
	if item.Action == marketv1.CloseAction_CLOSE_ACTION_ONE_SIDED {
		if by = c.party(ctx, record); by == lease.PartyNone {
			return nil, types.ErrNotAParty.Wrap(c.sender)
		}
	}
	if shown.err != nil {
		return nil, shown.err
	}
	r := shown.receipt
	switch item.Action {
	case marketv1.CloseAction_CLOSE_ACTION_FINAL:
		if !r.Final {
			return nil, types.ErrNotFinal.Wrapf("sequence %d", r.Sequence)
		}
		return lease.FinalReceipt{
			Sequence: r.Sequence, ElapsedMS: r.ElapsedMS, Reason: lease.Reason(r.Reason),
			NodeSigned: shown.nodeSigned, KeySigned: shown.keySigned, AwayMS: shown.awayMS, Sender: c.sender,
		}, nil
	case marketv1.CloseAction_CLOSE_ACTION_RECEIPT:
		return lease.Receipt{
			Sequence: r.Sequence, ElapsedMS: r.ElapsedMS,
			NodeSigned: shown.nodeSigned, KeySigned: shown.keySigned, AwayMS: shown.awayMS, Sender: c.sender,
		}, nil
	case marketv1.CloseAction_CLOSE_ACTION_CLAIM:
		return lease.Claim{ElapsedMS: shown.elapsedMS, Sender: c.sender}, nil
	case marketv1.CloseAction_CLOSE_ACTION_CONTEST:
		return lease.Contest{ElapsedMS: shown.elapsedMS, Sender: c.sender}, nil
	}
	s := lease.OneSided{By: by, Reason: lease.Reason(item.Reason), AwayMS: shown.awayMS, Sender: c.sender}
	if r != nil {
		s.Receipt = &lease.Shown{Sequence: r.Sequence, ElapsedMS: r.ElapsedMS, NodeSigned: shown.nodeSigned, KeySigned: shown.keySigned}
	}
	return s, nil
}

// party is which side of a lease the sender is: an account of its own, or a
// provider's hot one. Someone who is both closes as the payer, whose close can be
// answered.
func (c *closer) party(ctx sdk.Context, record *marketv1.Lease) lease.Party {
	switch c.sender {
	case record.Payer:
		return lease.PartyPayer
	case record.Provider:
		return lease.PartyProvider
	}
	if _, provider, err := c.parties(record); err == nil && c.registry.HotOf(ctx, provider) == c.sender {
		return lease.PartyProvider
	}
	return lease.PartyNone
}
