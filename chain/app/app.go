// Package app wires the ledger: the SDK's standard modules, our registry,
// escrow and market, the ante chain and genesis. Rules live in mechanism, state
// in chain/x; this package only says which module may do what, and in which
// order. It knows nothing of CometBFT's processes: chain/node runs it.
package app

import (
	"encoding/json"

	autocliv1 "cosmossdk.io/api/cosmos/autocli/v1"
	reflectionv1 "cosmossdk.io/api/cosmos/reflection/v1"
	"cosmossdk.io/client/v2/autocli"
	"cosmossdk.io/core/appmodule"
	"cosmossdk.io/log/v2"
	abci "github.com/cometbft/cometbft/abci/types"
	dbm "github.com/cosmos/cosmos-db"
	"github.com/cosmos/cosmos-sdk/baseapp"
	"github.com/cosmos/cosmos-sdk/client"
	"github.com/cosmos/cosmos-sdk/client/grpc/cmtservice"
	nodeservice "github.com/cosmos/cosmos-sdk/client/grpc/node"
	"github.com/cosmos/cosmos-sdk/codec/address"
	"github.com/cosmos/cosmos-sdk/runtime"
	runtimeservices "github.com/cosmos/cosmos-sdk/runtime/services"
	"github.com/cosmos/cosmos-sdk/server"
	"github.com/cosmos/cosmos-sdk/server/api"
	serverconfig "github.com/cosmos/cosmos-sdk/server/config"
	servertypes "github.com/cosmos/cosmos-sdk/server/types"
	storetypes "github.com/cosmos/cosmos-sdk/store/v2/types"
	sdk "github.com/cosmos/cosmos-sdk/types"
	"github.com/cosmos/cosmos-sdk/types/module"
	"github.com/cosmos/cosmos-sdk/types/msgservice"
	authtx "github.com/cosmos/cosmos-sdk/x/auth/tx"
	"github.com/cosmos/gogoproto/proto"
)

var _ servertypes.Application = (*App)(nil)

// App is the ledger as an ABCI application.
type App struct {
	*baseapp.BaseApp
	Keepers

	Encoding Encoding

	keys         map[string]*storetypes.KVStoreKey
	manager      *module.Manager
	basics       module.BasicManager
	configurator module.Configurator
}

// Options are what a node chooses for itself; none changes a block's result.
type Options struct {
	// Home is where upgrade plans are written; empty is fine for tests.
	Home string
	// BaseApp options: pruning, chain id, caches.
	BaseApp []func(*baseapp.BaseApp)
}

// New wires the application and loads its latest state from db.
func New(logger log.Logger, db dbm.DB, opts Options) (*App, error) {
	encoding, err := newEncoding()
	if err != nil {
		return nil, err
	}
	base := baseapp.NewBaseApp(Name, logger, db, encoding.Tx.TxDecoder(), opts.BaseApp...)
	base.SetInterfaceRegistry(encoding.Registry)
	base.SetTxEncoder(encoding.Tx.TxEncoder())

	app := &App{BaseApp: base, Encoding: encoding, keys: storetypes.NewKVStoreKeys(storeNames()...)}
	app.Keepers = newKeepers(app, logger, opts.Home)
	app.SetParamStore(app.Consensus.ParamsStore)
	app.wireModules()

	app.MountKVStores(app.keys)
	app.SetInitChainer(app.initChain)
	app.SetPreBlocker(func(ctx sdk.Context, _ *abci.RequestFinalizeBlock) (*sdk.ResponsePreBlock, error) {
		return app.manager.PreBlock(ctx)
	})
	app.SetBeginBlocker(app.manager.BeginBlock)
	app.SetEndBlocker(app.manager.EndBlock)
	app.SetAnteHandler(app.anteHandler())

	// Every message must name its signer, or it could be sent by anyone.
	files, err := proto.MergedRegistry()
	if err != nil {
		return nil, err
	}
	if err := msgservice.ValidateProtoAnnotations(files); err != nil {
		return nil, err
	}
	return app, app.LoadLatestVersion()
}

// initChain loads genesis, module by module.
func (app *App) initChain(ctx sdk.Context, req *abci.RequestInitChain) (*abci.ResponseInitChain, error) {
	var state map[string]json.RawMessage
	if err := json.Unmarshal(req.AppStateBytes, &state); err != nil {
		return nil, err
	}
	if err := app.Upgrades.SetModuleVersionMap(ctx, app.manager.GetVersionMap()); err != nil {
		return nil, err
	}
	return app.manager.InitGenesis(ctx, app.Encoding.Codec, state)
}

// DefaultGenesis is every module's genesis with nothing in it.
func (app *App) DefaultGenesis() map[string]json.RawMessage {
	return app.basics.DefaultGenesis(app.Encoding.Codec)
}

// ValidateGenesis checks a genesis state, module by module.
func (app *App) ValidateGenesis(state map[string]json.RawMessage) error {
	return app.basics.ValidateGenesis(app.Encoding.Codec, app.Encoding.Tx, state)
}

// StoreKeys are the names of the stores, for tools that read them.
func (app *App) StoreKeys() []string { return storeNames() }

// AutoCLI is what the command line needs to derive a verb from every query and
// message.
func (app *App) AutoCLI(ctx client.Context) autocli.AppOptions {
	modules := make(map[string]appmodule.AppModule, len(app.manager.Modules))
	for name, m := range app.manager.Modules {
		if m, ok := m.(appmodule.AppModule); ok {
			modules[name] = m
		}
	}
	cfg := sdk.GetConfig()
	return autocli.AppOptions{
		Modules:               modules,
		ModuleOptions:         app.autoCLIOptions(),
		AddressCodec:          address.NewBech32Codec(Bech32Prefix),
		ValidatorAddressCodec: address.NewBech32Codec(cfg.GetBech32ValidatorAddrPrefix()),
		ConsensusAddressCodec: address.NewBech32Codec(cfg.GetBech32ConsensusAddrPrefix()),
		ClientCtx:             ctx,
	}
}

func (app *App) autoCLIOptions() map[string]*autocliv1.ModuleOptions {
	return runtimeservices.ExtractAutoCLIOptions(app.manager.Modules)
}

// RegisterAPIRoutes implements servertypes.Application.
func (app *App) RegisterAPIRoutes(srv *api.Server, _ serverconfig.APIConfig) {
	authtx.RegisterGRPCGatewayRoutes(srv.ClientCtx, srv.GRPCGatewayRouter)
	cmtservice.RegisterGRPCGatewayRoutes(srv.ClientCtx, srv.GRPCGatewayRouter)
	nodeservice.RegisterGRPCGatewayRoutes(srv.ClientCtx, srv.GRPCGatewayRouter)
	app.basics.RegisterGRPCGatewayRoutes(srv.ClientCtx, srv.GRPCGatewayRouter)
}

// RegisterTxService implements servertypes.Application.
func (app *App) RegisterTxService(ctx client.Context) {
	authtx.RegisterTxService(app.GRPCQueryRouter(), ctx, app.Simulate, app.Encoding.Registry)
}

// RegisterTendermintService implements servertypes.Application.
func (app *App) RegisterTendermintService(ctx client.Context) {
	cmtservice.RegisterTendermintService(ctx, app.GRPCQueryRouter(), app.Encoding.Registry, server.NewCometABCIWrapper(app).Query)
}

// RegisterNodeService implements servertypes.Application.
func (app *App) RegisterNodeService(ctx client.Context, cfg serverconfig.Config) {
	nodeservice.RegisterNodeService(ctx, app.GRPCQueryRouter(), cfg, func() int64 {
		return app.CommitMultiStore().EarliestVersion()
	})
}

// registerReflection serves what autocli asks of a running node.
func (app *App) registerReflection() {
	autocliv1.RegisterQueryServer(app.GRPCQueryRouter(), runtimeservices.NewAutoCLIQueryService(app.manager.Modules))
	service, err := runtimeservices.NewReflectionService()
	if err != nil {
		panic(err) // descriptors linked into this binary do not parse: a build error
	}
	reflectionv1.RegisterReflectionServiceServer(app.GRPCQueryRouter(), service)
}

// storeService opens one module's store.
func (app *App) storeService(name string) serviceOf { return runtime.NewKVStoreService(app.keys[name]) }
