package app

import (
	"github.com/cosmos/cosmos-sdk/types/module"
	"github.com/cosmos/cosmos-sdk/x/auth"
	authtypes "github.com/cosmos/cosmos-sdk/x/auth/types"
	"github.com/cosmos/cosmos-sdk/x/authz"
	authzmodule "github.com/cosmos/cosmos-sdk/x/authz/module"
	"github.com/cosmos/cosmos-sdk/x/bank"
	banktypes "github.com/cosmos/cosmos-sdk/x/bank/types"
	"github.com/cosmos/cosmos-sdk/x/consensus"
	consensustypes "github.com/cosmos/cosmos-sdk/x/consensus/types"
	distr "github.com/cosmos/cosmos-sdk/x/distribution"
	distrtypes "github.com/cosmos/cosmos-sdk/x/distribution/types"
	"github.com/cosmos/cosmos-sdk/x/feegrant"
	feegrantmodule "github.com/cosmos/cosmos-sdk/x/feegrant/module"
	"github.com/cosmos/cosmos-sdk/x/genutil"
	genutiltypes "github.com/cosmos/cosmos-sdk/x/genutil/types"
	"github.com/cosmos/cosmos-sdk/x/gov"
	govclient "github.com/cosmos/cosmos-sdk/x/gov/client"
	govtypes "github.com/cosmos/cosmos-sdk/x/gov/types"
	"github.com/cosmos/cosmos-sdk/x/mint"
	minttypes "github.com/cosmos/cosmos-sdk/x/mint/types"
	"github.com/cosmos/cosmos-sdk/x/slashing"
	slashingtypes "github.com/cosmos/cosmos-sdk/x/slashing/types"
	"github.com/cosmos/cosmos-sdk/x/staking"
	stakingtypes "github.com/cosmos/cosmos-sdk/x/staking/types"
	"github.com/cosmos/cosmos-sdk/x/upgrade"
	upgradetypes "github.com/cosmos/cosmos-sdk/x/upgrade/types"

	"github.com/moyai-network/moyai/chain/x/escrow"
	escrowtypes "github.com/moyai-network/moyai/chain/x/escrow/types"
	"github.com/moyai-network/moyai/chain/x/market"
	markettypes "github.com/moyai-network/moyai/chain/x/market/types"
	"github.com/moyai-network/moyai/chain/x/registry"
	registrytypes "github.com/moyai-network/moyai/chain/x/registry/types"
)

// wireModules registers the modules and fixes the order in which they act.
func (app *App) wireModules() {
	cdc, interfaces := app.Encoding.Codec, app.Encoding.Registry
	app.manager = module.NewManager(
		genutil.NewAppModule(app.Accounts, app.Staking, app, app.Encoding.Tx),
		auth.NewAppModule(cdc, app.Accounts, nil),
		bank.NewAppModule(cdc, app.Bank, app.Accounts),
		feegrantmodule.NewAppModule(cdc, app.Accounts, app.Bank, app.FeeGrants, interfaces),
		gov.NewAppModule(cdc, app.Gov, app.Accounts, app.Bank),
		mint.NewAppModule(cdc, app.Mint, app.Accounts, nil),
		slashing.NewAppModule(cdc, app.Slashing, app.Accounts, app.Bank, app.Staking, interfaces),
		distr.NewAppModule(cdc, app.Distribution, app.Accounts, app.Bank, app.Staking),
		staking.NewAppModule(cdc, app.Staking, app.Accounts, app.Bank),
		upgrade.NewAppModule(app.Upgrades, app.Accounts.AddressCodec()),
		authzmodule.NewAppModule(cdc, app.Authz, app.Accounts, app.Bank, interfaces),
		consensus.NewAppModule(cdc, app.Consensus),
		registry.NewModule(app.Registry),
		escrow.NewModule(app.Escrow),
		market.NewModule(app.Market),
	)
	app.basics = module.NewBasicManagerFromManager(app.manager, map[string]module.AppModuleBasic{
		genutiltypes.ModuleName: genutil.NewAppModuleBasic(genutiltypes.DefaultMessageValidator),
		govtypes.ModuleName:     gov.NewAppModuleBasic([]govclient.ProposalHandler{}),
	})
	app.basics.RegisterLegacyAminoCodec(app.Encoding.Amino)
	app.basics.RegisterInterfaces(interfaces)

	app.manager.SetOrderPreBlockers(upgradetypes.ModuleName, authtypes.ModuleName)
	// The meter clock moves first: every deadline of the block is judged by it.
	// Slashing comes after distribution, so that nothing is left in the pool of a
	// validator that is about to be cut.
	app.manager.SetOrderBeginBlockers(
		escrowtypes.ModuleName, minttypes.ModuleName, distrtypes.ModuleName,
		slashingtypes.ModuleName, stakingtypes.ModuleName, authz.ModuleName,
	)
	// The market pays out before the escrow burns and pools what it owes.
	app.manager.SetOrderEndBlockers(
		banktypes.ModuleName, govtypes.ModuleName, stakingtypes.ModuleName, feegrant.ModuleName,
		markettypes.ModuleName, escrowtypes.ModuleName, registrytypes.ModuleName,
	)
	// genutil comes after staking, so that the pools are there for the
	// validators it makes; our modules after bank, which gave them their money.
	order := []string{
		authtypes.ModuleName, banktypes.ModuleName, distrtypes.ModuleName, stakingtypes.ModuleName,
		slashingtypes.ModuleName, govtypes.ModuleName, minttypes.ModuleName, genutiltypes.ModuleName,
		authz.ModuleName, feegrant.ModuleName, upgradetypes.ModuleName, consensustypes.ModuleName,
		registrytypes.ModuleName, escrowtypes.ModuleName, markettypes.ModuleName,
	}
	app.manager.SetOrderInitGenesis(order...)
	app.manager.SetOrderExportGenesis(order...)

	app.configurator = module.NewConfigurator(cdc, app.MsgServiceRouter(), app.GRPCQueryRouter())
	if err := app.manager.RegisterServices(app.configurator); err != nil {
		panic(err) // two modules serve one message: a wiring error
	}
	app.registerReflection()
}
