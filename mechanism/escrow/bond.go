package escrow

import (
	"fmt"

	"github.com/moyai-network/moyai/mechanism/amount"
)

// BondParams say how earnings fill a bond. Whoever joins without one has
// nothing to lose yet; part of what it earns becomes what it can lose.
type BondParams struct {
	Floor   amount.Amount // a bond of so much is filled no further; zero: never
	FillBps uint32        // of each payment, in 1/10,000
}

// Validate returns ErrParams if the part exceeds the whole.
func (p BondParams) Validate() error {
	if p.FillBps > bpsWhole {
		return fmt.Errorf("filling a bond with %d: %w", p.FillBps, ErrParams)
	}
	return nil
}

// Fill divides what a provider has earned: bonded = floor(FillBps of earned),
// at most what the bond lacks to the floor, and the rest is paid. The two
// always add up to earned, and a bond at the floor or above takes nothing.
func (p BondParams) Fill(bond, earned amount.Amount) (paid, bonded amount.Amount, err error) {
	if err := p.Validate(); err != nil {
		return paid, bonded, err
	}
	if bond.Cmp(p.Floor) >= 0 {
		return earned, amount.Amount{}, nil
	}
	lacking, err := p.Floor.Sub(bond)
	if err != nil {
		return paid, bonded, err
	}
	part, err := earned.MulDivFloor(uint64(p.FillBps), bpsWhole)
	if err != nil {
		return paid, bonded, err
	}
	bonded = amount.Min(part, lacking)
	paid, err = earned.Sub(bonded)
	return paid, bonded, err
}
