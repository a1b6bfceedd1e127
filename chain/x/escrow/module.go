// Package escrow is the ledger's money box: holds with one owner and any
// beneficiaries, totals of what was burned, pooled and paid, and the meter
// clock. An escrow hold is not a lease: x/market owns those, and other modules
// will bring their own subjects.
package escrow

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

	escrowv1 "github.com/moyai-network/moyai/api/moyai/escrow/v1"
	"github.com/moyai-network/moyai/chain/x/escrow/keeper"
	"github.com/moyai-network/moyai/chain/x/escrow/types"
)

var (
	_ module.HasGenesis         = Module{}
	_ module.HasServices        = Module{}
	_ appmodule.HasBeginBlocker = Module{}
	_ appmodule.HasEndBlocker   = Module{}
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
	r.RegisterImplementations((*sdk.Msg)(nil), &escrowv1.MsgUpdateParams{})
	msgservice.RegisterMsgServiceDesc(r, &escrowv1.Msg_serviceDesc)
}

// RegisterGRPCGatewayRoutes serves the queries over REST.
func (Module) RegisterGRPCGatewayRoutes(c client.Context, mux *gwruntime.ServeMux) {
	if err := escrowv1.RegisterQueryHandlerClient(context.Background(), mux, escrowv1.NewQueryClient(c)); err != nil {
		panic(err)
	}
}

// RegisterServices implements module.HasServices.
func (m Module) RegisterServices(cfg module.Configurator) {
	escrowv1.RegisterMsgServer(cfg.MsgServer(), keeper.NewMsgServer(m.keeper))
	escrowv1.RegisterQueryServer(cfg.QueryServer(), keeper.NewQueryServer(m.keeper))
}

// DefaultGenesis implements module.HasGenesis.
func (Module) DefaultGenesis(cdc codec.JSONCodec) json.RawMessage {
	return cdc.MustMarshalJSON(types.DefaultGenesis())
}

// ValidateGenesis implements module.HasGenesis.
func (Module) ValidateGenesis(cdc codec.JSONCodec, _ client.TxEncodingConfig, raw json.RawMessage) error {
	var g escrowv1.GenesisState
	if err := cdc.UnmarshalJSON(raw, &g); err != nil {
		return fmt.Errorf("%s genesis: %w", types.ModuleName, err)
	}
	return types.ValidateGenesis(&g)
}

// InitGenesis implements module.HasGenesis.
func (m Module) InitGenesis(ctx sdk.Context, cdc codec.JSONCodec, raw json.RawMessage) {
	var g escrowv1.GenesisState
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

// BeginBlock implements appmodule.HasBeginBlocker.
func (m Module) BeginBlock(ctx context.Context) error { return m.keeper.BeginBlock(ctx) }

// EndBlock implements appmodule.HasEndBlocker.
func (m Module) EndBlock(ctx context.Context) error { return m.keeper.EndBlock(ctx) }
