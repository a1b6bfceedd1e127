package compute

import (
	"net/netip"

	"github.com/moyai-network/moyai/compute/egress"
)

// Egress is a task's way to the internet. Without one a task has no network but
// its own loopback. With one it reaches public addresses that all policies let it
// reach, by TCP and by UDP, and nothing else: see package egress.
//
// A runtime that cannot give one refuses the Spec with ErrInvalidSpec.
type Egress struct {
	// Policies must each let a flow through: the tenant's wish, the owner's offer.
	Policies []egress.Policy
	// Bytes is the budget of all tasks that share Ledger, both directions added
	// up. When it is spent, what is open is cut and nothing new begins; the tasks
	// run on. At least 1.
	Bytes uint64
	// Rate bounds a task's bytes per second, both directions added up. Zero means
	// DefaultEgressRate.
	Rate uint64
	// Flows bounds how many are open at once, FlowsPerSecond how many may begin.
	// Zero means the default.
	Flows, FlowsPerSecond int
	// Ledger is the host path of a file of EgressLedgerSize bytes in which the
	// spent bytes are counted. It is made if it is not there. Absolute.
	Ledger string
	// Log is the host path of the file that is told who was spoken to
	// (compute/egress/flowlog), up to LogBytes bytes; beyond that nothing new
	// begins. Tag names the task's lease in it. Absolute. LogBytes: at least
	// MinEgressLog.
	Log      string
	LogBytes int64
	Tag      string
	// Shunned is the host path of a file of further addresses and prefixes, one a
	// line, that are never reached, such as the machine's own outer ones. It is
	// read again while tasks run, when it changes in place. May be empty. Absolute.
	Shunned string
	// Resolvers answer for names. None: those of the machine's own
	// /etc/resolv.conf, whatever they are at the time.
	Resolvers []netip.AddrPort
}

// Defaults and bounds of an Egress.
const (
	DefaultEgressRate           = 12_500_000 // bytes a second: 100 Mbit/s
	DefaultEgressFlows          = 256
	DefaultEgressFlowsPerSecond = 50
	MaxEgressFlows              = 4096
	MinEgressLog                = 256 << 10
	EgressLedgerSize            = 8 // a counter, as the machine writes it
	maxTag                      = 128
)

// EnsureDefaults fills in what was left zero.
func (e *Egress) EnsureDefaults() {
	setDefault(&e.Rate, DefaultEgressRate)
	setDefault(&e.Flows, DefaultEgressFlows)
	setDefault(&e.FlowsPerSecond, DefaultEgressFlowsPerSecond)
}

func (e *Egress) validate() error {
	if e == nil {
		return nil
	}
	switch {
	case len(e.Policies) == 0:
		return invalid("egress without a policy")
	case e.Bytes == 0:
		return invalid("egress without a budget of bytes")
	case e.Flows < 0 || e.Flows > MaxEgressFlows || e.FlowsPerSecond < 0 || e.FlowsPerSecond > MaxEgressFlows:
		return invalid("%d egress flows, %d of them a second: at most %d are allowed", e.Flows, e.FlowsPerSecond, MaxEgressFlows)
	case e.LogBytes < MinEgressLog:
		return invalid("an egress log of %d bytes, at least %d are needed", e.LogBytes, MinEgressLog)
	case len(e.Tag) > maxTag:
		return invalid("egress tag has %d bytes, at most %d are allowed", len(e.Tag), maxTag)
	}
	for what, path := range map[string]string{"egress ledger": e.Ledger, "egress log": e.Log} {
		if err := absolute(what, path); err != nil {
			return err
		}
	}
	if e.Shunned == "" {
		return nil
	}
	return absolute("shunned addresses", e.Shunned)
}
