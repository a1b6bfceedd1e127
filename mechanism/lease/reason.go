package lease

import "fmt"

// Reason is why a lease ended. Numbers are part of the protocol (receipts
// carry them, the chain stores them) and never change their meaning.
type Reason uint32

// The reasons. Which side a reason speaks for is in its comment; the chain
// records it as said and judges nobody by it.
const (
	ReasonNone             Reason = 0  // not ended, or a receipt that is not final
	ReasonCompleted        Reason = 1  // the work ran to its end with exit code 0
	ReasonFailed           Reason = 2  // the work ran to its end with another exit code
	ReasonTenantStopped    Reason = 3  // the tenant asked for an early end
	ReasonProviderStopped  Reason = 4  // the provider ended it early, after its notice
	ReasonTimeout          Reason = 5  // the hold ran dry
	ReasonNotStarted       Reason = 6  // no start receipt was ever countersigned
	ReasonTenantVanished   Reason = 7  // the provider says receipts stayed unanswered
	ReasonProviderVanished Reason = 8  // the tenant says the provider fell silent
	ReasonOutOfMemory      Reason = 9  // the work hit its memory limit
	ReasonOutputLimit      Reason = 10 // the work wrote more than it may
	ReasonDeadlineExceeded Reason = 11 // the work hit the deadline of its manifest
	ReasonProviderLost     Reason = 12 // the provider restarted and could not recover the work
	ReasonBadManifest      Reason = 13 // the work could not be prepared as the manifest says

	reasonEnd Reason = 14
)

var reasonNames = [reasonEnd]string{
	"none", "completed", "failed", "tenant stopped", "provider stopped", "timeout", "not started",
	"tenant vanished", "provider vanished", "out of memory", "output limit", "deadline exceeded",
	"provider lost", "bad manifest",
}

// String is the reason as people read it.
func (r Reason) String() string {
	if r < reasonEnd {
		return reasonNames[r]
	}
	return fmt.Sprintf("reason(%d)", uint32(r))
}

// Valid reports whether r is a reason to end: known, and not ReasonNone.
func (r Reason) Valid() bool { return r > ReasonNone && r < reasonEnd }
