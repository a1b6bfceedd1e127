package chain

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/bits"

	sdk "github.com/cosmos/cosmos-sdk/types"
)

// What a transaction costs before its messages: the ante handler's reads and
// writes, one signature, the unordered nonce.
const (
	gasBase    = 60_000
	gasPerByte = 10
	// Simulation measures on the last state; others may change it first.
	simulationMarginPercent = 30
	// simulatedGas pays a fee within the simulation, so that its deduction is
	// measured too.
	simulatedGas = 1_000_000
	signatureLen = 64
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
	price, err := s.c.minGasPrice(ctx)
	if err != nil {
		return 0, err
	}
	fee, err := feeFor(simulatedGas, price)
	if err != nil {
		return 0, err
	}
	// An empty signature of the right length: simulation does not verify, and the
	// key may be in hardware.
	tx, _, err := s.encode(ctx, msgs, simulatedGas, fee, s.c.feed.expiry())
	if err != nil {
		return 0, err
	}
	tx.Signatures = [][]byte{make([]byte, signatureLen)}
	bz, err := tx.Marshal()
	if err != nil {
		return 0, fmt.Errorf("simulate: %w", err)
	}
	// The application's own path: the gRPC transaction service is there only if
	// the node serves gRPC.
	reply, err := s.c.abciQuery(ctx, "/app/simulate", bz)
	if err != nil {
		return 0, fmt.Errorf("simulate: %w", err)
	}
	var res struct {
		GasInfo struct {
			GasUsed uint64 `json:"gas_used,string"`
		} `json:"gas_info"`
	}
	if err := json.Unmarshal(reply, &res); err != nil || res.GasInfo.GasUsed == 0 {
		return 0, errors.Join(errors.New("simulate: the node did not say how much gas was used"), err)
	}
	return res.GasInfo.GasUsed * (100 + simulationMarginPercent) / 100, nil
}
