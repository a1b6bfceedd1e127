package audit

import (
	"context"
	"fmt"

	sdk "github.com/cosmos/cosmos-sdk/types"
	"github.com/cosmos/cosmos-sdk/types/query"
	banktypes "github.com/cosmos/cosmos-sdk/x/bank/types"

	"github.com/moyai-network/moyai/client/chain"
	"github.com/moyai-network/moyai/mechanism/amount"
)

// maxHolders is how many accounts Holders reads: in one page, because a second
// one would be of another height.
const maxHolders = 10_000

// Books is what everybody owned at one moment.
type Books struct {
	Supply  amount.Amount
	Holders []Holder // every account, module accounts too
	Sum     amount.Amount
}

// Holder is one account and what it owns of the base denomination.
type Holder struct {
	Address string
	Amount  amount.Amount
}

// Open reads the books: the supply, and every balance with their sum.
func Open(ctx context.Context, c *chain.Client) (*Books, error) {
	supply, err := c.Supply(ctx, chain.BaseDenom)
	if err != nil {
		return nil, err
	}
	res, err := banktypes.NewQueryClient(c).DenomOwners(ctx, &banktypes.QueryDenomOwnersRequest{
		Denom: chain.BaseDenom, Pagination: &query.PageRequest{Limit: maxHolders},
	})
	if err != nil {
		return nil, fmt.Errorf("list holders of %s: %w", chain.BaseDenom, err)
	}
	if res.Pagination != nil && len(res.Pagination.NextKey) > 0 {
		return nil, fmt.Errorf("more than %d accounts hold %s: the sum would not be of one height", maxHolders, chain.BaseDenom)
	}
	b := &Books{Supply: supply}
	for _, o := range res.DenomOwners {
		a, err := amountOf(o.Balance)
		if err != nil {
			return nil, fmt.Errorf("balance of %s: %w", o.Address, err)
		}
		b.Holders = append(b.Holders, Holder{o.Address, a})
		if b.Sum, err = b.Sum.Add(a); err != nil {
			return nil, err
		}
	}
	return b, nil
}

// Of is what one account owns.
func (b *Books) Of(address string) amount.Amount {
	for _, h := range b.Holders {
		if h.Address == address {
			return h.Amount
		}
	}
	return amount.Amount{}
}

// Conserved returns nil if nothing was created or lost between two books, given
// what the bank minted and burned in between: every account's sum is the
// supply, and the supply moved by exactly what was minted and burned.
func Conserved(before, after *Books, minted, burned amount.Amount) error {
	for _, b := range []*Books{before, after} {
		if b.Sum != b.Supply {
			return fmt.Errorf("all accounts together own %s, the supply is %s", b.Sum, b.Supply)
		}
	}
	grown, err := before.Supply.Add(minted)
	if err != nil {
		return err
	}
	want, err := grown.Sub(burned)
	if err != nil {
		return fmt.Errorf("more was burned (%s) than there was (%s)", burned, grown)
	}
	if after.Supply != want {
		return fmt.Errorf("supply was %s, %s was minted and %s burned, which leaves %s; it is %s", before.Supply, minted, burned, want, after.Supply)
	}
	return nil
}

func amountOf(c sdk.Coin) (amount.Amount, error) {
	if c.Amount.IsNil() {
		return amount.Amount{}, nil
	}
	return amount.Parse(c.Amount.String())
}
