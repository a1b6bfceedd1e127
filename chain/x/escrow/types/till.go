package types

import (
	"bytes"
	"slices"

	sdkmath "cosmossdk.io/math"
	sdk "github.com/cosmos/cosmos-sdk/types"
)

// Till counts what holds take from accounts and pay to them, so that the bank
// moves it once per account when a message ends: transfers are what a lease
// costs most, and the leases of a batch share their payer, or their provider.
//
// Work that may be undone counts on a Branch, as it writes to a branch of the
// store. Entries keep the order in which accounts first appeared, because the
// bank's transfers and events follow it.
type Till struct {
	parent *Till
	taken  []TillEntry
	given  []TillEntry
	// purses are what owners could spend when they were first asked, at the root.
	purses []purse
}

type purse struct {
	owner     sdk.AccAddress
	spendable sdk.Coin
}

// TillEntry is one account's sum.
type TillEntry struct {
	Account sdk.AccAddress
	Coins   sdk.Coins
}

// Branch returns a till whose entries join t's at Commit, or never.
func (t *Till) Branch() *Till { return &Till{parent: t} }

// Commit hands a branch's entries to its parent. A till without a parent is
// settled by the keeper.
func (t *Till) Commit() {
	for _, e := range t.taken {
		t.parent.Take(e.Account, e.Coins)
	}
	for _, e := range t.given {
		t.parent.Give(e.Account, e.Coins)
	}
	t.taken, t.given = nil, nil
}

// Take counts coins that leave an account.
func (t *Till) Take(from sdk.AccAddress, coins sdk.Coins) { t.taken = count(t.taken, from, coins) }

// Give counts coins that reach an account.
func (t *Till) Give(to sdk.AccAddress, coins sdk.Coins) { t.given = count(t.given, to, coins) }

// Taken is what is still to leave an account, t's parents included. It is not
// lessened by what the account is to be given: that arrives afterwards.
func (t *Till) Taken(from sdk.AccAddress) sdk.Coins {
	var sum sdk.Coins
	for ; t != nil; t = t.parent {
		for _, e := range t.taken {
			if bytes.Equal(e.Account, from) {
				sum = sum.Add(e.Coins...)
			}
		}
	}
	return sum
}

// Spendable is what an owner can spend beside what is still to leave it. ask is
// called once per owner and denomination: a message's items move nothing before
// the till is settled.
func (t *Till) Spendable(owner sdk.AccAddress, denom string, ask func() (sdk.Coin, error)) (sdk.Coin, error) {
	root := t
	for root.parent != nil {
		root = root.parent
	}
	at := slices.IndexFunc(root.purses, func(p purse) bool {
		return p.spendable.Denom == denom && bytes.Equal(p.owner, owner)
	})
	if at < 0 {
		coin, err := ask()
		if err != nil {
			return sdk.Coin{}, err
		}
		at = len(root.purses)
		root.purses = append(root.purses, purse{owner, coin})
	}
	have, taken := root.purses[at].spendable, t.Taken(owner).AmountOf(denom)
	if have.Amount.LT(taken) {
		return sdk.Coin{Denom: denom, Amount: sdkmath.ZeroInt()}, nil
	}
	return sdk.Coin{Denom: denom, Amount: have.Amount.Sub(taken)}, nil
}

// Drain returns what was counted and empties the till.
func (t *Till) Drain() (taken, given []TillEntry) {
	taken, given = t.taken, t.given
	t.taken, t.given, t.purses = nil, nil, nil
	return taken, given
}

// count adds to an account's entry. A message has at most a few hundred items,
// so a search costs less than a second index.
func count(list []TillEntry, account sdk.AccAddress, coins sdk.Coins) []TillEntry {
	for i := range list {
		if bytes.Equal(list[i].Account, account) {
			list[i].Coins = list[i].Coins.Add(coins...)
			return list
		}
	}
	return append(list, TillEntry{account, coins})
}
