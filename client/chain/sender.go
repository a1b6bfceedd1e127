package chain

import (
	"context"
	"errors"

	abci "github.com/cometbft/cometbft/abci/types"
	sdk "github.com/cosmos/cosmos-sdk/types"
	"github.com/cosmos/gogoproto/proto"
)

// Sender signs and commits transactions of one account. They are unordered:
// each is named by its timeout instead of a sequence number, so any number may
// be under way at once and none can block another. A Sender may be used by many
// goroutines.
type Sender struct {
	c      *Client
	signer *KeySigner
}

// Sender unlocks the named key of the keyring. ErrNoKey if there is none.
func (c *Client) Sender(keys *Keys, name string) (*Sender, error) {
	signer, err := keys.Signer(name)
	if err != nil {
		return nil, err
	}
	return &Sender{c: c, signer: signer}, nil
}

// Address is the sender's account in bech32.
func (s *Sender) Address() string { return s.signer.Address }

// Account is the sender's account, 20 bytes.
func (s *Sender) Account() []byte { return s.signer.Account }

// Signer signs wire objects (orders) with the sender's key.
func (s *Sender) Signer() *KeySigner { return s.signer }

// Result is a committed and accepted transaction.
type Result struct {
	TxHash    string
	Height    int64
	GasWanted int64
	GasUsed   int64
	Fee       sdk.Coin
	Bytes     int // size of the transaction
	Events    []abci.Event
	// Responses has one message response per message, decoded.
	Responses []proto.Message
}

// Send signs, broadcasts and waits until the transaction is in a block. If it
// can no longer be committed (its timeout passed, a restart emptied the mempool,
// the chain had halted) it is signed anew and sent again until ctx ends: the
// first can then never take effect, so nothing happens twice.
//
// A refusal is an *Error. An ended ctx leaves the outcome unknown.
func (s *Sender) Send(ctx context.Context, msgs ...sdk.Msg) (*Result, error) {
	_ = ctx
	return nil, errors.New("not built yet")
}

// Response finds the response of type T in a result: Response[*marketv1.MsgOpenLeasesResponse](res).
func Response[T proto.Message](r *Result) (T, bool) {
	for _, m := range r.Responses {
		if t, ok := m.(T); ok {
			return t, true
		}
	}
	var zero T
	return zero, false
}
