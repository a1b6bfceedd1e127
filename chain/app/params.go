package app

import (
	"os"

	sdk "github.com/cosmos/cosmos-sdk/types"
	banktypes "github.com/cosmos/cosmos-sdk/x/bank/types"
)

const (
	// Name of the application.
	Name = "moyai"
	// Bech32Prefix of account addresses.
	Bech32Prefix = "moyai"
	// BaseDenom is the denomination everything is counted in.
	BaseDenom = "umoy"
	// DisplayDenom is what people read: 10⁶ base units.
	DisplayDenom = "MOY"

	displayExponent = 6
)

// The SDK keeps prefixes and the default denomination in globals and reads
// them wherever it prints an address; they must be set before anything runs.
func init() {
	// Without a scope the SDK asks the kernel for the host's name each time it
	// prints or reads an address, a twentieth of a block's time.
	if os.Getenv(sdk.EnvConfigScope) == "" {
		_ = os.Setenv(sdk.EnvConfigScope, Name) // fails only for malformed names
	}
	cfg := sdk.GetConfig()
	cfg.SetBech32PrefixForAccount(Bech32Prefix, Bech32Prefix+sdk.PrefixPublic)
	cfg.SetBech32PrefixForValidator(
		Bech32Prefix+sdk.PrefixValidator+sdk.PrefixOperator,
		Bech32Prefix+sdk.PrefixValidator+sdk.PrefixOperator+sdk.PrefixPublic)
	cfg.SetBech32PrefixForConsensusNode(
		Bech32Prefix+sdk.PrefixValidator+sdk.PrefixConsensus,
		Bech32Prefix+sdk.PrefixValidator+sdk.PrefixConsensus+sdk.PrefixPublic)
	sdk.DefaultBondDenom = BaseDenom
}

// DenomMetadata describes the base denomination to wallets.
func DenomMetadata() banktypes.Metadata {
	return banktypes.Metadata{
		Description: "the coin of the Moyai network",
		DenomUnits: []*banktypes.DenomUnit{
			{Denom: BaseDenom, Exponent: 0},
			{Denom: DisplayDenom, Exponent: displayExponent},
		},
		Base: BaseDenom, Display: DisplayDenom, Name: "Moyai", Symbol: DisplayDenom,
	}
}
