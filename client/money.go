package client

import (
	"context"
	"errors"
	"fmt"
	"strings"

	marketv1 "github.com/moyai-network/moyai/api/moyai/market/v1"
	"github.com/moyai-network/moyai/mechanism/amount"
	"github.com/moyai-network/moyai/mechanism/escrow"
)

// penniless: orders of an account that holds nothing are not passed on, so its
// tenant hears nothing at all. What is needed is told at the ceiling.
func (s *shopping) penniless(money balanceReply, params marketv1.Params) error {
	denom := s.job.MaxPrice.Denom
	if money.err != nil || !money.have[denom].IsZero() {
		return nil //nolint:nilerr // a balance nobody could read explains nothing
	}
	bounty, err := bountyOf(params, denom)
	if err != nil {
		return err
	}
	need, err := escrow.HoldFor(s.program.ceiling, uint64(s.job.Timeout.Milliseconds()))
	if err == nil {
		need, err = need.Add(bounty)
	}
	if err != nil {
		return fmt.Errorf("price of a lease: %w", err)
	}
	return &FundsError{Address: s.c.sender.Address(), Need: need, Have: money.have[denom], Denom: denom,
		What: fmt.Sprintf("holding a lease of %s at the ceiling", s.job.Timeout)}
}

type balanceReply struct {
	have map[string]amount.Amount
	err  error
}

func (c *Client) balances(ctx context.Context) balanceReply {
	coins, err := c.chain.Balances(ctx, c.sender.Address())
	have := map[string]amount.Amount{}
	for _, coin := range coins {
		have[coin.Denom] = coin.Amount
	}
	return balanceReply{have, err}
}

// afford checks that the holds at the bid prices, the bounties and what newcomers are given are
// there, before anything is sent.
func (s *shopping) afford(money balanceReply, choices []*choice, params marketv1.Params, account string, firstFees amount.Amount) error {
	if money.err != nil {
		return money.err
	}
	bounty, err := bountyOf(params, s.job.MaxPrice.Denom)
	if err != nil {
		return err
	}
	need := map[string]amount.Amount{}
	add := func(denom string, a amount.Amount) {
		sum, addErr := need[denom].Add(a)
		err = errors.Join(err, addErr)
		need[denom] = sum
	}
	add(baseDenom, firstFees)
	for _, ch := range choices {
		v := ch.bids[0].signed.Value
		hold, holdErr := escrow.HoldFor(v.Rate, ch.order.signed.Value.Terms.TimeoutMS)
		err = errors.Join(err, holdErr)
		add(v.Denom, hold)
		add(v.Denom, bounty)
	}
	if err != nil {
		return fmt.Errorf("price of the leases: %w", err)
	}
	for denom, n := range need {
		if money.have[denom].Cmp(n) < 0 {
			return &FundsError{Address: account, Need: n, Have: money.have[denom], Denom: denom,
				What: fmt.Sprintf("holding %d lease(s) of %s", len(choices), s.job.Timeout)}
		}
	}
	return nil
}

// bountyOf is what a lease locks for whoever closes it.
func bountyOf(params marketv1.Params, denom string) (amount.Amount, error) {
	var known []string
	for _, d := range params.Denoms {
		if d.Denom == denom {
			a, err := amount.Parse(d.Bounty)
			if err != nil {
				return amount.Amount{}, fmt.Errorf("market parameters: bounty in %s: %w", denom, err)
			}
			return a, nil
		}
		known = append(known, d.Denom)
	}
	return amount.Amount{}, fmt.Errorf("%w: leases cannot be priced in %s here, only in %s", ErrBadJob, denom, strings.Join(known, ", "))
}
