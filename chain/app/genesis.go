package app

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	sdkmath "cosmossdk.io/math"
	clienttx "github.com/cosmos/cosmos-sdk/client/tx"
	cryptotypes "github.com/cosmos/cosmos-sdk/crypto/types"
	sdk "github.com/cosmos/cosmos-sdk/types"
	"github.com/cosmos/cosmos-sdk/types/tx/signing"
	authsigning "github.com/cosmos/cosmos-sdk/x/auth/signing"
	authtypes "github.com/cosmos/cosmos-sdk/x/auth/types"
	banktypes "github.com/cosmos/cosmos-sdk/x/bank/types"
	genutiltypes "github.com/cosmos/cosmos-sdk/x/genutil/types"
	govtypes "github.com/cosmos/cosmos-sdk/x/gov/types"
	govv1 "github.com/cosmos/cosmos-sdk/x/gov/types/v1"
	minttypes "github.com/cosmos/cosmos-sdk/x/mint/types"
	slashingtypes "github.com/cosmos/cosmos-sdk/x/slashing/types"
	stakingtypes "github.com/cosmos/cosmos-sdk/x/staking/types"

	escrowv1 "github.com/moyai-network/moyai/api/moyai/escrow/v1"
	marketv1 "github.com/moyai-network/moyai/api/moyai/market/v1"
	registryv1 "github.com/moyai-network/moyai/api/moyai/registry/v1"
	escrowtypes "github.com/moyai-network/moyai/chain/x/escrow/types"
	markettypes "github.com/moyai-network/moyai/chain/x/market/types"
	registrytypes "github.com/moyai-network/moyai/chain/x/registry/types"
)

// Genesis is what a founder decides about a new chain.
type Genesis struct {
	ChainID    string
	Accounts   []GenesisAccount
	Validators []GenesisValidator

	Registry registryv1.Params
	Escrow   escrowv1.Params
	Market   marketv1.Params
	// Unbonding is how long validators' stake stays answerable.
	Unbonding time.Duration
	// Voting is how long a proposal is open.
	Voting time.Duration
	// SignedBlocksWindow is over how many blocks a validator's absence counts.
	SignedBlocksWindow int64
}

// GenesisAccount is an account that holds coins from the first block.
type GenesisAccount struct {
	Address sdk.AccAddress
	Coins   sdk.Coins
}

// GenesisValidator validates from the first block. Its operator account is
// given SelfBond and bonds all of it.
type GenesisValidator struct {
	Moniker   string
	Operator  cryptotypes.PrivKey // signs the genesis transaction
	Consensus cryptotypes.PubKey  // ed25519
	SelfBond  sdkmath.Int         // base units
}

// DefaultGenesisParams is a network between strangers; see each module's DefaultParams for the reasons.
func DefaultGenesisParams(chainID string) Genesis {
	return Genesis{
		ChainID:  chainID,
		Registry: registrytypes.DefaultParams(), Escrow: escrowtypes.DefaultParams(), Market: markettypes.DefaultParams(),
		Unbonding: 21 * 24 * time.Hour, Voting: 48 * time.Hour, SignedBlocksWindow: 10_000,
	}
}

// GenesisState writes a founder's decisions as the state of every module.
func (app *App) GenesisState(g Genesis) (map[string]json.RawMessage, error) {
	if len(g.Validators) == 0 {
		return nil, errors.New("a chain needs a validator")
	}
	state := app.DefaultGenesis()
	w := stateWriter{app: app, state: state}
	if err := w.money(g); err != nil {
		return nil, err
	}
	w.staking(g)
	w.ours(g)
	if err := w.validators(g); err != nil {
		return nil, err
	}
	return state, app.ValidateGenesis(state)
}

// stateWriter edits the modules' default states.
type stateWriter struct {
	app   *App
	state map[string]json.RawMessage
}

// money creates the accounts and their balances.
func (w stateWriter) money(g Genesis) error {
	all := slices.Clone(g.Accounts)
	for _, v := range g.Validators {
		all = append(all, GenesisAccount{
			Address: sdk.AccAddress(v.Operator.PubKey().Address()),
			Coins:   sdk.NewCoins(sdk.NewCoin(g.Registry.BondDenom, v.SelfBond)),
		})
	}
	var (
		accounts authtypes.GenesisAccounts
		bank     = banktypes.DefaultGenesisState()
		seen     = map[string]bool{}
	)
	for _, a := range all {
		if text := a.Address.String(); seen[text] {
			return fmt.Errorf("account %s is listed twice", text)
		} else {
			seen[text] = true
		}
		accounts = append(accounts, authtypes.NewBaseAccount(a.Address, nil, uint64(len(accounts)), 0))
		bank.Balances = append(bank.Balances, banktypes.Balance{Address: a.Address.String(), Coins: a.Coins.Sort()})
		bank.Supply = bank.Supply.Add(a.Coins...)
	}
	bank.DenomMetadata = []banktypes.Metadata{DenomMetadata()}
	bank.Balances = banktypes.SanitizeGenesisBalances(bank.Balances)
	w.state[banktypes.ModuleName] = w.app.Encoding.Codec.MustMarshalJSON(bank)
	w.state[authtypes.ModuleName] = w.app.Encoding.Codec.MustMarshalJSON(
		authtypes.NewGenesisState(authtypes.DefaultParams(), accounts))
	return nil
}

// staking sets what secures the chain. Inflation is zero until there is an
// emission that pays for verified work; historical entries are for IBC, which
// is not wired yet.
func (w stateWriter) staking(g Genesis) {
	cdc := w.app.Encoding.Codec
	staking := stakingtypes.DefaultGenesisState()
	staking.Params.BondDenom = g.Registry.BondDenom
	staking.Params.KeyRotationFee.Denom = g.Registry.BondDenom
	staking.Params.UnbondingTime = g.Unbonding
	staking.Params.HistoricalEntries = 0
	w.state[stakingtypes.ModuleName] = cdc.MustMarshalJSON(staking)

	slashing := slashingtypes.DefaultGenesisState()
	slashing.Params.SignedBlocksWindow = g.SignedBlocksWindow
	w.state[slashingtypes.ModuleName] = cdc.MustMarshalJSON(slashing)

	mint := minttypes.DefaultGenesisState()
	zero := sdkmath.LegacyZeroDec()
	mint.Minter = minttypes.NewMinter(zero, zero)
	mint.Params.MintDenom = g.Registry.BondDenom
	mint.Params.InflationMin, mint.Params.InflationMax, mint.Params.InflationRateChange = zero, zero, zero
	w.state[minttypes.ModuleName] = cdc.MustMarshalJSON(mint)

	gov := govv1.DefaultGenesisState()
	gov.Params.MinDeposit = sdk.NewCoins(sdk.NewInt64Coin(g.Registry.BondDenom, 10_000_000))
	gov.Params.ExpeditedMinDeposit = sdk.NewCoins(sdk.NewInt64Coin(g.Registry.BondDenom, 50_000_000))
	expedited := g.Voting / 2
	gov.Params.VotingPeriod, gov.Params.ExpeditedVotingPeriod, gov.Params.MaxDepositPeriod = &g.Voting, &expedited, &g.Voting
	w.state[govtypes.ModuleName] = cdc.MustMarshalJSON(gov)
}

// ours sets our modules' parameters; rows are their defaults.
func (w stateWriter) ours(g Genesis) {
	cdc := w.app.Encoding.Codec
	registry := registrytypes.DefaultGenesis()
	registry.Params = g.Registry
	w.state[registrytypes.ModuleName] = cdc.MustMarshalJSON(registry)
	escrow := escrowtypes.DefaultGenesis()
	escrow.Params = g.Escrow
	w.state[escrowtypes.ModuleName] = cdc.MustMarshalJSON(escrow)
	market := markettypes.DefaultGenesis()
	market.Params = g.Market
	w.state[markettypes.ModuleName] = cdc.MustMarshalJSON(market)
}

// validators adds a signed genesis transaction each, so that staking, slashing
// and distribution all learn of them as they would of any other.
func (w stateWriter) validators(g Genesis) error {
	txs := make([]json.RawMessage, len(g.Validators))
	for i, v := range g.Validators {
		tx, err := w.createValidator(g, v)
		if err != nil {
			return fmt.Errorf("validator %s: %w", v.Moniker, err)
		}
		txs[i] = tx
	}
	w.state[genutiltypes.ModuleName] = w.app.Encoding.Codec.MustMarshalJSON(genutiltypes.NewGenesisState(txs))
	return nil
}

func (w stateWriter) createValidator(g Genesis, v GenesisValidator) (json.RawMessage, error) {
	msg, err := stakingtypes.NewMsgCreateValidator(
		sdk.ValAddress(v.Operator.PubKey().Address()).String(), v.Consensus,
		sdk.NewCoin(g.Registry.BondDenom, v.SelfBond),
		stakingtypes.Description{Moniker: v.Moniker},
		stakingtypes.NewCommissionRates(sdkmath.LegacyNewDecWithPrec(5, 2), sdkmath.LegacyNewDecWithPrec(20, 2), sdkmath.LegacyNewDecWithPrec(1, 2)),
		sdkmath.OneInt())
	if err != nil {
		return nil, err
	}
	config := w.app.Encoding.Tx
	builder := config.NewTxBuilder()
	if err := builder.SetMsgs(msg); err != nil {
		return nil, err
	}
	builder.SetGasLimit(200_000)
	// The signature covers the key it will be checked with: set it empty first.
	mode := signing.SignMode_SIGN_MODE_DIRECT
	empty := signing.SignatureV2{PubKey: v.Operator.PubKey(), Data: &signing.SingleSignatureData{SignMode: mode}}
	if err := builder.SetSignatures(empty); err != nil {
		return nil, err
	}
	signed, err := clienttx.SignWithPrivKey(context.Background(), mode, authsigning.SignerData{
		Address: sdk.AccAddress(v.Operator.PubKey().Address()).String(), ChainID: g.ChainID, PubKey: v.Operator.PubKey(),
	}, builder, v.Operator, config, 0)
	if err != nil {
		return nil, err
	}
	if err := builder.SetSignatures(signed); err != nil {
		return nil, err
	}
	return config.TxJSONEncoder()(builder.GetTx())
}
