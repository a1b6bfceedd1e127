package chain

import (
	"context"
	"errors"
	"fmt"
	"time"

	abci "github.com/cometbft/cometbft/abci/types"
	codectypes "github.com/cosmos/cosmos-sdk/codec/types"
	sdk "github.com/cosmos/cosmos-sdk/types"
	txtypes "github.com/cosmos/cosmos-sdk/types/tx"
	signingtypes "github.com/cosmos/cosmos-sdk/types/tx/signing"
	"github.com/cosmos/gogoproto/proto"
)

const (
	// txLife bounds how long a signed transaction can still be committed. The
	// chain allows 60 s from its last block; a little less leaves room for a
	// block in between.
	txLife = 45 * time.Second
	// rebroadcastAfter is how long a transaction may stay out of sight before
	// it is offered again, because a restarted node has an empty mempool.
	rebroadcastAfter = time.Second
	// broadcastTimeout: a node that takes so long to look at a transaction is
	// asked again.
	broadcastTimeout = 4 * time.Second
	// maxTxBytes is the mempool's own limit.
	maxTxBytes = 2 << 20
	// maxAnew bounds how often a refusal that time may cure is tried again.
	maxAnew = 3
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
// can no longer be committed (its timeout passed because the chain had halted)
// it is signed anew and sent again until ctx ends: the first can then never
// take effect, so nothing happens twice.
//
// A refusal is an *Error. An ended ctx leaves the outcome unknown.
func (s *Sender) Send(ctx context.Context, msgs ...sdk.Msg) (*Result, error) {
	if len(msgs) == 0 {
		return nil, errors.New("a transaction needs at least one message")
	}
	gas, known := gasOf(msgs, sizeOf(msgs))
	if !known {
		var err error
		if gas, err = s.simulate(ctx, msgs); err != nil {
			return nil, err
		}
	}
	simulated := !known
	for anew := 0; ; {
		res, err := s.attempt(ctx, msgs, gas)
		if err == nil {
			return res, nil
		}
		switch {
		case errors.Is(err, errExpired):
			continue // safe: what has expired can never be committed
		case errors.Is(err, CodeInsufficientFee) && anew < maxAnew:
			s.c.forgetGasPrice()
		case errors.Is(err, CodeOutOfGas) && !simulated:
			// Paid for, but nothing happened. The table was too low for this state.
			simulated = true
			if gas, err = s.simulate(ctx, msgs); err != nil {
				return nil, err
			}
		case neverInBlock(err) && (errors.Is(err, CodeInvalidRequest) || errors.Is(err, CodeTxTimeout)) && anew < maxAnew:
			// A used nonce, or a node whose last block is too old to judge our
			// timeout by: both are cured by a new block and a new signature.
			if err := s.c.feed.wait(ctx); err != nil {
				return nil, err
			}
		default:
			return nil, err
		}
		anew++
	}
}

// errExpired: the transaction was not committed before its timeout.
var errExpired = errors.New("transaction expired before it was committed")

func neverInBlock(err error) bool {
	var e *Error
	return errors.As(err, &e) && e.Height == 0
}

// attempt makes one signed transaction and follows it to its end.
func (s *Sender) attempt(ctx context.Context, msgs []sdk.Msg, gas uint64) (*Result, error) {
	price, err := s.c.minGasPrice(ctx)
	if err != nil {
		return nil, err
	}
	fee, err := feeFor(gas, price)
	if err != nil {
		return nil, err
	}
	expiry := s.c.feed.expiry()
	tx, err := s.build(ctx, msgs, gas, fee, expiry)
	if err != nil {
		return nil, err
	}
	raw, err := tx.Marshal()
	if err != nil {
		return nil, fmt.Errorf("encode transaction: %w", err)
	}
	if len(raw) > maxTxBytes {
		return nil, &Error{Code: CodeTxTooLarge, Text: fmt.Sprintf("the transaction has %d bytes, the limit is %d", len(raw), maxTxBytes)}
	}
	committed, height, err := s.deliver(ctx, raw, expiry)
	if err != nil {
		return nil, err
	}
	if !committed.OK() {
		return nil, &Error{Code: committed.Code, Text: committed.Log, TxHash: committed.Hash, Height: height}
	}
	responses, err := s.c.responses(committed.Data)
	if err != nil {
		return nil, err
	}
	return &Result{
		TxHash: committed.Hash, Height: height, GasWanted: committed.GasWanted, GasUsed: committed.GasUsed,
		Fee: sdk.NewInt64Coin(BaseDenom, int64(fee)), Bytes: len(raw), Events: committed.Events, Responses: responses,
	}, nil
}

// deliver broadcasts and watches the feed, which was subscribed to long before,
// so that the block itself is the answer.
func (s *Sender) deliver(ctx context.Context, raw []byte, expiry time.Time) (*Tx, int64, error) {
	hash := TxHash(raw)
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	follower := s.c.Follow(0) // before the broadcast: nothing is missed
	blocks, ended := make(chan *Block), make(chan error, 1)
	go func() { ended <- follower.pump(ctx, blocks) }()
	answers := make(chan error, 1)
	offer := func() { answers <- s.broadcast(ctx, raw) }
	offers, underWay := 1, true
	go offer()
	again := time.NewTicker(rebroadcastAfter)
	defer again.Stop()
	var lastErr error
	for {
		select {
		case b := <-blocks:
			for i := range b.Txs {
				if b.Txs[i].Hash == hash {
					return &b.Txs[i], b.Height, nil
				}
			}
			if b.Time.After(expiry) {
				return nil, 0, fmt.Errorf("transaction %s: %w", hash, errExpired)
			}
		case err := <-answers:
			underWay, lastErr = false, err
			// A later refusal may only mean that an earlier offer did arrive.
			if offers == 1 && isRefusal(err) {
				return nil, 0, err
			}
		case <-again.C:
			if !underWay {
				offers, underWay = offers+1, true
				go offer()
			}
		case err := <-ended:
			if lastErr != nil && !isRefusal(lastErr) {
				err = fmt.Errorf("%w (last answer to the broadcast: %w)", err, lastErr)
			}
			return nil, 0, fmt.Errorf("wait for transaction %s: %w; it may still be committed", hash, err)
		}
	}
}

func isRefusal(err error) bool {
	var e *Error
	return errors.As(err, &e)
}

// broadcast offers the transaction to the node's mempool. *Error if it was
// refused there; any other error leaves open whether it arrived.
func (s *Sender) broadcast(ctx context.Context, raw []byte) error {
	ctx, cancel := context.WithTimeout(ctx, broadcastTimeout)
	defer cancel()
	res, err := s.c.rpc.BroadcastTxSync(ctx, raw)
	if err != nil {
		return s.c.unreachable(err)
	}
	if res.Code != abci.CodeTypeOK {
		return &Error{Code: Code{res.Codespace, res.Code}, Text: res.Log, TxHash: res.Hash.String()}
	}
	return nil
}

// build encodes and signs in SIGN_MODE_DIRECT.
func (s *Sender) build(ctx context.Context, msgs []sdk.Msg, gas, fee uint64, expiry time.Time) (*txtypes.TxRaw, error) {
	raw, number, err := s.encode(ctx, msgs, gas, fee, expiry)
	if err != nil {
		return nil, err
	}
	doc := &txtypes.SignDoc{BodyBytes: raw.BodyBytes, AuthInfoBytes: raw.AuthInfoBytes, ChainId: s.c.chainID, AccountNumber: number}
	signBytes, err := doc.Marshal()
	if err != nil {
		return nil, fmt.Errorf("encode transaction: %w", err)
	}
	sig, err := s.signer.Sign(signBytes)
	if err != nil {
		return nil, err
	}
	raw.Signatures = [][]byte{sig}
	return raw, nil
}

// encode makes an unsigned transaction and looks up the account number that its
// signature covers.
func (s *Sender) encode(ctx context.Context, msgs []sdk.Msg, gas, fee uint64, expiry time.Time) (*txtypes.TxRaw, uint64, error) {
	number, err := s.c.accountNumber(ctx, s.signer.Address)
	if err != nil {
		return nil, 0, err
	}
	body := &txtypes.TxBody{Unordered: true, TimeoutTimestamp: &expiry}
	for _, m := range msgs {
		wrapped, err := codectypes.NewAnyWithValue(m)
		if err != nil {
			return nil, 0, fmt.Errorf("encode %s: %w", sdk.MsgTypeURL(m), err)
		}
		body.Messages = append(body.Messages, wrapped)
	}
	pub, err := codectypes.NewAnyWithValue(s.signer.pub)
	if err != nil {
		return nil, 0, fmt.Errorf("encode public key: %w", err)
	}
	auth := &txtypes.AuthInfo{
		SignerInfos: []*txtypes.SignerInfo{{
			PublicKey: pub,
			ModeInfo: &txtypes.ModeInfo{Sum: &txtypes.ModeInfo_Single_{
				Single: &txtypes.ModeInfo_Single{Mode: signingtypes.SignMode_SIGN_MODE_DIRECT},
			}},
		}},
		Fee: &txtypes.Fee{GasLimit: gas},
	}
	if fee > 0 {
		auth.Fee.Amount = sdk.NewCoins(sdk.NewInt64Coin(BaseDenom, int64(fee)))
	}
	raw := &txtypes.TxRaw{}
	if raw.BodyBytes, err = body.Marshal(); err != nil {
		return nil, 0, fmt.Errorf("encode transaction: %w", err)
	}
	if raw.AuthInfoBytes, err = auth.Marshal(); err != nil {
		return nil, 0, fmt.Errorf("encode transaction: %w", err)
	}
	return raw, number, nil
}

// responses decodes the message responses of a committed transaction.
func (c *Client) responses(data []byte) ([]proto.Message, error) {
	var all sdk.TxMsgData
	if err := proto.Unmarshal(data, &all); err != nil {
		return nil, fmt.Errorf("decode transaction's responses: %w", err)
	}
	out := make([]proto.Message, 0, len(all.MsgResponses))
	for _, a := range all.MsgResponses {
		m, err := c.reg.Resolve(a.TypeUrl)
		if err != nil {
			return nil, fmt.Errorf("decode transaction's responses: %w", err)
		}
		if err := proto.Unmarshal(a.Value, m); err != nil {
			return nil, fmt.Errorf("decode %s: %w", a.TypeUrl, err)
		}
		out = append(out, m)
	}
	return out, nil
}

func sizeOf(msgs []sdk.Msg) int {
	n := 400 // signature, public key, fee and framing
	for _, m := range msgs {
		n += proto.Size(m)
	}
	return n
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
