package compute

import "slices"

// Tier is how far a runtime keeps a program from the machine. It is what orders
// ask for as the attribute "isolation".
type Tier string

// Tiers.
const (
	TierSandbox   Tier = "sandbox"   // no system calls of its own: WebAssembly in a walled-in process
	TierGVisor    Tier = "gvisor"    // its system calls are answered by a kernel of its own
	TierContainer Tier = "container" // namespaces and limits of the machine's own kernel
)

// tiers are in the order of their strength, the weakest first.
var tiers = []Tier{TierContainer, TierGVisor, TierSandbox}

// Stronger reports that t keeps more from the machine than other does.
func (t Tier) Stronger(other Tier) bool { return slices.Index(tiers, t) > slices.Index(tiers, other) }

// Means says what a tier is, for a person.
func (t Tier) Means() string {
	switch t {
	case TierSandbox:
		return "the program makes no system calls of its own"
	case TierGVisor:
		return "the program talks to a kernel of its own"
	case TierContainer:
		return "the program shares this machine's kernel"
	}
	return ""
}
