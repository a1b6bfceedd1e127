package chain

// Codes of the SDK that callers branch on or people can act upon. They are
// registered in cosmos-sdk's types/errors and never change.
var (
	CodeUnauthorized      = Code{"sdk", 4}
	CodeInsufficientFunds = Code{"sdk", 5}
	CodeUnknownRequest    = Code{"sdk", 6}
	CodeOutOfGas          = Code{"sdk", 11}
	CodeInsufficientFee   = Code{"sdk", 13}
	CodeInvalidRequest    = Code{"sdk", 18}
	CodeTxInMempoolCache  = Code{"sdk", 19}
	CodeMempoolFull       = Code{"sdk", 20}
	CodeTxTooLarge        = Code{"sdk", 21}
	CodeKeyNotFound       = Code{"sdk", 22}
	CodeTxTimeout         = Code{"sdk", 42}
	CodeUnknownAddress    = Code{"sdk", 9}
)

// Codes of Moyai's modules that callers branch on or people can act upon. They
// mirror chain/x/*/types/errors.go, and a test compares.
var (
	CodeOrderUsed        = Code{"market", 22}
	CodeOrderExpired     = Code{"market", 25}
	CodeTerms            = Code{"market", 27}
	CodeBidExpired       = Code{"market", 42}
	CodeGeneration       = Code{"market", 47}
	CodeSlotBusy         = Code{"market", 50}
	CodeUnknownLease     = Code{"market", 70}
	CodeLeaseClosed      = Code{"market", 73}
	CodeNotOpen          = Code{"market", 74}
	CodeNotSettling      = Code{"market", 75}
	CodeWindowOver       = Code{"market", 76}
	CodeNotAcknowledged  = Code{"market", 81}
	CodeBeyondMeter      = Code{"market", 83}
	CodeReceiptBackwards = Code{"market", 84}
	CodeEscrowFunds      = Code{"escrow", 7}
	CodeProviderExists   = Code{"registry", 4}
	CodeUnknownProvider  = Code{"registry", 5}
	CodeProviderLeaving  = Code{"registry", 6}
	CodeNodeTaken        = Code{"registry", 8}
	CodeNodeRevoked      = Code{"registry", 9}
	CodeStaleRecord      = Code{"registry", 11}
	CodeInsufficientBond = Code{"registry", 20}
	CodeBondFunds        = Code{"registry", 21}
	CodeNothingToUnbond  = Code{"registry", 25}
)

// hints say what to do about a refusal, where the chain's own text does not.
var hints = map[Code]string{
	CodeOrderExpired:      "order again",
	CodeBidExpired:        "ask for bids again",
	CodeGeneration:        "the place was taken first by another tenant: ask for bids again",
	CodeSlotBusy:          "the place was taken first by another tenant: ask for bids again",
	CodeBeyondMeter:       "wait until the chain has caught up, then try again",
	CodeEscrowFunds:       "fund the account, or ask for less time",
	CodeProviderLeaving:   "choose another provider",
	CodeNodeTaken:         "make a new node key",
	CodeInsufficientBond:  "the provider must bond more",
	CodeBondFunds:         "fund the account, or bond less",
	CodeInsufficientFunds: "fund the account and try again",
	CodeInsufficientFee:   "the governed gas price rose; try again",
	CodeMempoolFull:       "the chain is busy; try again in a few seconds",
	CodeTxTooLarge:        "send fewer items in one transaction",
}
