// Package gossip carries announced orders from tenants to every provider that
// listens, and refuses to carry anything else.
//
// A message passes on only if its order is signed by its payer, has not expired,
// and its payer is known to hold funds; each account and each peer has a rate.
// What is malformed or badly signed is rejected and counts against whoever sent
// it; what may be an honest peer's old news or an account we know nothing about
// is ignored, and costs nobody anything.
//
// It does not decide whether an order is worth a bid, and it does not connect to
// anybody: connections come from the registry's addresses. Parameters are fit for
// networks of one peer as for hundreds.
package gossip

import (
	"context"
	"errors"

	"github.com/moyai-network/moyai/p2p"
	"github.com/moyai-network/moyai/wire"
)

// ErrClosed is what a closed Orders returns.
var ErrClosed = errors.New("gossip is closed")

// Funds is what is known about an account's money.
type Funds struct {
	Funded bool // holds enough to open a lease
	Known  bool // false: could not find out; the message is ignored, not rejected
}

// FundsChecker tells whether a payer holds funds. It may ask the chain and block
// for a moment; answers are cached (see Config). ctx ends when the answer is no
// longer of use.
type FundsChecker func(ctx context.Context, payer []byte) Funds

// Order is an announced order that passed the validator: its signature is good,
// it is unexpired for this chain, and its payer holds funds.
type Order struct {
	Signed   wire.Signed[wire.Order]
	Announce *p2p.Announce
}
