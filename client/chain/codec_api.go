package chain

import (
	codectypes "github.com/cosmos/cosmos-sdk/codec/types"
	sdk "github.com/cosmos/cosmos-sdk/types"
	"github.com/cosmos/cosmos-sdk/types/msgservice"
	banktypes "github.com/cosmos/cosmos-sdk/x/bank/types"

	escrowv1 "github.com/moyai-network/moyai/api/moyai/escrow/v1"
	marketv1 "github.com/moyai-network/moyai/api/moyai/market/v1"
	registryv1 "github.com/moyai-network/moyai/api/moyai/registry/v1"
)

// registerAPI registers the messages of Moyai's own modules.
func registerAPI(reg codectypes.InterfaceRegistry) {
	reg.RegisterImplementations((*sdk.Msg)(nil),
		&escrowv1.MsgUpdateParams{},
		&marketv1.MsgOpenLeases{}, &marketv1.MsgCloseLeases{}, &marketv1.MsgUpdateParams{},
		&registryv1.MsgRegisterProvider{}, &registryv1.MsgSetNode{}, &registryv1.MsgRevokeNode{},
		&registryv1.MsgBond{}, &registryv1.MsgUnbond{}, &registryv1.MsgLeave{}, &registryv1.MsgUpdateParams{},
	)
	msgservice.RegisterMsgServiceDesc(reg, &escrowv1.Msg_serviceDesc)
	msgservice.RegisterMsgServiceDesc(reg, &marketv1.Msg_serviceDesc)
	msgservice.RegisterMsgServiceDesc(reg, &registryv1.Msg_serviceDesc)
}

// gasOfMessage is the fixed table: what the handlers use at most in ordinary
// states, signatures included. Unknown messages are simulated.
func gasOfMessage(m sdk.Msg) (uint64, bool) {
	switch m := m.(type) {
	case *marketv1.MsgOpenLeases:
		g := uint64(20_000)
		for _, item := range m.Items {
			g += 150_000 + 30_000*uint64(len(item.Candidates))
		}
		return g, true
	case *marketv1.MsgCloseLeases:
		return 20_000 + 200_000*uint64(len(m.Items)), true
	case *banktypes.MsgSend:
		return 80_000, true
	default:
		return 0, false
	}
}
