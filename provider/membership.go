package provider

import (
	"context"
	"errors"

	"github.com/moyai-network/moyai/client/chain"
)

// Leave asks the chain to let the operator go: every node key is revoked and the
// unlocked bond starts on its way back. It needs no running daemon; one that runs
// sees it and stops bidding. completesAt is unix ms of block time.
func Leave(ctx context.Context, c *chain.Client, operator *chain.Sender) (completesAt int64, err error) {
	return 0, errors.New("not built yet")
}

// Withdraw starts the return of part of the bond, or of all that is unlocked if
// coin is empty text. completesAt is unix ms of block time.
func Withdraw(ctx context.Context, c *chain.Client, operator *chain.Sender, coin string) (completesAt int64, err error) {
	return 0, errors.New("not built yet")
}
