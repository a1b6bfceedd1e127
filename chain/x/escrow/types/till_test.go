package types_test

import (
	"errors"
	"testing"

	sdk "github.com/cosmos/cosmos-sdk/types"
	"github.com/stretchr/testify/require"

	"github.com/moyai-network/moyai/chain/x/escrow/types"
)

func coins(n int64) sdk.Coins { return sdk.NewCoins(sdk.NewInt64Coin("umoy", n)) }

func TestTillNetsByAccount(t *testing.T) {
	a, b := sdk.AccAddress("a"), sdk.AccAddress("b")
	var till types.Till
	till.Give(b, coins(1))
	till.Give(a, coins(2))
	till.Give(b, coins(3))
	taken, given := till.Drain()
	require.Empty(t, taken)
	require.Equal(t, []types.TillEntry{{Account: b, Coins: coins(4)}, {Account: a, Coins: coins(2)}}, given, "in order of first appearance")
	taken, given = till.Drain()
	require.Empty(t, append(taken, given...), "what was drained is gone")
}

func TestTillBranches(t *testing.T) {
	a := sdk.AccAddress("a")
	var till types.Till
	till.Take(a, coins(5))
	dropped := till.Branch()
	dropped.Take(a, coins(100))
	require.Equal(t, coins(105), dropped.Taken(a))
	kept := till.Branch()
	kept.Take(a, coins(7))
	kept.Give(a, coins(1))
	require.Equal(t, coins(12), kept.Taken(a), "the parent's count, not the dropped branch's")
	kept.Commit()
	taken, given := till.Drain()
	require.Equal(t, []types.TillEntry{{Account: a, Coins: coins(12)}}, taken)
	require.Equal(t, []types.TillEntry{{Account: a, Coins: coins(1)}}, given)
}

func TestTillSpendable(t *testing.T) {
	a, b := sdk.AccAddress("a"), sdk.AccAddress("b")
	asked := 0
	ten := func() (sdk.Coin, error) { asked++; return sdk.NewInt64Coin("umoy", 10), nil }
	var till types.Till
	spendable := func(at *types.Till, owner sdk.AccAddress) int64 {
		t.Helper()
		c, err := at.Spendable(owner, "umoy", ten)
		require.NoError(t, err)
		return c.Amount.Int64()
	}
	require.EqualValues(t, 10, spendable(&till, a))
	till.Take(a, coins(4))
	branch := till.Branch()
	branch.Take(a, coins(5))
	require.EqualValues(t, 1, spendable(branch, a))
	require.EqualValues(t, 6, spendable(&till, a), "a branch that may be dropped does not count above it")
	require.Equal(t, 1, asked)
	require.EqualValues(t, 10, spendable(branch, b))
	require.Equal(t, 2, asked)
	till.Take(a, coins(7)) // cannot happen through Lock; never below zero even so
	require.EqualValues(t, 0, spendable(&till, a))

	failure := errors.New("no such purse")
	_, err := till.Spendable(a, "uother", func() (sdk.Coin, error) { return sdk.Coin{}, failure })
	require.ErrorIs(t, err, failure)
}
