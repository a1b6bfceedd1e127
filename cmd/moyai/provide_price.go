package main

import (
	"context"
	"errors"
	"os"
	"slices"

	"github.com/moyai-network/moyai/client"
	"github.com/moyai-network/moyai/mechanism/amount"
	"github.com/moyai-network/moyai/provider"
)

// usualPrice is what is asked where nobody else offers anything to compare with.
const usualPrice = "cpu=0.02MOY/h"

// goingPrices are for an owner who names none: a core for what the others ask now, the
// one in the middle, so that no single offer moves it. It says so.
func (a *app) goingPrices(ctx context.Context) (provider.Prices, error) {
	rates, denom, err := a.offersOfACore(ctx)
	if err != nil {
		return provider.Prices{}, err
	}
	if len(rates) == 0 {
		prices, err := provider.ParsePrices([]string{usualPrice})
		if err == nil {
			a.say("a core is lent for %s, since nobody else offers one now; --price %s would set it", amount.FormatRate(prices.Units[0].Rate, prices.Denom), usualPrice)
		}
		return prices, err
	}
	slices.SortFunc(rates, amount.Rate.Cmp)
	middle := rates[(len(rates)-1)/2]
	a.say("a core is lent for %s, the middle of %s now; --price %s would set it", amount.FormatRate(middle, denom), plural(len(rates), "offer", "offers"), usualPrice)
	return provider.Prices{Denom: denom, Units: []provider.UnitPrice{{Dimension: provider.DimCPU, Per: 1000, Rate: middle}}}, nil
}

// offersOfACore asks every machine for one with the usual memory, from a home that is
// thrown away: the owner of a machine need not be a tenant.
func (a *app) offersOfACore(ctx context.Context) (rates []amount.Rate, denom string, err error) {
	home, err := os.MkdirTemp("", "moyai-quote-")
	if err != nil {
		return nil, "", err
	}
	defer os.RemoveAll(home)
	asker := *a
	asker.home = home
	c, err := asker.visitor(ctx)
	if err != nil {
		return nil, "", err
	}
	defer c.Close()
	quotes, err := c.Quote(ctx, client.Job{CPUMilli: 1000})
	if err != nil && !errors.Is(err, client.ErrNoProviders) {
		return nil, "", err
	}
	for _, q := range quotes {
		if len(q.Refusals) == 0 {
			rates, denom = append(rates, q.Rate), q.Denom
		}
	}
	return rates, denom, nil
}
