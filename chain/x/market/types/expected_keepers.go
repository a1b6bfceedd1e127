package types

import (
	"context"

	sdk "github.com/cosmos/cosmos-sdk/types"

	escrowv1 "github.com/moyai-network/moyai/api/moyai/escrow/v1"
	escrowtypes "github.com/moyai-network/moyai/chain/x/escrow/types"
	"github.com/moyai-network/moyai/mechanism/amount"
	"github.com/moyai-network/moyai/mechanism/escrow"
)

// RegistryKeeper knows who serves, and keeps the bonds.
type RegistryKeeper interface {
	// JoinNode tells for which operator a node may take a new lease, and registers
	// both by the record that came with the bid if the chain does not know the node.
	// A provider that is new is owed its first fees.
	JoinNode(ctx context.Context, node, record []byte, operator sdk.AccAddress) (admitted sdk.AccAddress, first sdk.Coin, err error)
	// HotOf is the account that may act as a provider's side; empty if none.
	HotOf(ctx context.Context, operator sdk.AccAddress) string
	// CheckService refuses kinds and dimensions that governance does not know.
	CheckService(ctx context.Context, kind string, version uint64, dimensions []string) error
	LockBond(ctx context.Context, operator sdk.AccAddress, part amount.Amount) error
	ReleaseBond(ctx context.Context, operator sdk.AccAddress, part amount.Amount) error
	// RecordLease adds a closed lease to its provider's aggregates and to its bond;
	// bonded, a part of what was earned, must be paid to the bonds' account.
	RecordLease(ctx context.Context, operator sdk.AccAddress, seconds uint64, earned sdk.Coin) (bonded amount.Amount, err error)
}

// EscrowKeeper holds the money and the meter clock.
type EscrowKeeper interface {
	MeterNow(ctx context.Context) (uint64, error)
	TakeParams(ctx context.Context) (escrow.TakeParams, error)
	Lock(ctx context.Context, till *escrowtypes.Till, owner sdk.AccAddress, kind string, id []byte, coins ...sdk.Coin) error
	// Give has one account pay another when the till is settled.
	Give(ctx context.Context, till *escrowtypes.Till, from, to sdk.AccAddress, coins ...sdk.Coin) error
	Release(ctx context.Context, till *escrowtypes.Till, owner sdk.AccAddress, kind string, id []byte, payments []escrowv1.Payment) error
	Settle(ctx context.Context, till *escrowtypes.Till) error
}
