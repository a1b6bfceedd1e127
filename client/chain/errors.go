package chain

import (
	"errors"
	"fmt"
)

// Sentinels of this package. Refusals by the chain are *Error values, matched
// with errors.Is against the Code values in codes.go.
var (
	// ErrNotFound: the chain has no such lease, provider, account, …
	ErrNotFound = errors.New("not found on chain")
	// ErrUnreachable: the RPC endpoint did not answer. Nothing is known about
	// the chain, and nothing may be concluded.
	ErrUnreachable = errors.New("chain endpoint unreachable")
	// ErrPruned: the node no longer has the blocks asked for.
	ErrPruned = errors.New("blocks no longer kept by this node")
	// ErrNoAccount: the account does not exist on chain, because nobody has
	// ever sent it anything.
	ErrNoAccount = errors.New("account does not exist on chain yet")
	// ErrNoKey: the keyring has no key of that name.
	ErrNoKey = errors.New("no such key")
	// ErrKeyExists: the keyring already has a key of that name.
	ErrKeyExists = errors.New("key exists already")
	// ErrClosed: the client was closed.
	ErrClosed = errors.New("chain client is closed")
)

// Code is a stable name for a refusal by the chain: the pair that is
// registered once and never given a new meaning. It is a target for errors.Is.
type Code struct {
	Codespace string
	Code      uint32
}

// Error implements error, so that a Code can be a target of errors.Is.
func (c Code) Error() string { return fmt.Sprintf("%s/%d", c.Codespace, c.Code) }

// Error is a refusal by the chain: of a transaction, of one item of a batch,
// or of a query.
type Error struct {
	Code
	// Text is what the chain said, for people.
	Text string
	// TxHash is the transaction that was refused, upper-case hex, if it was one.
	TxHash string
	// Height is the block that carries the refused transaction; 0 if it never
	// entered a block, so that nothing was paid for it.
	Height int64
}

// Error tells what the chain said and, for refusals people can act on, what to
// do next.
func (e *Error) Error() string {
	text := e.Text
	if text == "" {
		text = "no reason given"
	}
	s := fmt.Sprintf("chain refused (%s/%d): %s", e.Codespace, e.Code.Code, text)
	if hint := hints[e.Code]; hint != "" {
		s += "; " + hint
	}
	return s
}

// Is makes errors.Is(err, SomeCode) true for the refusal's own code, and
// errors.Is(err, ErrNotFound) true for the SDK's "key not found".
func (e *Error) Is(target error) bool {
	if c, ok := target.(Code); ok {
		return c == e.Code
	}
	return target == ErrNotFound && e.Code == CodeKeyNotFound
}
