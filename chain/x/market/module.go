// Package market is the ledger of leases: it opens them on signed orders, bids
// and readies, and closes them on signed receipts. Offers, matching and prices
// happen off the chain; the market only holds people to what they signed.
package market

import (
	"context"
	"encoding/json"
	"fmt"

	"cosmossdk.io/core/appmodule"
	"github.com/cosmos/cosmos-sdk/client"
	"github.com/cosmos/cosmos-sdk/codec"
	codectypes "github.com/cosmos/cosmos-sdk/codec/types"
	sdk "github.com/cosmos/cosmos-sdk/types"
	"github.com/cosmos/cosmos-sdk/types/module"
	"github.com/cosmos/cosmos-sdk/types/msgservice"
	gwruntime "github.com/grpc-ecosystem/grpc-gateway/runtime"

	marketv1 "github.com/moyai-network/moyai/api/moyai/market/v1"
	"github.com/moyai-network/moyai/chain/x/market/keeper"
	"github.com/moyai-network/moyai/chain/x/market/types"
)

var (
	_ module.HasGenesis       = Module{}
	_ module.HasServices      = Module{}
	_ appmodule.HasEndBlocker = Module{}
)

// Module wires the keeper into the application.
type Module struct{ keeper keeper.Keeper }

// NewModule wraps a keeper.
func NewModule(k keeper.Keeper) Module { return Module{k} }

func (Module) IsAppModule()                                  {}
func (Module) IsOnePerModuleType()                           {}
func (Module) Name() string                                  { return types.ModuleName }
func (Module) ConsensusVersion() uint64                      { return 1 }
func (Module) RegisterLegacyAminoCodec(_ *codec.LegacyAmino) {}
func (Module) RegisterInterfaces(r codectypes.InterfaceRegistry) {
	r.RegisterImplementations((*sdk.Msg)(nil),
		&marketv1.MsgOpenLeases{}, &marketv1.MsgCloseLeases{}, &marketv1.MsgUpdateParams{})
	msgservice.RegisterMsgServiceDesc(r, &marketv1.Msg_serviceDesc)
}

// RegisterGRPCGatewayRoutes serves the queries over REST.
func (Module) RegisterGRPCGatewayRoutes(c client.Context, mux *gwruntime.ServeMux) {
	if err := marketv1.RegisterQueryHandlerClient(context.Background(), mux, marketv1.NewQueryClient(c)); err != nil {
		panic(err)
	}
}

// RegisterServices implements module.HasServices.
func (m Module) RegisterServices(cfg module.Configurator) {
	marketv1.RegisterMsgServer(cfg.MsgServer(), keeper.NewMsgServer(m.keeper))
	marketv1.RegisterQueryServer(cfg.QueryServer(), keeper.NewQueryServer(m.keeper))
}

// DefaultGenesis implements module.HasGenesis.
func (Module) DefaultGenesis(cdc codec.JSONCodec) json.RawMessage {
	return cdc.MustMarshalJSON(types.DefaultGenesis())
}

// ValidateGenesis implements module.HasGenesis.
func (Module) ValidateGenesis(cdc codec.JSONCodec, _ client.TxEncodingConfig, raw json.RawMessage) error {
	var g marketv1.GenesisState
	if err := cdc.UnmarshalJSON(raw, &g); err != nil {
		return fmt.Errorf("%s genesis: %w", types.ModuleName, err)
	}
	return types.ValidateGenesis(&g)
}

// InitGenesis implements module.HasGenesis.
func (m Module) InitGenesis(ctx sdk.Context, cdc codec.JSONCodec, raw json.RawMessage) {
	var g marketv1.GenesisState
	cdc.MustUnmarshalJSON(raw, &g)
	if err := m.keeper.InitGenesis(ctx, &g); err != nil {
		panic(err)
	}
}

// ExportGenesis implements module.HasGenesis.
func (m Module) ExportGenesis(ctx sdk.Context, cdc codec.JSONCodec) json.RawMessage {
	g, err := m.keeper.ExportGenesis(ctx)
	if err != nil {
		panic(err)
	}
	return cdc.MustMarshalJSON(g)
}

// EndBlock implements appmodule.HasEndBlocker.
func (m Module) EndBlock(ctx context.Context) error { return m.keeper.EndBlock(ctx) }
