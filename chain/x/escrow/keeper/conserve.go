package keeper

import (
	sdk "github.com/cosmos/cosmos-sdk/types"

	escrowv1 "github.com/moyai-network/moyai/api/moyai/escrow/v1"
	"github.com/moyai-network/moyai/chain/money"
	"github.com/moyai-network/moyai/chain/x/escrow/types"
	"github.com/moyai-network/moyai/mechanism/amount"
	"github.com/moyai-network/moyai/mechanism/escrow"
)

// conserved checks, denomination by denomination, that payments are exactly
// what was locked.
func conserved(locked []sdk.Coin, payments []escrowv1.Payment) error {
	matched := 0
	for _, coin := range locked {
		held, err := money.FromInt(coin.Amount)
		if err != nil {
			return types.ErrInvalidAmount.Wrap(err.Error())
		}
		paid := make([]amount.Amount, 0, len(payments))
		for _, p := range payments {
			if p.Amount.Denom != coin.Denom {
				continue
			}
			a, err := money.FromInt(p.Amount.Amount)
			if err != nil {
				return types.ErrInvalidAmount.Wrapf("payment to %s: %s", p.To, err)
			}
			paid = append(paid, a)
		}
		matched += len(paid)
		if err := escrow.Conserved(held, paid...); err != nil {
			return types.ErrNotConserved.Wrapf("%s: %s", coin.Denom, err)
		}
	}
	if matched != len(payments) {
		return types.ErrNotConserved.Wrap("a payment is in a denomination that was never locked")
	}
	return nil
}
