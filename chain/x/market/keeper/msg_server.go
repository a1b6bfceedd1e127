package keeper

import (
	"context"

	errorsmod "cosmossdk.io/errors"
	sdk "github.com/cosmos/cosmos-sdk/types"

	marketv1 "github.com/moyai-network/moyai/api/moyai/market/v1"
	"github.com/moyai-network/moyai/chain/x/market/types"
)

type msgServer struct{ Keeper }

// NewMsgServer serves the module's messages.
func NewMsgServer(k Keeper) marketv1.MsgServer { return msgServer{k} }

// OpenLeases implements marketv1.MsgServer. Each item stands for itself unless
// the message is atomic; refusals are in the response.
func (s msgServer) OpenLeases(goCtx context.Context, msg *marketv1.MsgOpenLeases) (*marketv1.MsgOpenLeasesResponse, error) {
	ctx := sdk.UnwrapSDKContext(goCtx)
	payer, err := s.account(msg.Payer)
	if err != nil {
		return nil, err
	}
	now, err := s.moment(ctx)
	if err != nil {
		return nil, err
	}
	if err := now.batch(len(msg.Items)); err != nil {
		return nil, err
	}
	o := opener{Keeper: s.Keeper, moment: now, payer: payer, payerText: msg.Payer, services: map[string]error{}}
	response := &marketv1.MsgOpenLeasesResponse{Results: make([]marketv1.OpenResult, len(msg.Items))}
	first := now.firstPairs(ctx, msg.Items)
	for i := range msg.Items {
		result, err := o.item(ctx, &msg.Items[i], first[i])
		if err != nil {
			return nil, err
		}
		if msg.Atomic && len(result.LeaseId) == 0 {
			return nil, atomicRefusal(i, result.Refusals)
		}
		response.Results[i] = result
	}
	if err := s.escrow.Settle(ctx, &o.till); err != nil {
		return nil, err
	}
	return response, nil
}

// CloseLeases implements marketv1.MsgServer.
func (s msgServer) CloseLeases(goCtx context.Context, msg *marketv1.MsgCloseLeases) (*marketv1.MsgCloseLeasesResponse, error) {
	ctx := sdk.UnwrapSDKContext(goCtx)
	if _, err := s.account(msg.Sender); err != nil {
		return nil, err
	}
	now, err := s.moment(ctx)
	if err != nil {
		return nil, err
	}
	if err := now.batch(len(msg.Items)); err != nil {
		return nil, err
	}
	c := closer{Keeper: s.Keeper, moment: now, sender: msg.Sender}
	response := &marketv1.MsgCloseLeasesResponse{Results: make([]marketv1.CloseResult, len(msg.Items))}
	shown, err := c.evidence(ctx, msg.Items)
	if err != nil {
		return nil, err
	}
	for i := range msg.Items {
		item := &msg.Items[i]
		state, err := c.item(ctx, item, shown[i])
		result := marketv1.CloseResult{LeaseId: item.LeaseId, State: state}
		if err != nil {
			r, fatal := refusal(err)
			if fatal != nil {
				return nil, fatal
			}
			if msg.Atomic {
				return nil, atomicRefusal(i, []marketv1.Refusal{r})
			}
			result.Refusal = &r
		}
		response.Results[i] = result
	}
	if err := s.escrow.Settle(ctx, &c.till); err != nil {
		return nil, err
	}
	return response, nil
}

// UpdateParams implements marketv1.MsgServer.
func (s msgServer) UpdateParams(ctx context.Context, msg *marketv1.MsgUpdateParams) (*marketv1.MsgUpdateParamsResponse, error) {
	if msg.Authority != s.authority {
		return nil, types.ErrUnauthorized.Wrapf("the authority is %s, not %s", s.authority, msg.Authority)
	}
	if err := types.ValidateParams(msg.Params); err != nil {
		return nil, err
	}
	return &marketv1.MsgUpdateParamsResponse{}, s.Params.Set(ctx, msg.Params)
}

// batch refuses messages with nothing in them, or too much.
func (m moment) batch(items int) error {
	switch {
	case items == 0:
		return types.ErrNoItems
	case items > int(m.params.MaxItems):
		return types.ErrTooManyItems.Wrapf("%d items where %d are allowed", items, m.params.MaxItems)
	}
	return nil
}

// atomicRefusal fails the whole transaction with the code of the item's last
// refusal: the least preferred candidate's, after all others were refused too.
func atomicRefusal(item int, refusals []marketv1.Refusal) error {
	last := refusals[len(refusals)-1]
	return errorsmod.Wrapf(errorsmod.ABCIError(last.Codespace, last.Code, last.Text), "item %d", item)
}
