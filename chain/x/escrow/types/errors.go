package types

import errorsmod "cosmossdk.io/errors"

// Refusals of the escrow. Codes are stable and start at 2.
var (
	ErrInvalidParams = errorsmod.Register(ModuleName, 2, "invalid escrow parameters")
	ErrUnauthorized  = errorsmod.Register(ModuleName, 3, "only governance may do this")
	ErrHoldExists    = errorsmod.Register(ModuleName, 4, "this subject has a hold already")
	ErrNoHold        = errorsmod.Register(ModuleName, 5, "no such hold")
	ErrNotConserved  = errorsmod.Register(ModuleName, 6, "payments do not sum to what is locked")
	ErrFunds         = errorsmod.Register(ModuleName, 7, "not enough balance to lock")
	ErrInvalidAmount = errorsmod.Register(ModuleName, 8, "invalid amount")
	ErrOwner         = errorsmod.Register(ModuleName, 9, "a module account cannot be refunded, so it cannot lock")
)
