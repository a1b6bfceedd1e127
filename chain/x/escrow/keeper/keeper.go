// Package keeper holds money between two parties and keeps the meter clock. It
// knows subjects, owners and payments; what a lease is, it does not know.
package keeper

import (
	"context"
	"errors"

	"cosmossdk.io/collections"
	"cosmossdk.io/core/address"
	"cosmossdk.io/core/store"
	"github.com/cosmos/cosmos-sdk/codec"
	sdk "github.com/cosmos/cosmos-sdk/types"

	escrowv1 "github.com/moyai-network/moyai/api/moyai/escrow/v1"
	"github.com/moyai-network/moyai/chain/x/escrow/types"
	"github.com/moyai-network/moyai/mechanism/escrow"
)

// holdKey is (owner, subject kind, subject id): one write finds a hold by
// owner and by subject, because whoever releases knows both.
type holdKey = collections.Triple[sdk.AccAddress, string, []byte]

// Keeper is the module's schema and its ways to the bank.
type Keeper struct {
	bank      types.BankKeeper
	addresses address.Codec
	authority string

	Schema collections.Schema
	Params collections.Item[escrowv1.Params]
	Clock  collections.Item[escrowv1.MeterClock]
	Holds  collections.Map[holdKey, escrowv1.Hold]
	Totals collections.Item[escrowv1.Totals]
	// Due is what this block's settlements have burned, pooled, bonded and paid. The
	// end blocker moves the first three in a transfer each and adds all to Totals;
	// between blocks it is empty.
	Due collections.Item[escrowv1.Totals]
}

// New makes a keeper; authority is the account that may change parameters.
func New(cdc codec.BinaryCodec, service store.KVStoreService, bank types.BankKeeper, addresses address.Codec, authority string) Keeper {
	sb := collections.NewSchemaBuilder(service)
	k := Keeper{
		bank: bank, addresses: addresses, authority: authority,
		Params: collections.NewItem(sb, types.ParamsKey, "params", codec.CollValue[escrowv1.Params](cdc)),
		Clock:  collections.NewItem(sb, types.ClockKey, "clock", codec.CollValue[escrowv1.MeterClock](cdc)),
		Holds: collections.NewMap(sb, types.HoldsPrefix, "holds",
			collections.TripleKeyCodec(sdk.AccAddressKey, collections.StringKey, collections.BytesKey),
			codec.CollValue[escrowv1.Hold](cdc)),
		Totals: collections.NewItem(sb, types.TotalsPrefix, "totals", codec.CollValue[escrowv1.Totals](cdc)),
		Due:    collections.NewItem(sb, types.DueKey, "due", codec.CollValue[escrowv1.Totals](cdc)),
	}
	schema, err := sb.Build()
	if err != nil {
		panic(err) // two collections share a prefix: a programming error
	}
	k.Schema = schema
	return k
}

// MeterNow is the meter clock, in milliseconds of meter time.
func (k Keeper) MeterNow(ctx context.Context) (uint64, error) {
	clock, err := k.Clock.Get(ctx)
	if errors.Is(err, collections.ErrNotFound) {
		return 0, nil
	}
	return clock.NowMs, err
}

// TakeParams are the network's shares of a gross payment.
func (k Keeper) TakeParams(ctx context.Context) (escrow.TakeParams, error) {
	p, err := k.Params.Get(ctx)
	return escrow.TakeParams{TakeBps: p.TakeBps, BurnBps: p.BurnBps}, err
}

// Lock takes coins from their owner and holds them for a subject, one hold
// each. The till must be settled before the message ends. ErrHoldExists;
// ErrFunds if the owner has too little; ErrOwner if it could never be refunded.
func (k Keeper) Lock(ctx context.Context, till *types.Till, owner sdk.AccAddress, kind string, id []byte, coins ...sdk.Coin) error {
	key := collections.Join3(owner, kind, id)
	if has, err := k.Holds.Has(ctx, key); err != nil {
		return err
	} else if has {
		return types.ErrHoldExists.Wrapf("%s %x", kind, id)
	}
	locked := sdk.Coins(coins)
	if err := locked.Validate(); err != nil {
		return types.ErrInvalidAmount.Wrap(err.Error())
	}
	text, err := k.addresses.BytesToString(owner)
	if err != nil {
		return err
	}
	if err := k.affords(ctx, till, owner, locked); err != nil {
		return err
	}
	till.Take(owner, locked)
	if err := k.Holds.Set(ctx, key, escrowv1.Hold{SubjectKind: kind, SubjectId: id, Owner: text, Locked: locked}); err != nil {
		return err
	}
	emitLocked(ctx, kind, id, text, locked)
	return nil
}

// Give counts coins that one account pays another beside what is locked.
// ErrFunds if it has too little.
func (k Keeper) Give(ctx context.Context, till *types.Till, from, to sdk.AccAddress, coins ...sdk.Coin) error {
	if err := k.affords(ctx, till, from, coins); err != nil {
		return err
	}
	till.Take(from, coins)
	till.Give(to, coins)
	return nil
}

// affords asks whether the owner can spend coins beside what the till takes.
func (k Keeper) affords(ctx context.Context, till *types.Till, owner sdk.AccAddress, coins sdk.Coins) error {
	for _, c := range coins {
		left, err := till.Spendable(owner, c.Denom, func() (sdk.Coin, error) {
			if k.bank.BlockedAddr(owner) {
				return sdk.Coin{}, types.ErrOwner.Wrapf("%s", owner)
			}
			return k.bank.SpendableCoin(ctx, owner, c.Denom), nil
		})
		if err != nil {
			return err
		}
		if left.IsLT(c) {
			return types.ErrFunds.Wrapf("%s can be spent, %s is needed", left, c)
		}
	}
	return nil
}

// Settle has the bank move what the till counted.
func (k Keeper) Settle(ctx context.Context, till *types.Till) error {
	taken, given := till.Drain()
	for _, e := range taken {
		if err := k.bank.SendCoinsFromAccountToModule(ctx, e.Account, types.ModuleName, e.Coins); err != nil {
			return types.ErrFunds.Wrap(err.Error())
		}
	}
	for _, e := range given {
		if err := k.bank.SendCoinsFromModuleToAccount(ctx, types.ModuleName, e.Account, e.Coins); err != nil {
			return err
		}
	}
	return nil
}

// Release pays a hold out, once and whole: payments must sum to what was
// locked (ErrNotConserved). ErrNoHold if there is none. Accounts are paid when
// the till is settled; what is burned, pooled or bonded leaves the module account
// when the block ends.
func (k Keeper) Release(ctx context.Context, till *types.Till, owner sdk.AccAddress, kind string, id []byte, payments []escrowv1.Payment) error {
	key := collections.Join3(owner, kind, id)
	hold, err := k.Holds.Get(ctx, key)
	if errors.Is(err, collections.ErrNotFound) {
		return types.ErrNoHold.Wrapf("%s %x", kind, id)
	} else if err != nil {
		return err
	}
	if err := conserved(hold.Locked, payments); err != nil {
		return err
	}
	due, err := k.Due.Get(ctx)
	if err != nil && !errors.Is(err, collections.ErrNotFound) {
		return err
	}
	for _, p := range payments {
		if p.Amount.IsZero() {
			continue
		}
		if err := k.pay(till, hold.Owner, p, &due); err != nil {
			return err
		}
	}
	if err := k.Holds.Remove(ctx, key); err != nil {
		return err
	}
	if err := k.Due.Set(ctx, due); err != nil {
		return err
	}
	emitReleased(ctx, kind, id, payments)
	return nil
}

// pay counts one payment. What goes back to its owner is a refund, not a
// payment.
func (k Keeper) pay(till *types.Till, owner string, p escrowv1.Payment, due *escrowv1.Totals) error {
	switch p.To {
	case types.ToBurn:
		due.Burned = sdk.Coins(due.Burned).Add(p.Amount)
		return nil
	case types.ToPool:
		due.Pooled = sdk.Coins(due.Pooled).Add(p.Amount)
		return nil
	case types.ToBond:
		due.Bonded = sdk.Coins(due.Bonded).Add(p.Amount)
		return nil
	}
	to, err := k.addresses.StringToBytes(p.To)
	if err != nil {
		return err
	}
	if p.To != owner {
		due.Paid = sdk.Coins(due.Paid).Add(p.Amount)
	}
	till.Give(to, sdk.Coins{p.Amount})
	return nil
}
