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

// hints say what to do about a refusal.
var hints = map[Code]string{
	CodeInsufficientFunds: "fund the account and try again",
	CodeInsufficientFee:   "the governed gas price rose; try again",
	CodeMempoolFull:       "the chain is busy; try again in a few seconds",
	CodeTxTooLarge:        "send fewer items in one transaction",
}
