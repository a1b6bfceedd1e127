package chain

import (
	"context"
	"errors"
	"fmt"
	"math/bits"

	sdk "github.com/cosmos/cosmos-sdk/types"
	txtypes "github.com/cosmos/cosmos-sdk/types/tx"
)

// What a transaction costs before its messages: the ante handler's reads and
// writes, one signature, the unordered nonce.
const (
	gasBase    = 60_000
	gasPerByte = 10
	// Simulation measures without the write of a fresh public key and on
	// yesterday's state, so a part is added.
	simulationMarginPercent = 30
)

// gasOf looks a message up in the fixed table; false means simulate. A table
// saves one round trip on the path that a person waits for.
func gasOf(msgs []sdk.Msg, txBytes int) (uint64, bool) {
	total := uint64(gasBase + gasPerByte*txBytes)
	for _, m := range msgs {
		g, ok := gasOfMessage(m)
		if !ok {
			return 0, false
		}
		total += g
	}
	return total, true
}

// feeFor is ceil(gas × price / 1e6); price in base units per 1,000,000 gas.
func feeFor(gas, price uint64) (uint64, error) {
	hi, lo := bits.Mul64(gas, price)
	lo, carry := bits.Add64(lo, 999_999, 0)
	hi += carry
	if hi >= 1_000_000 {
		return 0, fmt.Errorf("fee for %d gas at %d per million overflows", gas, price)
	}
	fee, _ := bits.Div64(hi, lo, 1_000_000)
	return fee, nil
}

// simulate asks the node what a transaction would use.
func (s *Sender) simulate(ctx context.Context, msgs []sdk.Msg) (uint64, error) {
	raw, err := s.build(ctx, msgs, 0, 0, s.c.feed.expiry())
	if err != nil {
		return 0, err
	}
	// An empty signature: simulation does not verify, and the key may be hardware.
	tx := &txtypes.TxRaw{BodyBytes: raw.BodyBytes, AuthInfoBytes: raw.AuthInfoBytes, Signatures: [][]byte{{}}}
	bz, err := tx.Marshal()
	if err != nil {
		return 0, fmt.Errorf("simulate: %w", err)
	}
	res, err := txtypes.NewServiceClient(s.c).Simulate(ctx, &txtypes.SimulateRequest{TxBytes: bz})
	if err != nil {
		return 0, fmt.Errorf("simulate: %w", err)
	}
	if res.GasInfo == nil {
		return 0, errors.New("simulate: the node did not say how much gas was used")
	}
	return res.GasInfo.GasUsed * (100 + simulationMarginPercent) / 100, nil
}
