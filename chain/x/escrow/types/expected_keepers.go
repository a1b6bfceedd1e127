package types

import (
	"context"

	sdk "github.com/cosmos/cosmos-sdk/types"
)

// BankKeeper moves and destroys coins.
type BankKeeper interface {
	SendCoinsFromAccountToModule(ctx context.Context, sender sdk.AccAddress, module string, coins sdk.Coins) error
	SendCoinsFromModuleToAccount(ctx context.Context, module string, to sdk.AccAddress, coins sdk.Coins) error
	SendCoinsFromModuleToModule(ctx context.Context, from, to string, coins sdk.Coins) error
	SpendableCoin(ctx context.Context, account sdk.AccAddress, denom string) sdk.Coin
	// BlockedAddr reports accounts that can be paid nothing: those of modules.
	BlockedAddr(account sdk.AccAddress) bool
	BurnCoins(ctx context.Context, module string, coins sdk.Coins) error
}
