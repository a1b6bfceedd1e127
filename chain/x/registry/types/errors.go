package types

import errorsmod "cosmossdk.io/errors"

// Refusals of the registry. Codes are stable and start at 2.
var (
	ErrInvalidParams    = errorsmod.Register(ModuleName, 2, "invalid registry parameters")
	ErrUnauthorized     = errorsmod.Register(ModuleName, 3, "only governance may do this")
	ErrProviderExists   = errorsmod.Register(ModuleName, 4, "account is a provider already")
	ErrUnknownProvider  = errorsmod.Register(ModuleName, 5, "account is not a provider: register first")
	ErrLeaving          = errorsmod.Register(ModuleName, 6, "provider is leaving: it takes nothing new")
	ErrUnknownNode      = errorsmod.Register(ModuleName, 7, "node is not registered")
	ErrNodeTaken        = errorsmod.Register(ModuleName, 8, "node belongs to another provider")
	ErrNodeRevoked      = errorsmod.Register(ModuleName, 9, "node key is revoked: use a new one")
	ErrTooManyNodes     = errorsmod.Register(ModuleName, 10, "provider has as many nodes as it may")
	ErrStaleRecord      = errorsmod.Register(ModuleName, 11, "node record is not newer than the one on chain")
	ErrBadRecord        = errorsmod.Register(ModuleName, 12, "node record is malformed")
	ErrRecordSignature  = errorsmod.Register(ModuleName, 13, "node record is not signed by its node")
	ErrRecordChain      = errorsmod.Register(ModuleName, 14, "node record is for another chain")
	ErrRecordProvider   = errorsmod.Register(ModuleName, 15, "node record names another provider")
	ErrBadText          = errorsmod.Register(ModuleName, 16, "text is too long or not UTF-8")
	ErrBadAttributes    = errorsmod.Register(ModuleName, 17, "attributes must be sorted, unique, short and declared")
	ErrBondDenom        = errorsmod.Register(ModuleName, 18, "bond is in the wrong denomination")
	ErrInvalidAmount    = errorsmod.Register(ModuleName, 19, "invalid amount")
	ErrInsufficientBond = errorsmod.Register(ModuleName, 20, "unlocked bond is too small")
	ErrFunds            = errorsmod.Register(ModuleName, 21, "not enough balance to bond")
	ErrInvalidAddress   = errorsmod.Register(ModuleName, 22, "invalid account address")
	ErrUnknownKind      = errorsmod.Register(ModuleName, 23, "no such service kind")
	ErrUnknownDimension = errorsmod.Register(ModuleName, 24, "no such dimension")
	ErrNothingToReturn  = errorsmod.Register(ModuleName, 25, "nothing left to unbond")
	ErrRecordNode       = errorsmod.Register(ModuleName, 26, "node record is for another node than the bid's")
	ErrRecordConsent    = errorsmod.Register(ModuleName, 27, "node record is not signed by its provider's account, which joining needs")
	ErrRecordTime       = errorsmod.Register(ModuleName, 28, "node record was not made within the last day, which joining needs")
)
