// Package types holds the market's names, errors, defaults and what it expects
// of other modules. Its messages are in api/moyai/market/v1.
package types

import "cosmossdk.io/collections"

const (
	// ModuleName names the module. It has no account: money is the escrow's.
	ModuleName = "market"
	// StoreKey names the module's store.
	StoreKey = ModuleName
	// SubjectLease is the kind under which the escrow holds a lease's money.
	SubjectLease = "lease"
)

// Prefixes of the store.
var (
	ParamsKey        = collections.NewPrefix(0)
	LeasesPrefix     = collections.NewPrefix(1)
	SlotsPrefix      = collections.NewPrefix(2)
	DeadlinesPrefix  = collections.NewPrefix(3)
	PrunePrefix      = collections.NewPrefix(4)
	UsedOrdersPrefix = collections.NewPrefix(5)
	ByPayerPrefix    = collections.NewPrefix(6)
	ByProviderPrefix = collections.NewPrefix(7)
)
