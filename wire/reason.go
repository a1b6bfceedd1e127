package wire

import "github.com/moyai-network/moyai/mechanism/lease"

// knownReason reports whether r, of any size, is a reason to end a lease.
func knownReason(r uint64) bool {
	return r <= 1<<32-1 && lease.Reason(r).Valid()
}
