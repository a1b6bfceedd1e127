package provider

import "errors"

// Sentinels of this package.
var (
	// ErrNotRunning: no daemon answers on the home's socket.
	ErrNotRunning = errors.New("provider is not running: start it with moyai provide")
	// ErrRunning: another daemon holds the home's lock.
	ErrRunning = errors.New("another provider runs in this home")
	// ErrWrongHome: the journal belongs to another node key or chain.
	ErrWrongHome = errors.New("home belongs to another node or chain")
	// ErrLeases: leaving or unbonding has to wait for open leases.
	ErrLeases = errors.New("leases are still open")
)
