package keeper

import (
	"cmp"
	"context"
	"errors"
	"strings"

	"cosmossdk.io/collections"
	sdk "github.com/cosmos/cosmos-sdk/types"

	registryv1 "github.com/moyai-network/moyai/api/moyai/registry/v1"
	"github.com/moyai-network/moyai/chain/x/registry/types"
	"github.com/moyai-network/moyai/wire"
)

// gasRecord is charged before a node record's signature is verified.
const gasRecord = 2_000

// SetNode implements registryv1.MsgServer.
func (s msgServer) SetNode(ctx context.Context, msg *registryv1.MsgSetNode) (*registryv1.MsgSetNodeResponse, error) {
	sender, err := s.operator(msg.Operator)
	if err != nil {
		return nil, err
	}
	signed, err := openRecord(sdk.UnwrapSDKContext(ctx), sender, msg.Record, func(named sdk.AccAddress) bool {
		return s.HotOf(ctx, named) == msg.Operator
	})
	if err != nil {
		return nil, err
	}
	record, operator := signed.Value, sdk.AccAddress(signed.Value.Provider)
	if err := checkAttributes(msg.Attributes); err != nil {
		return nil, err
	}
	params, err := s.Params.Get(ctx)
	if err != nil {
		return nil, err
	}
	p, err := s.provider(ctx, operator)
	if err != nil {
		return nil, err
	}
	if p.Leaving {
		return nil, types.ErrLeaving.Wrap("register again to stay")
	}
	old, err := s.node(ctx, record.Node)
	switch {
	case errors.Is(err, types.ErrUnknownNode):
		if p.Nodes >= params.MaxNodesPerProvider {
			return nil, types.ErrTooManyNodes.Wrapf("%d", p.Nodes)
		}
		p.Nodes++
		if err := s.Providers.Set(ctx, operator, p); err != nil {
			return nil, err
		}
	case err != nil:
		return nil, err
	case old.Operator != p.Operator:
		return nil, types.ErrNodeTaken.Wrapf("%x belongs to %s", record.Node, old.Operator)
	case old.RevokedAt != 0:
		return nil, types.ErrNodeRevoked.Wrapf("%x", record.Node)
	case record.Sequence <= old.Sequence:
		return nil, types.ErrStaleRecord.Wrapf("sequence %d, on chain %d", record.Sequence, old.Sequence)
	}
	return &registryv1.MsgSetNodeResponse{}, s.setNode(ctx, p.Operator, record, msg.Attributes)
}

// setNode writes what a record says of its node.
func (k Keeper) setNode(ctx context.Context, operator string, record wire.NodeRecord, attributes []registryv1.Attribute) error {
	node := registryv1.Node{
		Node: record.Node, Operator: operator, Sequence: record.Sequence,
		Addresses: record.Addresses, Region: record.Region, Attributes: attributes,
	}
	if err := k.putNode(ctx, node); err != nil {
		return err
	}
	return sdk.UnwrapSDKContext(ctx).EventManager().EmitTypedEvent(
		&registryv1.EventNodeSet{Operator: operator, Node: record.Node, Sequence: record.Sequence})
}

// RevokeNode implements registryv1.MsgServer. The record stays as a mark: a
// revoked key never comes back, and what it signed before can still settle.
func (s msgServer) RevokeNode(ctx context.Context, msg *registryv1.MsgRevokeNode) (*registryv1.MsgRevokeNodeResponse, error) {
	n, err := s.node(ctx, msg.Node)
	if err != nil {
		return nil, err
	}
	operator, err := s.operator(n.Operator)
	if err != nil {
		return nil, err
	}
	p, err := s.provider(ctx, operator)
	switch {
	case err != nil:
		return nil, err
	case msg.Operator != p.Operator && msg.Operator != p.Hot:
		return nil, types.ErrNodeTaken.Wrapf("%x belongs to %s", msg.Node, n.Operator)
	case n.RevokedAt != 0:
		return nil, types.ErrNodeRevoked.Wrapf("%x", msg.Node)
	}
	if err := s.revoke(ctx, &p, n); err != nil {
		return nil, err
	}
	return &registryv1.MsgRevokeNodeResponse{}, s.Providers.Set(ctx, operator, p)
}

// revokeAll revokes every live node of a provider; the caller writes the
// provider. Params.max_nodes_per_provider bounds it.
func (k Keeper) revokeAll(ctx context.Context, operator sdk.AccAddress, p *registryv1.Provider) error {
	var live []registryv1.Node
	rng := collections.NewPrefixedPairRange[sdk.AccAddress, []byte](operator)
	err := k.NodesByOperator.Walk(ctx, rng, func(key nodeKey) (bool, error) {
		n, err := k.Nodes.Get(ctx, key.K2())
		if err == nil && n.RevokedAt == 0 {
			live = append(live, n)
		}
		return false, err
	})
	if err != nil {
		return err
	}
	for _, n := range live {
		if err := k.revoke(ctx, p, n); err != nil {
			return err
		}
	}
	return nil
}

func (k Keeper) revoke(ctx context.Context, p *registryv1.Provider, n registryv1.Node) error {
	sdkCtx := sdk.UnwrapSDKContext(ctx)
	n.RevokedAt = sdkCtx.BlockTime().UnixMilli()
	n.Addresses, n.Attributes = nil, nil
	p.Nodes--
	if err := k.Nodes.Set(ctx, n.Node, n); err != nil {
		return err
	}
	return sdkCtx.EventManager().EmitTypedEvent(&registryv1.EventNodeRevoked{Operator: n.Operator, Node: n.Node})
}

func (k Keeper) putNode(ctx context.Context, n registryv1.Node) error {
	operator, err := k.operator(n.Operator)
	if err != nil {
		return err
	}
	if err := k.Nodes.Set(ctx, n.Node, n); err != nil {
		return err
	}
	return k.NodesByOperator.Set(ctx, collections.Join(operator, n.Node))
}

// openRecord decodes and verifies a node's own statement of whom it works for.
// It has to name the account that shows it, unless that account acts for the
// provider it names.
func openRecord(ctx sdk.Context, sender sdk.AccAddress, raw []byte, actsFor func(sdk.AccAddress) bool) (wire.Signed[wire.NodeRecord], error) {
	signed, err := wire.Open[wire.NodeRecord](ctx.ChainID(), raw)
	switch {
	case errors.Is(err, wire.ErrWrongChain):
		return signed, types.ErrRecordChain.Wrap(err.Error())
	case err != nil:
		return signed, types.ErrBadRecord.Wrap(err.Error())
	}
	if named := sdk.AccAddress(signed.Value.Provider); !sender.Equals(named) && !actsFor(named) {
		return signed, types.ErrRecordProvider.Wrapf("%s, not %s", named, sender)
	}
	ctx.GasMeter().ConsumeGas(gasRecord, "node record signature")
	if err := wire.VerifyNodeRecord(signed); err != nil {
		return signed, types.ErrRecordSignature.Wrap(err.Error())
	}
	return signed, nil
}

// checkAttributes admits what an operator may say of its own machine: sorted,
// each once, and declared only, since it can neither measure nor attest itself.
func checkAttributes(attributes []registryv1.Attribute) error {
	if len(attributes) > types.MaxAttributes {
		return types.ErrBadAttributes.Wrapf("%d where %d are allowed", len(attributes), types.MaxAttributes)
	}
	for i, a := range attributes {
		switch {
		case a.Key == "" || len(a.Key) > types.MaxAttribute || len(a.Value) > types.MaxAttribute:
			return types.ErrBadAttributes.Wrapf("attribute %d is empty or longer than %d bytes", i, types.MaxAttribute)
		case a.Provenance != registryv1.Provenance_PROVENANCE_DECLARED:
			return types.ErrBadAttributes.Wrapf("%s claims to be %s", a.Key, a.Provenance)
		case i > 0 && compareAttributes(attributes[i-1], a) >= 0:
			return types.ErrBadAttributes.Wrapf("%s=%s follows %s=%s", a.Key, a.Value, attributes[i-1].Key, attributes[i-1].Value)
		}
	}
	return nil
}

// compareAttributes orders them by key, then value: a key may have several, such
// as the runtimes of a machine.
func compareAttributes(a, b registryv1.Attribute) int {
	return cmp.Or(strings.Compare(a.Key, b.Key), strings.Compare(a.Value, b.Value))
}
