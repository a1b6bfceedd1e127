package forge

import (
	"fmt"

	"github.com/moyai-network/moyai/mechanism/lease"
	"github.com/moyai-network/moyai/wire"
)

// Claim is the machine's statement of a tail that nobody countersigned.
func (d *Deal) Claim(elapsedMS uint64) ([]byte, error) {
	signed, err := wire.Seal(wire.Claim{
		Version: lease.Version1, ChainID: d.forge.chainID, LeaseID: d.ID(), ElapsedMS: elapsedMS,
	}, d.forge.node)
	if err != nil {
		return nil, fmt.Errorf("claim: %w", err)
	}
	return signed.Bytes(), nil
}

// Contest is the receipt key's refusal of whatever goes beyond elapsedMS.
func (d *Deal) Contest(elapsedMS uint64) ([]byte, error) {
	signed, err := wire.Seal(wire.Contest{
		Version: lease.Version1, ChainID: d.forge.chainID, LeaseID: d.ID(), ElapsedMS: elapsedMS,
	}, d.receiptKey)
	if err != nil {
		return nil, fmt.Errorf("contest: %w", err)
	}
	return signed.Bytes(), nil
}
