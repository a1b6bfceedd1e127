package types

import (
	"errors"

	errorsmod "cosmossdk.io/errors"

	"github.com/moyai-network/moyai/mechanism/amount"
	"github.com/moyai-network/moyai/mechanism/lease"
	"github.com/moyai-network/moyai/wire"
)

// Refusals of the market. Codes are stable and start at 2: clients branch on
// them, so a code never changes its meaning.
var (
	// Of the message and its authority.
	ErrInvalidParams     = errorsmod.Register(ModuleName, 2, "invalid market parameters")
	ErrUnauthorized      = errorsmod.Register(ModuleName, 3, "only governance may do this")
	ErrInvalidAddress    = errorsmod.Register(ModuleName, 4, "invalid account address")
	ErrNoItems           = errorsmod.Register(ModuleName, 5, "batch is empty")
	ErrTooManyItems      = errorsmod.Register(ModuleName, 6, "batch is too long")
	ErrNoCandidates      = errorsmod.Register(ModuleName, 7, "item carries no bid")
	ErrTooManyCandidates = errorsmod.Register(ModuleName, 8, "item carries too many bids")
	ErrUnknownAction     = errorsmod.Register(ModuleName, 9, "unknown close action")

	// Of signed bytes (wire).
	ErrTooLarge     = errorsmod.Register(ModuleName, 10, "signed object is too large")
	ErrNotCanonical = errorsmod.Register(ModuleName, 11, "signed object is not canonical")
	ErrMalformed    = errorsmod.Register(ModuleName, 12, "signed object has an invalid field")
	ErrWrongChain   = errorsmod.Register(ModuleName, 13, "signed for another chain")
	ErrWrongKey     = errorsmod.Register(ModuleName, 14, "not signed by the key that must sign")
	ErrBadSignature = errorsmod.Register(ModuleName, 15, "signature does not verify")

	// Of an order.
	ErrNotPayer      = errorsmod.Register(ModuleName, 20, "order is another payer's")
	ErrDenomUnpriced = errorsmod.Register(ModuleName, 21, "leases are not priced in this denomination")
	ErrOrderUsed     = errorsmod.Register(ModuleName, 22, "order was used before: sign a new one")
	ErrVersion       = errorsmod.Register(ModuleName, 23, "unknown version")
	ErrReserved      = errorsmod.Register(ModuleName, 24, "reserved, not available yet")
	ErrOrderExpired  = errorsmod.Register(ModuleName, 25, "order has expired")
	ErrOrderLife     = errorsmod.Register(ModuleName, 26, "order expires too far ahead")
	ErrTerms         = errorsmod.Register(ModuleName, 27, "terms are outside the limits")

	// Of a bid and its ready.
	ErrWrongOrder    = errorsmod.Register(ModuleName, 40, "bid is for another order")
	ErrWrongPayer    = errorsmod.Register(ModuleName, 41, "bid is for another payer")
	ErrBidExpired    = errorsmod.Register(ModuleName, 42, "bid has expired")
	ErrBidLife       = errorsmod.Register(ModuleName, 43, "bid expires too far ahead")
	ErrDenom         = errorsmod.Register(ModuleName, 44, "bid is in another denomination")
	ErrRate          = errorsmod.Register(ModuleName, 45, "bid is above the order's ceiling")
	ErrGrace         = errorsmod.Register(ModuleName, 46, "bid asks for too much grace")
	ErrGeneration    = errorsmod.Register(ModuleName, 47, "slot generation is used")
	ErrWrongBid      = errorsmod.Register(ModuleName, 48, "ready is for another bid")
	ErrManifest      = errorsmod.Register(ModuleName, 49, "ready is for another manifest")
	ErrSlotBusy      = errorsmod.Register(ModuleName, 50, "slot has an open lease")
	ErrWrongProvider = errorsmod.Register(ModuleName, 51, "node works for another provider")
	ErrAmount        = errorsmod.Register(ModuleName, 52, "price times time overflows")
	ErrSignedChain   = errorsmod.Register(ModuleName, 53, "bid or ready is for another chain than the order")

	// Of a step that ends a lease.
	ErrUnknownLease      = errorsmod.Register(ModuleName, 70, "no such lease")
	ErrWrongLease        = errorsmod.Register(ModuleName, 71, "proof is for another lease")
	ErrNotFinal          = errorsmod.Register(ModuleName, 72, "receipt is not final")
	ErrClosed            = errorsmod.Register(ModuleName, 73, "lease is closed")
	ErrNotOpen           = errorsmod.Register(ModuleName, 74, "lease is not open")
	ErrNotSettling       = errorsmod.Register(ModuleName, 75, "lease is not settling")
	ErrWindowOver        = errorsmod.Register(ModuleName, 76, "window is over")
	ErrTooEarly          = errorsmod.Register(ModuleName, 77, "too early to expire")
	ErrNotAParty         = errorsmod.Register(ModuleName, 78, "only the payer or the provider may do this")
	ErrReason            = errorsmod.Register(ModuleName, 79, "unknown reason to end a lease")
	ErrNotNodeSigned     = errorsmod.Register(ModuleName, 80, "receipt lacks the node's signature")
	ErrNotAcknowledged   = errorsmod.Register(ModuleName, 81, "receipt is neither countersigned nor allowed in advance")
	ErrBeyondHold        = errorsmod.Register(ModuleName, 82, "counter is beyond the time the hold pays for")
	ErrBeyondMeter       = errorsmod.Register(ModuleName, 83, "counter is ahead of the meter clock")
	ErrReceiptBackwards  = errorsmod.Register(ModuleName, 84, "receipt shows nothing above what is known")
	ErrNotStarted        = errorsmod.Register(ModuleName, 85, "no start receipt was shown")
	ErrClaimLate         = errorsmod.Register(ModuleName, 86, "claims are due in the first half of the window")
	ErrAlreadyClaimed    = errorsmod.Register(ModuleName, 87, "tail was claimed before")
	ErrNothingToClaim    = errorsmod.Register(ModuleName, 88, "claim is not above what is acknowledged")
	ErrNothingToContest  = errorsmod.Register(ModuleName, 89, "no claim above the contested counter")
	ErrContestBelowAcked = errorsmod.Register(ModuleName, 90, "contest is below what is acknowledged")
	ErrAlreadyContested  = errorsmod.Register(ModuleName, 91, "claim was contested before")
)

// sentinels maps each refusal of the rules and of the signed bytes to its code.
var sentinels = []struct {
	from error
	to   *errorsmod.Error
}{
	{wire.ErrTooLarge, ErrTooLarge},
	{wire.ErrNotCanonical, ErrNotCanonical},
	{wire.ErrInvalid, ErrMalformed},
	{wire.ErrWrongChain, ErrWrongChain},
	{wire.ErrWrongKey, ErrWrongKey},
	{wire.ErrBadSignature, ErrBadSignature},

	{lease.ErrTerms, ErrTerms},
	{lease.ErrVersion, ErrVersion},
	{lease.ErrReserved, ErrReserved},
	{lease.ErrOrderExpired, ErrOrderExpired},
	{lease.ErrOrderLife, ErrOrderLife},
	{lease.ErrChain, ErrSignedChain},
	{lease.ErrWrongOrder, ErrWrongOrder},
	{lease.ErrWrongPayer, ErrWrongPayer},
	{lease.ErrBidExpired, ErrBidExpired},
	{lease.ErrBidLife, ErrBidLife},
	{lease.ErrDenom, ErrDenom},
	{lease.ErrRate, ErrRate},
	{lease.ErrGrace, ErrGrace},
	{lease.ErrGeneration, ErrGeneration},
	{lease.ErrWrongBid, ErrWrongBid},
	{lease.ErrManifest, ErrManifest},

	{lease.ErrClosed, ErrClosed},
	{lease.ErrNotOpen, ErrNotOpen},
	{lease.ErrNotSettling, ErrNotSettling},
	{lease.ErrWindowOver, ErrWindowOver},
	{lease.ErrTooEarly, ErrTooEarly},
	{lease.ErrNotAParty, ErrNotAParty},
	{lease.ErrReason, ErrReason},
	{lease.ErrNotNodeSigned, ErrNotNodeSigned},
	{lease.ErrNotAcknowledged, ErrNotAcknowledged},
	{lease.ErrBeyondHold, ErrBeyondHold},
	{lease.ErrBeyondMeter, ErrBeyondMeter},
	{lease.ErrReceiptBackwards, ErrReceiptBackwards},
	{lease.ErrNotStarted, ErrNotStarted},
	{lease.ErrClaimLate, ErrClaimLate},
	{lease.ErrAlreadyClaimed, ErrAlreadyClaimed},
	{lease.ErrNothingToClaim, ErrNothingToClaim},
	{lease.ErrNothingToContest, ErrNothingToContest},
	{lease.ErrContestBelowAcked, ErrContestBelowAcked},
	{lease.ErrAlreadyContested, ErrAlreadyContested},

	{amount.ErrOverflow, ErrAmount},
}

// Coded gives a refusal of mechanism or wire its registered code. Errors that
// have one already, and failures that are no refusal, come back as they are.
func Coded(err error) error {
	for _, s := range sentinels {
		if errors.Is(err, s.from) {
			return s.to.Wrap(err.Error())
		}
	}
	return err
}

// maxRefusalText bounds the text of a refusal in a response.
const maxRefusalText = 240

// Refused splits a refusal into what a response carries. ok is false for an
// error without a registered code: such a failure is the node's, not the
// item's, and must fail the transaction.
func Refused(err error) (codespace string, code uint32, text string, ok bool) {
	var registered *errorsmod.Error
	if !errors.As(err, &registered) {
		return "", 0, "", false
	}
	text = err.Error()
	if len(text) > maxRefusalText {
		text = text[:maxRefusalText]
	}
	return registered.Codespace(), registered.ABCICode(), text, true
}
