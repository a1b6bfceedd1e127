package app

import (
	"cosmossdk.io/core/store"
	"cosmossdk.io/log/v2"
	"github.com/cosmos/cosmos-sdk/codec/address"
	"github.com/cosmos/cosmos-sdk/runtime"
	sdk "github.com/cosmos/cosmos-sdk/types"
	authkeeper "github.com/cosmos/cosmos-sdk/x/auth/keeper"
	authtypes "github.com/cosmos/cosmos-sdk/x/auth/types"
	authzkeeper "github.com/cosmos/cosmos-sdk/x/authz/keeper"
	bankkeeper "github.com/cosmos/cosmos-sdk/x/bank/keeper"
	banktypes "github.com/cosmos/cosmos-sdk/x/bank/types"
	consensuskeeper "github.com/cosmos/cosmos-sdk/x/consensus/keeper"
	consensustypes "github.com/cosmos/cosmos-sdk/x/consensus/types"
	distrkeeper "github.com/cosmos/cosmos-sdk/x/distribution/keeper"
	distrtypes "github.com/cosmos/cosmos-sdk/x/distribution/types"
	"github.com/cosmos/cosmos-sdk/x/feegrant"
	feegrantkeeper "github.com/cosmos/cosmos-sdk/x/feegrant/keeper"
	govkeeper "github.com/cosmos/cosmos-sdk/x/gov/keeper"
	govtypes "github.com/cosmos/cosmos-sdk/x/gov/types"
	mintkeeper "github.com/cosmos/cosmos-sdk/x/mint/keeper"
	minttypes "github.com/cosmos/cosmos-sdk/x/mint/types"
	slashingkeeper "github.com/cosmos/cosmos-sdk/x/slashing/keeper"
	slashingtypes "github.com/cosmos/cosmos-sdk/x/slashing/types"
	stakingkeeper "github.com/cosmos/cosmos-sdk/x/staking/keeper"
	stakingtypes "github.com/cosmos/cosmos-sdk/x/staking/types"
	upgradekeeper "github.com/cosmos/cosmos-sdk/x/upgrade/keeper"
	upgradetypes "github.com/cosmos/cosmos-sdk/x/upgrade/types"

	escrowkeeper "github.com/moyai-network/moyai/chain/x/escrow/keeper"
	escrowtypes "github.com/moyai-network/moyai/chain/x/escrow/types"
	marketkeeper "github.com/moyai-network/moyai/chain/x/market/keeper"
	markettypes "github.com/moyai-network/moyai/chain/x/market/types"
	registrykeeper "github.com/moyai-network/moyai/chain/x/registry/keeper"
	registrytypes "github.com/moyai-network/moyai/chain/x/registry/types"
)

type serviceOf = store.KVStoreService

// Keepers are the modules' keepers, exported for tests and genesis tools.
type Keepers struct {
	Accounts     authkeeper.AccountKeeper
	Bank         bankkeeper.BaseKeeper
	Staking      *stakingkeeper.Keeper
	Slashing     slashingkeeper.Keeper
	Distribution distrkeeper.Keeper
	Mint         mintkeeper.Keeper
	Gov          *govkeeper.Keeper
	FeeGrants    feegrantkeeper.Keeper
	Authz        authzkeeper.Keeper
	Upgrades     *upgradekeeper.Keeper
	Consensus    consensuskeeper.Keeper
	Registry     registrykeeper.Keeper
	Escrow       escrowkeeper.Keeper
	Market       marketkeeper.Keeper
}

// modulePermissions says which module accounts exist and what each may do to
// the supply. Only mint makes coins, and its inflation is zero.
var modulePermissions = map[string][]string{
	authtypes.FeeCollectorName:          nil,
	distrtypes.ModuleName:               nil,
	minttypes.ModuleName:                {authtypes.Minter},
	stakingtypes.BondedPoolName:         {authtypes.Burner, authtypes.Staking},
	stakingtypes.NotBondedPoolName:      {authtypes.Burner, authtypes.Staking},
	stakingtypes.KeyRotationFeePoolName: {authtypes.Burner},
	govtypes.ModuleName:                 {authtypes.Burner},
	escrowtypes.ModuleName:              {authtypes.Burner},
	registrytypes.ModuleName:            nil,
}

// storeNames lists every store; the order does not matter.
func storeNames() []string {
	return []string{
		authtypes.StoreKey, banktypes.StoreKey, stakingtypes.StoreKey, slashingtypes.StoreKey,
		distrtypes.StoreKey, minttypes.StoreKey, govtypes.StoreKey, feegrant.StoreKey,
		authzkeeper.StoreKey, upgradetypes.StoreKey, consensustypes.StoreKey,
		registrytypes.StoreKey, escrowtypes.StoreKey, markettypes.StoreKey,
	}
}

// blockedAddresses may not receive coins by transfer: module accounts, but for
// gov, which takes deposits.
func blockedAddresses() map[string]bool {
	blocked := make(map[string]bool, len(modulePermissions))
	for name := range modulePermissions {
		blocked[authtypes.NewModuleAddress(name).String()] = name != govtypes.ModuleName
	}
	return blocked
}

func newKeepers(app *App, logger log.Logger, home string) Keepers {
	var (
		k         Keepers
		cdc       = app.Encoding.Codec
		accounts  = address.NewBech32Codec(Bech32Prefix)
		cfg       = sdk.GetConfig()
		authority = authtypes.NewModuleAddress(govtypes.ModuleName).String()
	)
	k.Consensus = consensuskeeper.NewKeeper(cdc, app.storeService(consensustypes.StoreKey), authority, runtime.EventService{})
	k.Accounts = authkeeper.NewAccountKeeper(cdc, app.storeService(authtypes.StoreKey), authtypes.ProtoBaseAccount,
		modulePermissions, accounts, Bech32Prefix, authority, authkeeper.WithUnorderedTransactions(true))
	k.Bank = bankkeeper.NewBaseKeeper(cdc, app.storeService(banktypes.StoreKey), k.Accounts, blockedAddresses(), authority, logger)
	k.Staking = stakingkeeper.NewKeeper(cdc, app.storeService(stakingtypes.StoreKey), k.Accounts, k.Bank, authority,
		address.NewBech32Codec(cfg.GetBech32ValidatorAddrPrefix()), address.NewBech32Codec(cfg.GetBech32ConsensusAddrPrefix()))
	k.Slashing = slashingkeeper.NewKeeper(cdc, app.Encoding.Amino, app.storeService(slashingtypes.StoreKey), k.Staking, authority)
	k.Distribution = distrkeeper.NewKeeper(cdc, app.storeService(distrtypes.StoreKey), k.Accounts, k.Bank, k.Staking, authtypes.FeeCollectorName, authority)
	k.Mint = mintkeeper.NewKeeper(cdc, app.storeService(minttypes.StoreKey), k.Staking, k.Accounts, k.Bank, authtypes.FeeCollectorName, authority)
	k.Staking.SetHooks(stakingtypes.NewMultiStakingHooks(k.Distribution.Hooks(), k.Slashing.Hooks()))
	k.FeeGrants = feegrantkeeper.NewKeeper(cdc, app.storeService(feegrant.StoreKey), k.Accounts)
	k.Authz = authzkeeper.NewKeeper(app.storeService(authzkeeper.StoreKey), cdc, app.MsgServiceRouter(), k.Accounts)
	k.Upgrades = upgradekeeper.NewKeeper(map[int64]bool{}, app.storeService(upgradetypes.StoreKey), cdc, home, app.BaseApp, authority)
	k.Gov = govkeeper.NewKeeper(cdc, app.storeService(govtypes.StoreKey), k.Accounts, k.Bank, k.Distribution,
		app.MsgServiceRouter(), govtypes.DefaultConfig(), authority, govkeeper.NewDefaultCalculateVoteResultsAndVotingPower(k.Staking))

	k.Registry = registrykeeper.New(cdc, app.storeService(registrytypes.StoreKey), k.Bank, accounts, authority)
	k.Escrow = escrowkeeper.New(cdc, app.storeService(escrowtypes.StoreKey), k.Bank, accounts, authority)
	k.Market = marketkeeper.New(cdc, app.storeService(markettypes.StoreKey), k.Registry, k.Escrow, accounts, authority)
	return k
}
