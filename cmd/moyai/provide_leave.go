package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"

	"github.com/moyai-network/moyai/client/chain"
	"github.com/moyai-network/moyai/mechanism/amount"
	"github.com/moyai-network/moyai/provider"
)

// unbonding is how both ways of getting a bond back answer.
type unbonding struct {
	Operator string `json:"operator"`
	// CompletesAt is missing if there is no bond to come back.
	CompletesAt *time.Time `json:"completes_at,omitempty"`
}

func (a *app) provideLeaveCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "leave",
		Short: "stop lending for good: revoke the machine's key and get the bond back",
		Args:  args(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			return a.unbond(cmd.Context(), "left; the bond comes back after %s\n", provider.Leave)
		},
	}
}

func (a *app) provideWithdrawCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "withdraw [AMOUNT]",
		Short: "get unlocked bond back, all of it or an amount such as 5MOY",
		Long: `Get unlocked bond back, all of it or an amount such as 5MOY. What leases earn
needs no withdrawing: it is in the operator's account once a lease is closed.`,
		Args: args(cobra.MaximumNArgs(1)),
		RunE: func(cmd *cobra.Command, given []string) error {
			var coin amount.Coin
			if len(given) > 0 {
				var err error
				if coin, err = amount.ParseCoin(given[0]); err != nil {
					return &usageError{err}
				}
			}
			return a.unbond(cmd.Context(), "on its way back; it is there after %s\n", func(ctx context.Context, c *chain.Client, s *chain.Sender) (int64, error) {
				if len(given) == 0 {
					var err error
					if coin, err = unlocked(ctx, c, s.Address()); err != nil {
						return 0, err
					}
				}
				return provider.Withdraw(ctx, s, coin.String())
			})
		},
	}
}

// unlocked is the part of a bond that no lease holds.
func unlocked(ctx context.Context, c *chain.Client, operator string) (amount.Coin, error) {
	coin := amount.Coin{Denom: chain.BaseDenom}
	p, _, err := c.Provider(ctx, operator)
	if err != nil {
		return coin, err
	}
	bond, err := amount.Parse(p.Bond)
	if err != nil {
		return coin, fmt.Errorf("bond of %s: %w", operator, err)
	}
	locked, err := amount.Parse(p.Locked)
	if err != nil {
		return coin, fmt.Errorf("bond of %s: %w", operator, err)
	}
	if coin.Amount, err = bond.Sub(locked); err != nil {
		return coin, fmt.Errorf("bond of %s: more is locked (%s) than there is (%s)", operator, locked, bond)
	}
	if coin.Amount.IsZero() {
		return coin, withHint(errors.New("there is no unlocked bond to get back"), "`moyai providers` shows bonds")
	}
	return coin, nil
}

// unbond asks for a bond, or part of it, and says done with the time at which
// it is there.
func (a *app) unbond(ctx context.Context, done string, ask func(context.Context, *chain.Client, *chain.Sender) (int64, error)) error {
	ctx, stop := interruptible(ctx)
	defer stop()
	c, err := a.dial(ctx)
	if err != nil {
		return err
	}
	defer c.Close()
	s, err := a.sender(c)
	if err != nil {
		return err
	}
	at, err := ask(ctx, c, s)
	switch {
	case errors.Is(err, provider.ErrLeases):
		return withHint(err, "`moyai provide status` shows them; try again when they are closed")
	case errors.Is(err, chain.ErrNotFound):
		return withHint(fmt.Errorf("%s is not a provider", s.Address()), "name its key with --key and its home with --home")
	case err != nil:
		return err
	}
	v := unbonding{Operator: s.Address()}
	if at != 0 {
		t := time.UnixMilli(at).UTC()
		v.CompletesAt = &t
	}
	return a.print(v, func(w io.Writer) error {
		if v.CompletesAt == nil {
			_, err := fmt.Fprintln(w, "left; there was no bond to give back")
			return err
		}
		_, err := fmt.Fprintf(w, done, v.CompletesAt.Format(time.RFC3339))
		return err
	})
}
