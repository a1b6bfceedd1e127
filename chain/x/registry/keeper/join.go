package keeper

import (
	"bytes"
	"context"
	"errors"

	sdk "github.com/cosmos/cosmos-sdk/types"

	registryv1 "github.com/moyai-network/moyai/api/moyai/registry/v1"
	"github.com/moyai-network/moyai/chain/money"
	"github.com/moyai-network/moyai/chain/x/registry/types"
	"github.com/moyai-network/moyai/mechanism/amount"
	"github.com/moyai-network/moyai/wire"
)

// maxRecordAge is how far a record's sequence, read as unix ms, may be from block
// time for its node to join by it: consent that was never used does not stay a
// way in for whoever finds it.
const maxRecordAge = 24 * 3_600_000

// JoinNode is AdmitNode for a node that may come with its record. One that the
// chain does not know joins by it: the node is registered, and its operator too
// unless it is a provider already. Nobody has signed the transaction for them,
// so the record must bear the operator's signature beside the node's. first is
// what whoever brings a new provider owes it: its first fees.
func (k Keeper) JoinNode(ctx context.Context, node, record []byte, operator sdk.AccAddress) (admitted sdk.AccAddress, first sdk.Coin, err error) {
	admitted, err = k.AdmitNode(ctx, node)
	if len(record) == 0 || !errors.Is(err, types.ErrUnknownNode) {
		return admitted, sdk.Coin{}, err
	}
	signed, err := k.consented(sdk.UnwrapSDKContext(ctx), node, record, operator)
	if err != nil {
		return nil, sdk.Coin{}, err
	}
	first, err = k.join(ctx, operator, signed)
	return operator, first, err
}

// consented reads a record by which a node may join.
func (k Keeper) consented(ctx sdk.Context, node, raw []byte, operator sdk.AccAddress) (wire.NodeRecord, error) {
	signed, err := openRecord(ctx, operator, raw, func(sdk.AccAddress) bool { return false })
	record := signed.Value
	if err != nil {
		return record, err
	}
	if !bytes.Equal(record.Node, node) {
		return record, types.ErrRecordNode.Wrapf("%x, not %x", record.Node, node)
	}
	now := uint64(max(0, ctx.BlockTime().UnixMilli()))
	if record.Sequence+maxRecordAge < now || record.Sequence > now+maxRecordAge {
		return record, types.ErrRecordTime.Wrapf("sequence %d, block time %d", record.Sequence, now)
	}
	ctx.GasMeter().ConsumeGas(gasRecord, "operator's signature of a node record")
	if err := wire.VerifyConsent(signed); err != nil {
		return record, types.ErrRecordConsent.Wrap(err.Error())
	}
	return record, nil
}

// join registers a node, and its operator if that is new.
func (k Keeper) join(ctx context.Context, operator sdk.AccAddress, record wire.NodeRecord) (first sdk.Coin, err error) {
	params, err := k.Params.Get(ctx)
	if err != nil {
		return first, err
	}
	p, err := k.provider(ctx, operator)
	switch {
	case errors.Is(err, types.ErrUnknownProvider):
		p = registryv1.Provider{Bond: "0", Locked: "0", Joined: true}
		if p.Operator, err = k.addresses.BytesToString(operator); err != nil {
			return first, err
		}
		fees, err := amount.Parse(params.FirstFees)
		if err != nil {
			return first, types.ErrInvalidParams.Wrapf("first_fees: %s", err)
		}
		first = money.Coin(params.BondDenom, fees)
		if err := sdk.UnwrapSDKContext(ctx).EventManager().EmitTypedEvent(
			&registryv1.EventProviderRegistered{Operator: p.Operator, Bond: p.Bond}); err != nil {
			return first, err
		}
	case err != nil:
		return first, err
	case p.Leaving:
		return first, types.ErrLeaving.Wrap(p.Operator)
	case p.Nodes >= params.MaxNodesPerProvider:
		return first, types.ErrTooManyNodes.Wrapf("%d", p.Nodes)
	}
	p.Nodes++
	if err := k.Providers.Set(ctx, operator, p); err != nil {
		return first, err
	}
	return first, k.setNode(ctx, p.Operator, record, nil)
}
