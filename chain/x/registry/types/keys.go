// Package types holds the registry's names, errors, defaults and what it
// expects of other modules. Its messages are in api/moyai/registry/v1.
package types

import "cosmossdk.io/collections"

const (
	// ModuleName names the module and the account that holds the bonds.
	ModuleName = "registry"
	// StoreKey names the module's store.
	StoreKey = ModuleName
)

// Bounds on what an account may write about itself.
const (
	MaxMoniker    = 64
	MaxContact    = 128
	MaxAttributes = 32
	MaxAttribute  = 128 // bytes of a key, and of a value
)

// Prefixes of the store.
var (
	ParamsKey             = collections.NewPrefix(0)
	KindsPrefix           = collections.NewPrefix(1)
	DimensionsPrefix      = collections.NewPrefix(2)
	ProvidersPrefix       = collections.NewPrefix(3)
	NodesPrefix           = collections.NewPrefix(4)
	NodesByOperatorPrefix = collections.NewPrefix(5)
	UnbondingsPrefix      = collections.NewPrefix(6)
	UnbondingQueuePrefix  = collections.NewPrefix(7)
	UnbondingsByOperator  = collections.NewPrefix(8)
	NextUnbondingKey      = collections.NewPrefix(9)
)
