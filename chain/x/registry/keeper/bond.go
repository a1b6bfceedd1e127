package keeper

import (
	"context"

	"cosmossdk.io/collections"
	sdk "github.com/cosmos/cosmos-sdk/types"

	registryv1 "github.com/moyai-network/moyai/api/moyai/registry/v1"
	"github.com/moyai-network/moyai/chain/money"
	"github.com/moyai-network/moyai/chain/x/registry/types"
	"github.com/moyai-network/moyai/mechanism/amount"
)

// LockBond sets part of a provider's bond aside for one lease.
// ErrInsufficientBond if less than that is free.
func (k Keeper) LockBond(ctx context.Context, operator sdk.AccAddress, part amount.Amount) error {
	p, b, err := k.bonded(ctx, operator)
	if err != nil {
		return err
	}
	if err := b.lock(part); err != nil {
		return err
	}
	return k.setBond(ctx, operator, p, b)
}

// ReleaseBond gives back what LockBond set aside.
func (k Keeper) ReleaseBond(ctx context.Context, operator sdk.AccAddress, part amount.Amount) error {
	p, b, err := k.bonded(ctx, operator)
	if err != nil {
		return err
	}
	if b.locked, err = b.locked.Sub(part); err != nil {
		return types.ErrInvalidAmount.Wrapf("%s released of %s locked", part, p.Locked)
	}
	return k.setBond(ctx, operator, p, b)
}

// fill adds to a bond its part of what was earned. Who leaves fills it no more:
// it would only have to wait for what is its own.
func (k Keeper) fill(ctx context.Context, p registryv1.Provider, b *bond, earned sdk.Coin) (bonded amount.Amount, err error) {
	params, err := k.Params.Get(ctx)
	if err != nil || p.Leaving || earned.Denom != params.BondDenom {
		return bonded, err
	}
	rules, err := types.BondParams(params)
	if err != nil {
		return bonded, err
	}
	sum, err := money.FromInt(earned.Amount)
	if err != nil {
		return bonded, types.ErrInvalidAmount.Wrap(err.Error())
	}
	if _, bonded, err = rules.Fill(b.whole, sum); err != nil || bonded.IsZero() {
		return bonded, err
	}
	if b.whole, err = b.whole.Add(bonded); err != nil {
		return bonded, types.ErrInvalidAmount.Wrap(err.Error())
	}
	return bonded, sdk.UnwrapSDKContext(ctx).EventManager().EmitTypedEvent(
		&registryv1.EventBonded{Operator: p.Operator, Amount: bonded.String()})
}

// bond is a provider's stake as numbers.
type bond struct{ whole, locked amount.Amount }

func (b bond) free() amount.Amount {
	free, err := b.whole.Sub(b.locked)
	if err != nil {
		return amount.Amount{} // unreachable: genesis and lock keep locked ≤ whole
	}
	return free
}

func (b *bond) lock(part amount.Amount) error {
	if b.free().Cmp(part) < 0 {
		return types.ErrInsufficientBond.Wrapf("%s is free, %s is needed", b.free(), part)
	}
	locked, err := b.locked.Add(part)
	b.locked = locked
	return err
}

// withdraw takes part of the free bond out.
func (b *bond) withdraw(part amount.Amount) error {
	if b.free().Cmp(part) < 0 {
		return types.ErrInsufficientBond.Wrapf("%s is free, %s was asked for", b.free(), part)
	}
	whole, err := b.whole.Sub(part)
	b.whole = whole
	return err
}

func (k Keeper) bonded(ctx context.Context, operator sdk.AccAddress) (registryv1.Provider, bond, error) {
	p, err := k.provider(ctx, operator)
	if err != nil {
		return p, bond{}, err
	}
	whole, err := amount.Parse(p.Bond)
	if err != nil {
		return p, bond{}, err
	}
	locked, err := amount.Parse(p.Locked)
	return p, bond{whole, locked}, err
}

func (k Keeper) setBond(ctx context.Context, operator sdk.AccAddress, p registryv1.Provider, b bond) error {
	p.Bond, p.Locked = b.whole.String(), b.locked.String()
	return k.Providers.Set(ctx, operator, p)
}

// deposit takes coins from the operator into the module account and returns
// their sum. A zero coin deposits nothing.
func (k Keeper) deposit(ctx context.Context, operator sdk.AccAddress, coin sdk.Coin, denom string) (amount.Amount, error) {
	if coin.Amount.IsNil() || coin.Amount.IsZero() {
		return amount.Amount{}, nil
	}
	if coin.Denom != denom {
		return amount.Amount{}, types.ErrBondDenom.Wrapf("%s; bonds are in %s", coin.Denom, denom)
	}
	sum, err := money.FromInt(coin.Amount)
	if err != nil {
		return sum, types.ErrInvalidAmount.Wrap(err.Error())
	}
	if err := k.bank.SendCoinsFromAccountToModule(ctx, operator, types.ModuleName, sdk.Coins{coin}); err != nil {
		return sum, types.ErrFunds.Wrap(err.Error())
	}
	return sum, nil
}

// startUnbonding queues a sum that has left the bond already and returns when
// it will be paid, in unix ms.
func (k Keeper) startUnbonding(ctx context.Context, operator sdk.AccAddress, text string, sum amount.Amount, params registryv1.Params) (int64, error) {
	id, err := k.NextUnbonding.Next(ctx)
	if err != nil {
		return 0, err
	}
	sdkCtx := sdk.UnwrapSDKContext(ctx)
	due := sdkCtx.BlockTime().UnixMilli() + int64(params.UnbondingMs)
	u := registryv1.Unbonding{Operator: text, Amount: sum.String(), CompletesAt: due, Id: id}
	if err := k.putUnbonding(ctx, operator, u); err != nil {
		return 0, err
	}
	return due, sdkCtx.EventManager().EmitTypedEvent(&registryv1.EventUnbondingStarted{
		Operator: text, Amount: u.Amount, CompletesAt: due,
	})
}

func (k Keeper) putUnbonding(ctx context.Context, operator sdk.AccAddress, u registryv1.Unbonding) error {
	if err := k.Unbondings.Set(ctx, u.Id, u); err != nil {
		return err
	}
	if err := k.UnbondingQueue.Set(ctx, collections.Join(u.CompletesAt, u.Id)); err != nil {
		return err
	}
	return k.UnbondingsByOperator.Set(ctx, collections.Join(operator, u.Id))
}
