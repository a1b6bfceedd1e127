package app_test

import (
	"context"
	"strings"
	"testing"
	"time"

	abci "github.com/cometbft/cometbft/abci/types"
	clienttx "github.com/cosmos/cosmos-sdk/client/tx"
	sdk "github.com/cosmos/cosmos-sdk/types"
	sdkerrors "github.com/cosmos/cosmos-sdk/types/errors"
	"github.com/cosmos/cosmos-sdk/types/tx/signing"
	authsigning "github.com/cosmos/cosmos-sdk/x/auth/signing"
	banktypes "github.com/cosmos/cosmos-sdk/x/bank/types"
	"github.com/stretchr/testify/require"

	"github.com/moyai-network/moyai/chain/app"
)

func transfer(from, to account, sum int64) sdk.Msg {
	return banktypes.NewMsgSend(from.address, to.address, sdk.NewCoins(sdk.NewInt64Coin(app.BaseDenom, sum)))
}

// TestFeeFloor: the governed floor binds in the block, where no node's own
// setting reaches.
func TestFeeFloor(t *testing.T) {
	a, b := accountOf("payer"), accountOf("provider")
	l := newLedger(t, []string{"payer", "provider"}, func(g *app.Genesis) { g.Registry.MinGasPrice = 100 })
	l.gas = 200_001 // 20.0001, rounded up
	l.refused(sdkerrors.ErrInsufficientFee, a, transfer(a, b, 1))
	l.fee = sdk.NewCoins(sdk.NewInt64Coin(app.BaseDenom, 20))
	l.refused(sdkerrors.ErrInsufficientFee, a, transfer(a, b, 1))
	l.fee = sdk.NewCoins(sdk.NewInt64Coin(app.BaseDenom, 21))
	before := l.balance(a.address)
	l.must(a, transfer(a, b, 1))
	require.Equal(t, before-22, l.balance(a.address))
	check, err := l.app.CheckTx(&abci.RequestCheckTx{Tx: func() []byte { l.fee = nil; return l.sign(a, 0, transfer(a, b, 1)) }()})
	require.NoError(t, err)
	require.Equal(t, sdkerrors.ErrInsufficientFee.ABCICode(), check.Code)
}

// TestSignatureCache: what CheckTx has verified is not verified again, and
// nothing else is let through by it.
func TestSignatureCache(t *testing.T) {
	a, b := accountOf("payer"), accountOf("provider")
	l := newLedger(t, []string{"payer", "provider"}, nil)
	tx := l.sign(a, 0, transfer(a, b, 1))
	forged := append([]byte(nil), tx...)
	forged[len(forged)-1] ^= 1 // the signature ends the transaction

	check, err := l.app.CheckTx(&abci.RequestCheckTx{Tx: tx})
	require.NoError(t, err)
	require.Zero(t, check.Code, check.Log)
	res := l.block(time.Second, forged, tx, tx)
	require.Equal(t, sdkerrors.ErrUnauthorized.ABCICode(), res.TxResults[0].Code, "same body, another signature")
	require.True(t, strings.Contains(res.TxResults[0].Log, "signature verification failed"))
	require.Zero(t, res.TxResults[1].Code, res.TxResults[1].Log)
	require.Equal(t, sdkerrors.ErrWrongSequence.ABCICode(), res.TxResults[2].Code, "a replay of cached bytes")

	// A node that never saw it in CheckTx comes to the same result.
	fresh := l.sign(a, 0, transfer(a, b, 1))
	res = l.block(time.Second, fresh)
	require.Zero(t, res.TxResults[0].Code, res.TxResults[0].Log)
	require.Equal(t, check.GasWanted, res.TxResults[0].GasWanted)
}

// TestCacheDoesNotChangeGas: gas is part of a block's result, so it must not
// depend on what one node remembers.
func TestCacheDoesNotChangeGas(t *testing.T) {
	a, b := accountOf("payer"), accountOf("provider")
	used := func(check bool) int64 {
		l := newLedger(t, []string{"payer", "provider"}, nil)
		tx := l.sign(a, 0, transfer(a, b, 1))
		if check {
			_, err := l.app.CheckTx(&abci.RequestCheckTx{Tx: tx})
			require.NoError(t, err)
		}
		return l.block(time.Second, tx).TxResults[0].GasUsed
	}
	require.Equal(t, used(false), used(true))
}

func TestUnorderedTransactions(t *testing.T) {
	a, b := accountOf("payer"), accountOf("provider")
	l := newLedger(t, []string{"payer", "provider"}, nil)
	first, second := l.unordered(a, l.now.Add(10*time.Second), transfer(a, b, 1)), l.unordered(a, l.now.Add(11*time.Second), transfer(a, b, 1))
	late := l.unordered(a, l.now.Add(2*time.Minute), transfer(a, b, 1))
	res := l.block(time.Second, second, first, first, late)
	require.Zero(t, res.TxResults[0].Code, res.TxResults[0].Log)
	require.Zero(t, res.TxResults[1].Code, res.TxResults[1].Log)
	require.NotZero(t, res.TxResults[2].Code, "a replay")
	require.NotZero(t, res.TxResults[3].Code, "its nonce would stay for too long")
	require.NotZero(t, l.block(30*time.Second, first).TxResults[0].Code, "expired")
}

// unordered signs a transaction that needs no sequence.
func (l *ledger) unordered(from account, timeout time.Time, msgs ...sdk.Msg) []byte {
	l.t.Helper()
	acc := l.app.Accounts.GetAccount(l.ctx(), from.address)
	config := l.app.Encoding.Tx
	b := config.NewTxBuilder()
	require.NoError(l.t, b.SetMsgs(msgs...))
	b.SetGasLimit(l.gas)
	b.SetUnordered(true)
	b.SetTimeoutTimestamp(timeout)
	mode := signing.SignMode_SIGN_MODE_DIRECT
	require.NoError(l.t, b.SetSignatures(signing.SignatureV2{PubKey: from.key.PubKey(), Data: &signing.SingleSignatureData{SignMode: mode}}))
	sig, err := clienttx.SignWithPrivKey(context.Background(), mode, authsigning.SignerData{
		Address: from.String(), ChainID: testChain, AccountNumber: acc.GetAccountNumber(), PubKey: from.key.PubKey(),
	}, b, from.key, config, 0)
	require.NoError(l.t, err)
	require.NoError(l.t, b.SetSignatures(sig))
	raw, err := config.TxEncoder()(b.GetTx())
	require.NoError(l.t, err)
	return raw
}
