package provider

import (
	"fmt"
	"slices"
	"sort"

	"github.com/moyai-network/moyai/mechanism/amount"
)

// Has reports a price for a dimension.
func (p Prices) Has(dimension string) bool {
	return slices.ContainsFunc(p.Units, func(u UnitPrice) bool { return u.Dimension == dimension })
}

// AtLeastPower raises the price of a core to its share of the power that the
// machine draws under load: watts, spread over cpuMilli thousandths of a core,
// at perKWh for 1,000 watt hours. core is the new price of a core, nil if the
// price was no lower.
//
// Errors: another denomination than the prices'; amount.ErrOverflow;
// amount.ErrDivisor if no CPU is lent.
func (p Prices) AtLeastPower(perKWh amount.Coin, watts, cpuMilli uint64) (raised Prices, core *amount.Rate, err error) {
	if p.Denom != "" && perKWh.Denom != p.Denom {
		return p, nil, fmt.Errorf("power is priced in %s and cores in %s: use one denomination", perKWh.Denom, p.Denom)
	}
	// A thousand watts for an hour cost perKWh.
	kilowatt, err := amount.RateFromPrice(perKWh.Amount, 3600)
	if err != nil {
		return p, nil, err
	}
	whole, err := kilowatt.MulDivCeil(watts, 1000)
	if err != nil {
		return p, nil, err
	}
	least, err := whole.MulDivCeil(1000, cpuMilli)
	if err != nil {
		return p, nil, err
	}
	raised = Prices{Denom: perKWh.Denom, Min: p.Min, Units: slices.Clone(p.Units)}
	at := slices.IndexFunc(raised.Units, func(u UnitPrice) bool { return u.Dimension == DimCPU })
	if at < 0 {
		raised.Units = append(raised.Units, UnitPrice{Dimension: DimCPU, Per: 1000})
		sort.Slice(raised.Units, func(i, j int) bool { return raised.Units[i].Dimension < raised.Units[j].Dimension })
		at = slices.IndexFunc(raised.Units, func(u UnitPrice) bool { return u.Dimension == DimCPU })
	}
	if u := &raised.Units[at]; u.Per == 1000 && u.Rate.Cmp(least) < 0 {
		u.Rate = least
		return raised, &least, nil
	}
	return raised, nil, nil
}
