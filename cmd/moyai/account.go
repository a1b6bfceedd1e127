package main

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"github.com/moyai-network/moyai/client/chain"
	"github.com/moyai-network/moyai/mechanism/amount"
)

// coinView is an amount as data: base units as text, because JSON numbers lose
// digits.
type coinView struct {
	Denom  string `json:"denom"`
	Amount string `json:"amount"`
}

func viewCoin(c amount.Coin) coinView { return coinView{c.Denom, c.Amount.String()} }

type accountView struct {
	Name     string     `json:"name,omitempty"`
	Address  string     `json:"address"`
	Balances []coinView `json:"balances"`
	Locked   []coinView `json:"locked"`
	Holds    int        `json:"holds"`
}

func (a *app) accountCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "account [ADDRESS]",
		Short: "show what an account can spend and what is locked for its leases",
		Args:  args(cobra.MaximumNArgs(1)),
		RunE: func(cmd *cobra.Command, given []string) error {
			ctx, stop := interruptible(cmd.Context())
			defer stop()
			address, name, err := a.accountAddress(given)
			if err != nil {
				return err
			}
			return a.showAccount(ctx, address, name)
		},
	}
}

// accountAddress is the address given, or that of --key.
func (a *app) accountAddress(given []string) (address, name string, err error) {
	if len(given) > 0 {
		if _, err := chain.ParseAddress(given[0]); err != nil {
			return "", "", &usageError{err}
		}
		return given[0], "", nil
	}
	keys, err := a.keys()
	if err != nil {
		return "", "", err
	}
	key, err := keys.Show(a.key)
	if err != nil {
		return "", "", a.noKey(a.key, err)
	}
	return key.Address, key.Name, nil
}

func (a *app) showAccount(ctx context.Context, address, name string) error {
	c, err := a.dial(ctx)
	if err != nil {
		return err
	}
	defer c.Close()
	balances, err := c.Balances(ctx, address)
	if err != nil {
		return err
	}
	locked, holds, err := lockedBy(ctx, c, address)
	if err != nil {
		return err
	}
	v := accountView{Name: name, Address: address, Balances: []coinView{}, Locked: []coinView{}, Holds: holds}
	for _, b := range balances {
		v.Balances = append(v.Balances, viewCoin(b))
	}
	for _, l := range locked {
		v.Locked = append(v.Locked, viewCoin(l))
	}
	return a.print(v, func(w io.Writer) error {
		fmt.Fprintf(w, "address  %s\n", v.Address)
		if len(balances) == 0 {
			fmt.Fprintln(w, "balance  nothing yet")
		}
		for _, b := range balances {
			fmt.Fprintf(w, "balance  %s\n", amount.FormatAmount(b.Amount, b.Denom))
		}
		for _, l := range locked {
			fmt.Fprintf(w, "locked   %s in %s\n", amount.FormatAmount(l.Amount, l.Denom), plural(holds, "lease", "leases"))
		}
		return nil
	})
}

// lockedBy sums what an account has locked, per denomination in order of
// appearance.
func lockedBy(ctx context.Context, c *chain.Client, owner string) ([]amount.Coin, int, error) {
	holds, err := c.Holds(ctx, owner)
	if err != nil {
		return nil, 0, err
	}
	var sums []amount.Coin
	for _, h := range holds {
		for _, coin := range h.Locked {
			a, err := amount.Parse(coin.Amount.String())
			if err != nil {
				return nil, 0, fmt.Errorf("hold %x: %w", h.SubjectId, err)
			}
			if sums, err = addCoin(sums, amount.Coin{Denom: coin.Denom, Amount: a}); err != nil {
				return nil, 0, err
			}
		}
	}
	return sums, len(holds), nil
}

func addCoin(sums []amount.Coin, c amount.Coin) ([]amount.Coin, error) {
	for i := range sums {
		if sums[i].Denom == c.Denom {
			var err error
			sums[i].Amount, err = sums[i].Amount.Add(c.Amount)
			return sums, err
		}
	}
	return append(sums, c), nil
}

func plural(n int, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return fmt.Sprintf("%d %s", n, many)
}

// errNoSuchLease is shown for ids that the chain does not know.
var errNoSuchLease = errors.New("no such lease")
