package keeper

import (
	"context"

	sdk "github.com/cosmos/cosmos-sdk/types"

	registryv1 "github.com/moyai-network/moyai/api/moyai/registry/v1"
	"github.com/moyai-network/moyai/chain/x/registry/types"
)

// SetHot implements registryv1.MsgServer.
func (s msgServer) SetHot(ctx context.Context, msg *registryv1.MsgSetHot) (*registryv1.MsgSetHotResponse, error) {
	operator, err := s.operator(msg.Operator)
	if err != nil {
		return nil, err
	}
	hot := ""
	if msg.Hot != "" {
		account, err := s.operator(msg.Hot)
		if err != nil {
			return nil, err
		}
		if hot, err = s.addresses.BytesToString(account); err != nil {
			return nil, err
		}
	}
	p, err := s.provider(ctx, operator)
	if err != nil {
		return nil, err
	}
	if p.Hot == hot {
		return nil, types.ErrSameHot.Wrapf("%q", hot)
	}
	p.Hot = hot
	if err := s.Providers.Set(ctx, operator, p); err != nil {
		return nil, err
	}
	return &registryv1.MsgSetHotResponse{}, sdk.UnwrapSDKContext(ctx).EventManager().EmitTypedEvent(
		&registryv1.EventHotSet{Operator: msg.Operator, Hot: hot})
}

// HotOf is the account that acts for a provider's machines; empty if it named
// none, or is no provider.
func (k Keeper) HotOf(ctx context.Context, operator sdk.AccAddress) string {
	p, err := k.provider(ctx, operator)
	if err != nil {
		return ""
	}
	return p.Hot
}
