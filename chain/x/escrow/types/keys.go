// Package types holds the escrow's names, errors, defaults and what it expects
// of other modules. Its messages are in api/moyai/escrow/v1.
package types

import "cosmossdk.io/collections"

const (
	// ModuleName names the module and the account that holds the money.
	ModuleName = "escrow"
	// StoreKey names the module's store.
	StoreKey = ModuleName
)

// Where a payment goes when it is not an address.
const (
	// ToBurn destroys the money.
	ToBurn = "burn"
	// ToPool gives it to the fee collector.
	ToPool = "pool"
	// ToBond adds it to a bond. Which one, the bonds' keeper has been told by
	// whoever settles.
	ToBond = "bond"
)

// BondHolder is the module account in which bonds lie, the registry's.
const BondHolder = "registry"

// Prefixes of the store.
var (
	ParamsKey    = collections.NewPrefix(0)
	ClockKey     = collections.NewPrefix(1)
	HoldsPrefix  = collections.NewPrefix(2)
	TotalsPrefix = collections.NewPrefix(3)
	DueKey       = collections.NewPrefix(4)
)
