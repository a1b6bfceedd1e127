package keeper

import (
	"context"

	escrowv1 "github.com/moyai-network/moyai/api/moyai/escrow/v1"
	"github.com/moyai-network/moyai/chain/x/escrow/types"
)

type msgServer struct{ Keeper }

// NewMsgServer serves the module's messages.
func NewMsgServer(k Keeper) escrowv1.MsgServer { return msgServer{k} }

// UpdateParams implements escrowv1.MsgServer.
func (s msgServer) UpdateParams(ctx context.Context, msg *escrowv1.MsgUpdateParams) (*escrowv1.MsgUpdateParamsResponse, error) {
	if msg.Authority != s.authority {
		return nil, types.ErrUnauthorized.Wrapf("the authority is %s, not %s", s.authority, msg.Authority)
	}
	if err := types.ValidateParams(msg.Params); err != nil {
		return nil, err
	}
	return &escrowv1.MsgUpdateParamsResponse{}, s.Params.Set(ctx, msg.Params)
}
