// Package money carries amounts across the border between the rules
// (mechanism/amount: 128-bit, checked) and the bank (math.Int, coins). It is
// not arithmetic: sums and shares belong to mechanism.
package money

import (
	"math/big"

	sdkmath "cosmossdk.io/math"
	sdk "github.com/cosmos/cosmos-sdk/types"

	"github.com/moyai-network/moyai/mechanism/amount"
)

// Int converts an amount to the bank's integer.
func Int(a amount.Amount) sdkmath.Int {
	if u, ok := a.Uint64(); ok {
		return sdkmath.NewIntFromUint64(u)
	}
	b, _ := new(big.Int).SetString(a.String(), 10) // an amount always prints as a decimal
	return sdkmath.NewIntFromBigInt(b)
}

// Coin is a coin of a base units of denom.
func Coin(denom string, a amount.Amount) sdk.Coin {
	return sdk.Coin{Denom: denom, Amount: Int(a)}
}

// FromInt converts a bank integer to an amount; amount.ErrSyntax if it is
// negative or unset, amount.ErrOverflow if it needs more than 128 bits.
func FromInt(i sdkmath.Int) (amount.Amount, error) {
	if i.IsNil() || i.IsNegative() {
		return amount.Amount{}, amount.ErrSyntax
	}
	if i.IsUint64() {
		return amount.New(i.Uint64()), nil
	}
	return amount.Parse(i.String())
}
