package provider

import (
	"context"
	"errors"
	"fmt"

	registryv1 "github.com/moyai-network/moyai/api/moyai/registry/v1"
	"github.com/moyai-network/moyai/client/chain"
	"github.com/moyai-network/moyai/mechanism/amount"
)

// What an operator does with its own key, whether or not a daemon runs: the rest
// is membership's.

// RegisterMsg makes an account a provider with a bond, which may be zero.
func RegisterMsg(operator, moniker, contact string, bond amount.Coin) (*registryv1.MsgRegisterProvider, error) {
	msg := &registryv1.MsgRegisterProvider{Operator: operator, Moniker: moniker, Contact: contact}
	msg.Bond.Denom = bond.Denom
	if msg.Bond.Denom == "" {
		msg.Bond.Denom = chain.BaseDenom
	}
	// The coin's integer takes its decimal text, which is also its wire form.
	if err := msg.Bond.Amount.Unmarshal([]byte(bond.Amount.String())); err != nil {
		return nil, fmt.Errorf("bond: %w", err)
	}
	return msg, nil
}

// Leave asks the chain to let the operator go: every node key is revoked and the
// unlocked bond starts on its way back. It needs no running daemon; one that runs
// sees it and stops bidding. completesAt is unix ms of block time.
func Leave(ctx context.Context, c *chain.Client, operator *chain.Sender) (completesAt int64, err error) {
	p, _, err := c.Provider(ctx, operator.Address())
	if err != nil {
		return 0, err
	}
	if locked, err := amount.Parse(orZero(p.Locked)); err != nil || !locked.IsZero() {
		return 0, errors.Join(fmt.Errorf("%w: %s of the bond is locked for them; they end first", ErrLeases, p.Locked), err)
	}
	res, err := operator.Send(ctx, &registryv1.MsgLeave{Operator: operator.Address()})
	if err != nil {
		return 0, fmt.Errorf("leave: %w", err)
	}
	resp, _ := chain.Response[*registryv1.MsgLeaveResponse](res)
	if resp == nil {
		return 0, errors.New("leave: the chain sent no answer")
	}
	return resp.CompletesAt, nil
}

// Withdraw starts the return of part of the bond; coin is such as "1MOY".
// completesAt is unix ms of block time.
func Withdraw(ctx context.Context, operator *chain.Sender, coin string) (completesAt int64, err error) {
	c, err := amount.ParseCoin(coin)
	if err != nil {
		return 0, err
	}
	msg := &registryv1.MsgUnbond{Operator: operator.Address()}
	msg.Amount.Denom = c.Denom
	if err := msg.Amount.Amount.Unmarshal([]byte(c.Amount.String())); err != nil {
		return 0, fmt.Errorf("amount %q: %w", coin, err)
	}
	res, err := operator.Send(ctx, msg)
	if err != nil {
		return 0, fmt.Errorf("withdraw bond: %w", err)
	}
	resp, _ := chain.Response[*registryv1.MsgUnbondResponse](res)
	if resp == nil {
		return 0, errors.New("withdraw bond: the chain sent no answer")
	}
	return resp.CompletesAt, nil
}

func orZero(s string) string {
	if s == "" {
		return "0"
	}
	return s
}
