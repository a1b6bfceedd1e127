package devnet

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	sdkmath "cosmossdk.io/math"
	sdk "github.com/cosmos/cosmos-sdk/types"
	banktypes "github.com/cosmos/cosmos-sdk/x/bank/types"

	"github.com/moyai-network/moyai/client/chain"
)

// What accounts own at genesis, in umoy.
const (
	tenantFunds   = 1_000_000_000_000   // 1,000,000 MOY
	providerFunds = 1_000_000_000       // 1,000 MOY: gas and bond
	faucetFunds   = 100_000_000_000_000 // 100,000,000 MOY
)

// keyName is the account every home has; `moyai` uses it unless told otherwise.
const keyName = "default"

// funded is an account with money at genesis.
type funded struct {
	address string
	amount  uint64
}

// ensureKey returns the account of a home, making home and key if need be.
// Devnet keys lie there unencrypted.
func ensureKey(home string) (chain.Key, error) {
	if err := os.MkdirAll(home, 0o700); err != nil {
		return chain.Key{}, err
	}
	keys, err := chain.OpenKeys(home, chain.BackendTest, nil)
	if err != nil {
		return chain.Key{}, err
	}
	key, err := keys.Show(keyName)
	if errors.Is(err, chain.ErrNoKey) {
		key, _, err = keys.Create(keyName)
	}
	if err != nil {
		return chain.Key{}, fmt.Errorf("key of %s: %w", home, err)
	}
	return key, nil
}

// sender unlocks the account of a home.
func sender(c *chain.Client, home string) (*chain.Sender, error) {
	keys, err := chain.OpenKeys(home, chain.BackendTest, nil)
	if err != nil {
		return nil, err
	}
	return c.Sender(keys, keyName)
}

// bank gives away the faucet's money.
type bank struct{ from *chain.Sender }

// Give implements giver.
func (b bank) Give(ctx context.Context, to string, amount uint64) (string, error) {
	if _, err := chain.ParseAddress(to); err != nil {
		return "", err
	}
	res, err := b.from.Send(ctx, &banktypes.MsgSend{
		FromAddress: b.from.Address(), ToAddress: to,
		Amount: sdk.NewCoins(sdk.NewCoin(chain.BaseDenom, sdkmath.NewIntFromUint64(amount))),
	})
	if err != nil {
		return "", err
	}
	return res.TxHash, nil
}

// NewTenant makes a further tenant with money of its own and returns its home
// and address.
func (n *Network) NewTenant(ctx context.Context, name string, umoy uint64) (home, address string, err error) {
	home = filepath.Join(n.dir, "tenants", name)
	key, err := ensureKey(home)
	if err != nil {
		return "", "", err
	}
	if umoy > 0 {
		if _, err := n.bank.Give(ctx, key.Address, umoy); err != nil {
			return "", "", fmt.Errorf("fund tenant %s: %w", name, err)
		}
	}
	return home, key.Address, nil
}
