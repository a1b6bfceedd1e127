package chain_test

import (
	"testing"

	errorsmod "cosmossdk.io/errors"
	sdkerrors "github.com/cosmos/cosmos-sdk/types/errors"

	escrow "github.com/moyai-network/moyai/chain/x/escrow/types"
	market "github.com/moyai-network/moyai/chain/x/market/types"
	registry "github.com/moyai-network/moyai/chain/x/registry/types"
	"github.com/moyai-network/moyai/client/chain"
)

// TestCodes compares this package's names with what the ledger registers: it may
// not import the ledger, only its test may.
func TestCodes(t *testing.T) {
	for _, tc := range []struct {
		ours   chain.Code
		theirs *errorsmod.Error
	}{
		{chain.CodeUnauthorized, sdkerrors.ErrUnauthorized},
		{chain.CodeInsufficientFunds, sdkerrors.ErrInsufficientFunds},
		{chain.CodeUnknownRequest, sdkerrors.ErrUnknownRequest},
		{chain.CodeUnknownAddress, sdkerrors.ErrUnknownAddress},
		{chain.CodeOutOfGas, sdkerrors.ErrOutOfGas},
		{chain.CodeInsufficientFee, sdkerrors.ErrInsufficientFee},
		{chain.CodeInvalidRequest, sdkerrors.ErrInvalidRequest},
		{chain.CodeTxInMempoolCache, sdkerrors.ErrTxInMempoolCache},
		{chain.CodeMempoolFull, sdkerrors.ErrMempoolIsFull},
		{chain.CodeTxTooLarge, sdkerrors.ErrTxTooLarge},
		{chain.CodeKeyNotFound, sdkerrors.ErrKeyNotFound},
		{chain.CodeTxTimeout, sdkerrors.ErrTxTimeout},
		{chain.CodeOrderUsed, market.ErrOrderUsed},
		{chain.CodeOrderExpired, market.ErrOrderExpired},
		{chain.CodeTerms, market.ErrTerms},
		{chain.CodeBidExpired, market.ErrBidExpired},
		{chain.CodeGeneration, market.ErrGeneration},
		{chain.CodeSlotBusy, market.ErrSlotBusy},
		{chain.CodeUnknownLease, market.ErrUnknownLease},
		{chain.CodeLeaseClosed, market.ErrClosed},
		{chain.CodeNotOpen, market.ErrNotOpen},
		{chain.CodeNotSettling, market.ErrNotSettling},
		{chain.CodeWindowOver, market.ErrWindowOver},
		{chain.CodeNotAcknowledged, market.ErrNotAcknowledged},
		{chain.CodeBeyondMeter, market.ErrBeyondMeter},
		{chain.CodeReceiptBackwards, market.ErrReceiptBackwards},
		{chain.CodeEscrowFunds, escrow.ErrFunds},
		{chain.CodeProviderExists, registry.ErrProviderExists},
		{chain.CodeUnknownProvider, registry.ErrUnknownProvider},
		{chain.CodeProviderLeaving, registry.ErrLeaving},
		{chain.CodeNodeTaken, registry.ErrNodeTaken},
		{chain.CodeNodeRevoked, registry.ErrNodeRevoked},
		{chain.CodeStaleRecord, registry.ErrStaleRecord},
		{chain.CodeInsufficientBond, registry.ErrInsufficientBond},
		{chain.CodeBondFunds, registry.ErrFunds},
		{chain.CodeNothingToUnbond, registry.ErrNothingToReturn},
	} {
		if want := (chain.Code{Codespace: tc.theirs.Codespace(), Code: tc.theirs.ABCICode()}); tc.ours != want {
			t.Errorf("%v is %v on the ledger (%s)", tc.ours, want, tc.theirs)
		}
	}
}
