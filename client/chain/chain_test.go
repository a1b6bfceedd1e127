package chain_test

import (
	"context"
	"errors"
	"path/filepath"
	"sync"
	"testing"
	"time"

	sdk "github.com/cosmos/cosmos-sdk/types"
	banktypes "github.com/cosmos/cosmos-sdk/x/bank/types"
	"github.com/stretchr/testify/require"

	registryv1 "github.com/moyai-network/moyai/api/moyai/registry/v1"
	"github.com/moyai-network/moyai/chain/node"
	"github.com/moyai-network/moyai/client/chain"
)

// ledger is a one-validator chain in this process with two keys, one of them
// rich.
type ledger struct {
	t          *testing.T
	home       string
	node       *node.Node
	keys       *chain.Keys
	rich, poor chain.Key
}

const wealth = 1_000_000_000

func newLedger(t *testing.T) *ledger {
	t.Helper()
	l := &ledger{t: t, home: filepath.Join(t.TempDir(), "v0")}
	var err error
	l.keys, err = chain.OpenKeys(t.TempDir(), chain.BackendMemory, nil)
	require.NoError(t, err)
	l.rich, _, err = l.keys.Create("rich")
	require.NoError(t, err)
	l.poor, _, err = l.keys.Create("poor")
	require.NoError(t, err)
	require.NoError(t, node.Init(node.Spec{
		ChainID: "moyai-dev-1", Profile: node.Dev, Validators: []node.Validator{{Home: l.home}},
		Accounts: []node.Account{{Address: l.rich.Address, Amount: wealth}},
	}))
	l.start()
	t.Cleanup(l.stop)
	return l
}

func (l *ledger) start() {
	l.t.Helper()
	n, err := node.Start(context.Background(), node.Config{Home: l.home})
	require.NoError(l.t, err)
	l.node = n
}

func (l *ledger) stop() {
	if l.node != nil {
		require.NoError(l.t, l.node.Stop())
		l.node = nil
	}
}

func (l *ledger) dial(ctx context.Context) *chain.Client {
	l.t.Helper()
	c, err := chain.Dial(ctx, l.node.RPC())
	require.NoError(l.t, err)
	l.t.Cleanup(func() { _ = c.Close() })
	_, err = c.Follow(3).Next(ctx) // genesis is committed
	require.NoError(l.t, err)
	return c
}

func deadline(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	t.Cleanup(cancel)
	return ctx
}

func pay(from, to chain.Key, n int64) *banktypes.MsgSend {
	return &banktypes.MsgSend{FromAddress: from.Address, ToAddress: to.Address, Amount: sdk.NewCoins(sdk.NewInt64Coin(chain.BaseDenom, n))}
}

func TestSend(t *testing.T) {
	l, ctx := newLedger(t), deadline(t)
	c := l.dial(ctx)
	s, err := c.Sender(l.keys, "rich")
	require.NoError(t, err)

	t.Run("one", func(t *testing.T) {
		began := time.Now()
		res, err := s.Send(ctx, pay(l.rich, l.poor, 5))
		require.NoError(t, err)
		t.Logf("committed at %d after %s, %d gas of %d, %d bytes", res.Height, time.Since(began), res.GasUsed, res.GasWanted, res.Bytes)
		require.Len(t, res.Responses, 1)
		_, ok := chain.Response[*banktypes.MsgSendResponse](res)
		require.True(t, ok)
		have, err := c.Balance(ctx, l.poor.Address, chain.BaseDenom)
		require.NoError(t, err)
		require.Equal(t, "5", have.String())
	})
	t.Run("many at once from one account", func(t *testing.T) {
		const n = 40
		var wg sync.WaitGroup
		errs := make([]error, n)
		for i := range n {
			wg.Go(func() { _, errs[i] = s.Send(ctx, pay(l.rich, l.poor, 1)) })
		}
		wg.Wait()
		require.NoError(t, errors.Join(errs...))
		have, err := c.Balance(ctx, l.poor.Address, chain.BaseDenom)
		require.NoError(t, err)
		require.Equal(t, "45", have.String())
	})
	t.Run("a message outside the table is simulated", func(t *testing.T) {
		res, err := s.Send(ctx, &registryv1.MsgRegisterProvider{
			Operator: l.rich.Address, Moniker: "p", Bond: sdk.NewInt64Coin(chain.BaseDenom, 1000),
		})
		require.NoError(t, err)
		require.LessOrEqual(t, res.GasUsed, res.GasWanted)
		p, _, err := c.Provider(ctx, l.rich.Address)
		require.NoError(t, err)
		require.Equal(t, "1000", p.Bond)
		var typed []string
		b, err := c.Block(ctx, res.Height)
		require.NoError(t, err)
		for _, e := range b.Typed() {
			if m, ok := e.Msg.(*registryv1.EventProviderRegistered); ok {
				require.Equal(t, res.TxHash, e.TxHash)
				typed = append(typed, m.Operator)
			}
		}
		require.Equal(t, []string{l.rich.Address}, typed)
	})
	t.Run("refusals", func(t *testing.T) {
		_, err := s.Send(ctx, pay(l.rich, l.poor, 2*wealth))
		require.ErrorIs(t, err, chain.CodeInsufficientFunds)
		var refused *chain.Error
		require.ErrorAs(t, err, &refused)
		require.Contains(t, err.Error(), "fund the account")

		stranger, _, err := l.keys.Create("stranger")
		require.NoError(t, err)
		ss, err := c.Sender(l.keys, "stranger")
		require.NoError(t, err)
		_, err = ss.Send(ctx, pay(stranger, l.poor, 1))
		require.ErrorIs(t, err, chain.ErrNoAccount)

		_, err = c.Sender(l.keys, "nobody")
		require.ErrorIs(t, err, chain.ErrNoKey)
		_, err = c.Lease(ctx, make([]byte, 20))
		require.ErrorIs(t, err, chain.ErrNotFound)
		_, _, err = c.Provider(ctx, stranger.Address)
		require.ErrorIs(t, err, chain.ErrNotFound)
	})
	t.Run("scan finds what was sent", func(t *testing.T) {
		res, err := s.Send(ctx, pay(l.rich, l.poor, 1))
		require.NoError(t, err)
		next := int64(1)
		seen := map[string]int{}
		require.NoError(t, c.Scan(ctx, 1, res.Height, func(b *chain.Block) error {
			require.Equal(t, next, b.Height)
			next++
			for _, tx := range b.Txs {
				require.Equal(t, chain.TxHash(tx.Bytes), tx.Hash)
				seen[tx.Hash] = len(tx.Bytes)
			}
			return nil
		}))
		require.Equal(t, res.Height+1, next)
		require.Equal(t, res.Bytes, seen[res.TxHash])
	})
}

// TestRestart stops the node under a follower and a sender: no height is missed
// and the transaction is committed once.
func TestRestart(t *testing.T) {
	l, ctx := newLedger(t), deadline(t)
	c := l.dial(ctx)
	s, err := c.Sender(l.keys, "rich")
	require.NoError(t, err)
	_, err = s.Send(ctx, pay(l.rich, l.poor, 1)) // account number and gas price are known from here on
	require.NoError(t, err)

	rpc := l.node.RPC()
	follower, next := c.Follow(1), int64(1)
	read := func(until int64) {
		for ; next <= until; next++ {
			b, err := follower.Next(ctx)
			require.NoError(t, err)
			require.Equal(t, next, b.Height)
			require.False(t, b.Time.IsZero())
		}
	}
	top, err := c.Height(ctx)
	require.NoError(t, err)
	read(top + 2)

	l.stop()
	_, err = chain.Dial(ctx, rpc)
	require.ErrorIs(t, err, chain.ErrUnreachable)
	sent := make(chan error, 1)
	go func() {
		_, err := s.Send(ctx, pay(l.rich, l.poor, 10))
		sent <- err
	}()
	l.start()
	require.NoError(t, <-sent)
	top, err = c.Height(ctx)
	require.NoError(t, err)
	read(top + 2)
	have, err := c.Balance(ctx, l.poor.Address, chain.BaseDenom)
	require.NoError(t, err)
	require.Equal(t, "11", have.String())
}
