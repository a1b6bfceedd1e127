package chain

import (
	"context"
	"errors"
	"fmt"

	sdk "github.com/cosmos/cosmos-sdk/types"
	"github.com/cosmos/cosmos-sdk/types/query"
	authtypes "github.com/cosmos/cosmos-sdk/x/auth/types"
	banktypes "github.com/cosmos/cosmos-sdk/x/bank/types"

	"github.com/moyai-network/moyai/mechanism/amount"
)

// pageSize and maxPages bound what one listing may read.
const (
	pageSize = 200
	maxPages = 500
)

// Balance returns what an account can spend of one denomination, in base units.
func (c *Client) Balance(ctx context.Context, address, denom string) (amount.Amount, error) {
	res, err := banktypes.NewQueryClient(c).Balance(ctx, &banktypes.QueryBalanceRequest{Address: address, Denom: denom})
	if err != nil {
		return amount.Amount{}, fmt.Errorf("balance of %s: %w", address, err)
	}
	if res.Balance == nil {
		return amount.Amount{}, nil
	}
	return amountOf(*res.Balance)
}

// Balances returns everything an account holds, sorted by denomination.
func (c *Client) Balances(ctx context.Context, address string) ([]amount.Coin, error) {
	var out []amount.Coin
	err := pages(func(page *query.PageRequest) (*query.PageResponse, error) {
		res, err := banktypes.NewQueryClient(c).AllBalances(ctx, &banktypes.QueryAllBalancesRequest{Address: address, Pagination: page})
		if err != nil {
			return nil, err
		}
		for _, coin := range res.Balances {
			a, err := amountOf(coin)
			if err != nil {
				return nil, err
			}
			out = append(out, amount.Coin{Amount: a, Denom: coin.Denom})
		}
		return res.Pagination, nil
	})
	if err != nil {
		return nil, fmt.Errorf("balances of %s: %w", address, err)
	}
	return out, nil
}

// Supply returns how much of a denomination exists, in base units.
func (c *Client) Supply(ctx context.Context, denom string) (amount.Amount, error) {
	res, err := banktypes.NewQueryClient(c).SupplyOf(ctx, &banktypes.QuerySupplyOfRequest{Denom: denom})
	if err != nil {
		return amount.Amount{}, fmt.Errorf("supply of %s: %w", denom, err)
	}
	return amountOf(res.Amount)
}

// accountNumber is part of what a transaction signs; it never changes.
// ErrNoAccount if nobody ever sent anything to the address.
func (c *Client) accountNumber(ctx context.Context, address string) (uint64, error) {
	c.mu.Lock()
	n, ok := c.accounts[address]
	c.mu.Unlock()
	if ok {
		return n, nil
	}
	res, err := authtypes.NewQueryClient(c).AccountInfo(ctx, &authtypes.QueryAccountInfoRequest{Address: address})
	switch {
	case errors.Is(err, ErrNotFound):
		return 0, fmt.Errorf("%s: %w; send it some %s first", address, ErrNoAccount, BaseDenom)
	case err != nil:
		return 0, fmt.Errorf("account %s: %w", address, err)
	case res.Info == nil:
		return 0, fmt.Errorf("account %s: the node sent an empty answer", address)
	}
	c.mu.Lock()
	c.accounts[address] = res.Info.AccountNumber
	c.mu.Unlock()
	return res.Info.AccountNumber, nil
}

func amountOf(coin sdk.Coin) (amount.Amount, error) {
	if coin.Amount.IsNil() {
		return amount.Amount{}, nil
	}
	a, err := amount.Parse(coin.Amount.String())
	if err != nil {
		return amount.Amount{}, fmt.Errorf("amount of %s: %w", coin.Denom, err)
	}
	return a, nil
}

// pages walks a paginated listing to its end.
func pages(read func(*query.PageRequest) (*query.PageResponse, error)) error {
	page := &query.PageRequest{Limit: pageSize}
	for range maxPages {
		res, err := read(page)
		if err != nil {
			return err
		}
		if res == nil || len(res.NextKey) == 0 {
			return nil
		}
		page = &query.PageRequest{Limit: pageSize, Key: res.NextKey}
	}
	return fmt.Errorf("more than %d entries", pageSize*maxPages)
}
