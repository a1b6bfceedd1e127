package escrow

import (
	"fmt"
	"slices"
	"strings"

	"github.com/moyai-network/moyai/mechanism/amount"
)

// Coin is an amount of one denomination.
type Coin = amount.Coin

// Account is what one owner has in escrow and not locked. One account serves
// any number of denominations and agreements.
type Account struct {
	Owner    string
	Balances []Coin // sorted by denomination, distinct, none of them zero
}

// Hold is money locked for one agreement.
type Hold struct {
	SubjectKind string // "lease" today
	SubjectID   string // raw bytes of the id
	Owner       string
	Locked      []Coin // sorted by denomination, distinct, none of them zero
}

// Balance is the free balance of one denomination.
func (a Account) Balance(denom string) amount.Amount { return find(a.Balances, denom) }

// Deposit returns the account with coins added. It returns ErrDenom for a coin
// without denomination, or amount.ErrOverflow.
func (a Account) Deposit(coins ...Coin) (Account, error) {
	for _, c := range coins {
		next, err := credit(a.Balances, c)
		if err != nil {
			return a, fmt.Errorf("deposit %s: %w", c, err)
		}
		a.Balances = next
	}
	return a, nil
}

// Withdraw returns the account with coins taken out, or ErrInsufficient and
// the account as it was: all of the coins leave, or none.
func (a Account) Withdraw(coins ...Coin) (Account, error) {
	left := a
	for _, c := range coins {
		next, err := debit(left.Balances, c)
		if err != nil {
			return a, err
		}
		left.Balances = next
	}
	return left, nil
}

// Lock moves coins from the account into a new hold for a subject. It returns
// ErrInsufficient, naming what is missing, and changes nothing then.
func (a Account) Lock(subjectKind, subjectID string, coins ...Coin) (Account, Hold, error) {
	left, err := a.Withdraw(coins...)
	if err != nil {
		return a, Hold{}, err
	}
	h := Hold{SubjectKind: subjectKind, SubjectID: subjectID, Owner: a.Owner}
	for _, c := range coins {
		if h.Locked, err = credit(h.Locked, c); err != nil {
			return a, Hold{}, err
		}
	}
	return left, h, nil
}

// Beneficiary is the role of whoever a payment goes to; the agreement knows
// which account plays it.
type Beneficiary uint8

// The beneficiaries of a settled hold.
const (
	ToNobody    Beneficiary = iota // invalid
	ToPayer                        // what comes back to the hold's owner
	ToProvider                     // the price of the work, less the take
	ToBurn                         // destroyed
	ToPool                         // the fee collector
	ToContester                    // the fee of whoever proved a claim wrong
	ToCloser                       // the bounty of whoever closed
)

// String is the beneficiary's name in lower case.
func (b Beneficiary) String() string {
	names := [...]string{"nobody", "payer", "provider", "burn", "pool", "contester", "closer"}
	if int(b) < len(names) {
		return names[b]
	}
	return fmt.Sprintf("beneficiary(%d)", uint8(b))
}

// Payment is one part of a settled hold.
type Payment struct {
	To Beneficiary
	Coin
}

// Settle checks that payments spend the hold to the last unit of every
// denomination, and no more. It returns ErrNotConserved, naming the
// denomination, or amount.ErrOverflow. The payments may be carried out in any
// order once it returns nil.
func (h Hold) Settle(payments ...Payment) error {
	left := h.Locked
	for _, p := range payments {
		next, err := debit(left, p.Coin)
		if err != nil {
			return fmt.Errorf("%w: %s to %s: %w", ErrNotConserved, p.Coin, p.To, err)
		}
		left = next
	}
	if len(left) != 0 {
		return fmt.Errorf("%w: %s left over", ErrNotConserved, left[0])
	}
	return nil
}

// Conserved returns nil if the payments add up to locked exactly, otherwise
// ErrNotConserved or amount.ErrOverflow. All are of one denomination.
func Conserved(locked amount.Amount, payments ...amount.Amount) error {
	total, err := amount.Sum(payments...)
	if err != nil {
		return err
	}
	if total != locked {
		return fmt.Errorf("%w: paid %s of %s", ErrNotConserved, total, locked)
	}
	return nil
}

func find(coins []Coin, denom string) amount.Amount {
	if at, ok := search(coins, denom); ok {
		return coins[at].Amount
	}
	return amount.Amount{}
}

func search(coins []Coin, denom string) (int, bool) {
	return slices.BinarySearchFunc(coins, denom, func(c Coin, d string) int { return strings.Compare(c.Denom, d) })
}

// credit and debit copy before they change: accounts are values, and two of
// them may share a backing array.
func credit(coins []Coin, c Coin) ([]Coin, error) {
	if c.Denom == "" {
		return nil, ErrDenom
	}
	if c.Amount.IsZero() {
		return coins, nil
	}
	at, ok := search(coins, c.Denom)
	if !ok {
		return slices.Insert(slices.Clone(coins), at, c), nil
	}
	total, err := coins[at].Amount.Add(c.Amount)
	if err != nil {
		return nil, err
	}
	coins = slices.Clone(coins)
	coins[at].Amount = total
	return coins, nil
}

func debit(coins []Coin, c Coin) ([]Coin, error) {
	if c.Denom == "" {
		return nil, ErrDenom
	}
	if c.Amount.IsZero() {
		return coins, nil
	}
	at, ok := search(coins, c.Denom)
	if !ok {
		return nil, fmt.Errorf("%w: has 0%s, needs %s", ErrInsufficient, c.Denom, c)
	}
	left, err := coins[at].Amount.Sub(c.Amount)
	if err != nil {
		return nil, fmt.Errorf("%w: has %s, needs %s", ErrInsufficient, coins[at], c)
	}
	coins = slices.Clone(coins)
	if left.IsZero() {
		return slices.Delete(coins, at, at+1), nil
	}
	coins[at].Amount = left
	return coins, nil
}
