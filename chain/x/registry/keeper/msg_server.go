package keeper

import (
	"context"
	"errors"
	"unicode/utf8"

	"cosmossdk.io/collections"
	sdk "github.com/cosmos/cosmos-sdk/types"

	registryv1 "github.com/moyai-network/moyai/api/moyai/registry/v1"
	"github.com/moyai-network/moyai/chain/money"
	"github.com/moyai-network/moyai/chain/x/registry/types"
)

type msgServer struct{ Keeper }

// NewMsgServer serves the module's messages.
func NewMsgServer(k Keeper) registryv1.MsgServer { return msgServer{k} }

// RegisterProvider implements registryv1.MsgServer. A provider that was leaving,
// or that a first lease registered, may still do it itself: it keeps its
// aggregates and what bond it has.
func (s msgServer) RegisterProvider(ctx context.Context, msg *registryv1.MsgRegisterProvider) (*registryv1.MsgRegisterProviderResponse, error) {
	operator, err := s.operator(msg.Operator)
	if err != nil {
		return nil, err
	}
	if err := checkText(msg.Moniker, types.MaxMoniker); err != nil {
		return nil, err
	}
	if err := checkText(msg.Contact, types.MaxContact); err != nil {
		return nil, err
	}
	params, err := s.Params.Get(ctx)
	if err != nil {
		return nil, err
	}
	p, b, err := s.bonded(ctx, operator)
	switch {
	case errors.Is(err, types.ErrUnknownProvider):
		p = registryv1.Provider{Operator: msg.Operator}
	case err != nil:
		return nil, err
	case !p.Leaving && !p.Joined:
		return nil, types.ErrProviderExists.Wrap(msg.Operator)
	}
	sum, err := s.deposit(ctx, operator, msg.Bond, params.BondDenom)
	if err != nil {
		return nil, err
	}
	if b.whole, err = b.whole.Add(sum); err != nil {
		return nil, types.ErrInvalidAmount.Wrap(err.Error())
	}
	p.Moniker, p.Contact, p.Leaving, p.Joined = msg.Moniker, msg.Contact, false, false
	if err := s.setBond(ctx, operator, p, b); err != nil {
		return nil, err
	}
	return &registryv1.MsgRegisterProviderResponse{}, sdk.UnwrapSDKContext(ctx).EventManager().EmitTypedEvent(
		&registryv1.EventProviderRegistered{Operator: msg.Operator, Bond: b.whole.String()})
}

// Bond implements registryv1.MsgServer.
func (s msgServer) Bond(ctx context.Context, msg *registryv1.MsgBond) (*registryv1.MsgBondResponse, error) {
	operator, err := s.operator(msg.Operator)
	if err != nil {
		return nil, err
	}
	params, err := s.Params.Get(ctx)
	if err != nil {
		return nil, err
	}
	p, b, err := s.bonded(ctx, operator)
	if err != nil {
		return nil, err
	}
	sum, err := s.deposit(ctx, operator, msg.Amount, params.BondDenom)
	if err != nil {
		return nil, err
	}
	if sum.IsZero() {
		return nil, types.ErrInvalidAmount.Wrap("a bond of nothing")
	}
	if b.whole, err = b.whole.Add(sum); err != nil {
		return nil, types.ErrInvalidAmount.Wrap(err.Error())
	}
	if err := s.setBond(ctx, operator, p, b); err != nil {
		return nil, err
	}
	return &registryv1.MsgBondResponse{}, sdk.UnwrapSDKContext(ctx).EventManager().EmitTypedEvent(
		&registryv1.EventBonded{Operator: msg.Operator, Amount: sum.String()})
}

// Unbond implements registryv1.MsgServer.
func (s msgServer) Unbond(ctx context.Context, msg *registryv1.MsgUnbond) (*registryv1.MsgUnbondResponse, error) {
	operator, err := s.operator(msg.Operator)
	if err != nil {
		return nil, err
	}
	params, err := s.Params.Get(ctx)
	if err != nil {
		return nil, err
	}
	p, b, err := s.bonded(ctx, operator)
	if err != nil {
		return nil, err
	}
	if msg.Amount.Denom != params.BondDenom {
		return nil, types.ErrBondDenom.Wrapf("%s; bonds are in %s", msg.Amount.Denom, params.BondDenom)
	}
	sum, err := money.FromInt(msg.Amount.Amount)
	if err != nil || sum.IsZero() {
		return nil, types.ErrInvalidAmount.Wrap("unbond a positive amount")
	}
	if err := b.withdraw(sum); err != nil {
		return nil, err
	}
	if err := s.setBond(ctx, operator, p, b); err != nil {
		return nil, err
	}
	due, err := s.startUnbonding(ctx, operator, msg.Operator, sum, params)
	return &registryv1.MsgUnbondResponse{CompletesAt: due}, err
}

// Leave implements registryv1.MsgServer. Sent again after leases closed, it
// unbonds what they have released since.
func (s msgServer) Leave(ctx context.Context, msg *registryv1.MsgLeave) (*registryv1.MsgLeaveResponse, error) {
	operator, err := s.operator(msg.Operator)
	if err != nil {
		return nil, err
	}
	params, err := s.Params.Get(ctx)
	if err != nil {
		return nil, err
	}
	p, b, err := s.bonded(ctx, operator)
	if err != nil {
		return nil, err
	}
	free := b.free()
	if p.Leaving && free.IsZero() {
		return nil, types.ErrNothingToReturn.Wrapf("%s is locked by leases", p.Locked)
	}
	if err := s.revokeAll(ctx, operator, &p); err != nil {
		return nil, err
	}
	p.Leaving = true
	if err := b.withdraw(free); err != nil {
		return nil, err
	}
	if err := s.setBond(ctx, operator, p, b); err != nil {
		return nil, err
	}
	if free.IsZero() {
		return &registryv1.MsgLeaveResponse{}, nil
	}
	due, err := s.startUnbonding(ctx, operator, msg.Operator, free, params)
	return &registryv1.MsgLeaveResponse{CompletesAt: due}, err
}

// UpdateParams implements registryv1.MsgServer. The denomination of bonds is
// fixed once there are bonds in it.
func (s msgServer) UpdateParams(ctx context.Context, msg *registryv1.MsgUpdateParams) (*registryv1.MsgUpdateParamsResponse, error) {
	if msg.Authority != s.authority {
		return nil, types.ErrUnauthorized.Wrapf("the authority is %s, not %s", s.authority, msg.Authority)
	}
	if err := types.ValidateParams(msg.Params); err != nil {
		return nil, err
	}
	old, err := s.Params.Get(ctx)
	if err != nil && !errors.Is(err, collections.ErrNotFound) {
		return nil, err
	}
	if err == nil && old.BondDenom != msg.Params.BondDenom {
		return nil, types.ErrInvalidParams.Wrapf("bond_denom is %s for good", old.BondDenom)
	}
	return &registryv1.MsgUpdateParamsResponse{}, s.Params.Set(ctx, msg.Params)
}

func checkText(text string, most int) error {
	if len(text) > most || !utf8.ValidString(text) {
		return types.ErrBadText.Wrapf("%d bytes where %d are allowed", len(text), most)
	}
	return nil
}
