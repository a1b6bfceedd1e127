package app

import (
	"context"
	"math"
	"time"

	errorsmod "cosmossdk.io/errors"
	sdk "github.com/cosmos/cosmos-sdk/types"
	sdkerrors "github.com/cosmos/cosmos-sdk/types/errors"
	"github.com/cosmos/cosmos-sdk/x/auth/ante"

	"github.com/moyai-network/moyai/chain/money"
	"github.com/moyai-network/moyai/mechanism/amount"
)

const (
	// maxUnorderedLife is how far ahead an unordered transaction may time out:
	// its nonce stays in state that long.
	maxUnorderedLife = 60 * time.Second
	// gasScale: the fee floor is a price per this much gas.
	gasScale = 1_000_000
)

// anteHandler is the SDK's chain of checks with two of ours: the governed fee
// floor, and the memory of signatures verified in CheckTx.
func (app *App) anteHandler() sdk.AnteHandler {
	return sdk.ChainAnteDecorators(
		ante.NewSetUpContextDecorator(),
		ante.NewExtensionOptionsDecorator(nil),
		ante.NewValidateBasicDecorator(),
		ante.NewTxTimeoutHeightDecorator(),
		ante.NewValidateMemoDecorator(app.Accounts),
		ante.NewConsumeGasForTxSizeDecorator(app.Accounts),
		ante.NewDeductFeeDecorator(app.Accounts, app.Bank, app.FeeGrants, feeFloor(app.Registry)),
		ante.NewSetPubKeyDecorator(app.Accounts),
		ante.NewValidateSigCountDecorator(app.Accounts),
		ante.NewSigGasConsumeDecorator(app.Accounts, ante.DefaultSigVerificationGasConsumer),
		sigCacheDecorator{accounts: app.Accounts, cache: newSigCache()},
		ante.NewSigVerificationDecorator(app.Accounts, app.Encoding.Tx.SignModeHandler(),
			ante.WithMaxUnorderedTxTimeoutDuration(maxUnorderedLife)),
		ante.NewIncrementSequenceDecorator(app.Accounts),
	)
}

// floorKeeper knows the governed fee floor.
type floorKeeper interface {
	// MinGasPrice is in base units of denom per 1,000,000 gas.
	MinGasPrice(ctx context.Context) (denom string, price uint64, err error)
}

// feeFloor refuses a transaction that offers less than the governed floor, in
// CheckTx and in the block alike: a floor that each node sets for itself would
// not bind a proposer. Genesis transactions pay nothing.
func feeFloor(k floorKeeper) ante.TxFeeChecker {
	return func(ctx sdk.Context, tx sdk.Tx) (sdk.Coins, int64, error) {
		feeTx, ok := tx.(sdk.FeeTx)
		if !ok {
			return nil, 0, errorsmod.Wrap(sdkerrors.ErrTxDecode, "transaction carries no fee")
		}
		fee, gas := feeTx.GetFee(), feeTx.GetGas()
		if ctx.BlockHeight() == 0 {
			return fee, 0, nil
		}
		denom, price, err := k.MinGasPrice(ctx)
		if err != nil {
			return nil, 0, err
		}
		floor, err := amount.New(gas).MulDivCeil(price, gasScale)
		if err != nil {
			return nil, 0, errorsmod.Wrap(sdkerrors.ErrInvalidGasLimit, err.Error())
		}
		offered := fee.AmountOf(denom)
		if offered.LT(money.Int(floor)) {
			return nil, 0, errorsmod.Wrapf(sdkerrors.ErrInsufficientFee, "fee is %s%s, the floor for %d gas is %s%s", offered, denom, gas, floor, denom)
		}
		return fee, priority(offered.BigInt().Uint64(), offered.IsUint64(), gas), nil
	}
}

// priority orders transactions by what they offer per unit of gas.
func priority(fee uint64, small bool, gas uint64) int64 {
	if !small || gas == 0 || fee > math.MaxInt64/gasScale {
		return math.MaxInt64
	}
	return int64(fee * gasScale / gas)
}
