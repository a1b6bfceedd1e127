package archtest

// house is one part of the map in ARCHITECTURE.md, and what of our own module
// it may import. The longest matching Dir decides, so a subfolder may be held
// to a stricter or a different rule than its parent.
type house struct {
	Dir    string
	May    []string // folders of this module; "." is the house itself, always allowed
	Anyone bool     // may import everything
	Why    string
}

// houses lists who may import whom, bottom up. Imports point down only.
var houses = []house{
	{Dir: "mechanism", Why: "the rules are functions of values, so that chain, checker, client and simulator run the same code"},
	{Dir: "wire", May: []string{"mechanism"}, Why: "what is signed is bytes and hashes; it knows no chain, no network and no role"},
	{Dir: "api", Why: "only generated code lives here"},

	{Dir: "chain/x", May: []string{"mechanism", "wire", "api", "chain/event", "chain/money", "chain/parallel", "internal"}, Why: "a module reaches another through an interface it declares itself, never through the other's keeper"},
	{Dir: "chain", May: []string{"mechanism", "wire", "api", "internal"}, Why: "the ledger knows neither goods nor roles"},

	{Dir: "p2p", May: []string{"mechanism", "wire", "internal"}, Why: "the transport carries bytes between roles; it knows neither chain nor goods"},

	{Dir: "compute", May: []string{"mechanism", "wire", "internal"}, Why: "a good knows how to run work, not who pays for it; goods do not import each other"},
	{Dir: "storage", May: []string{"mechanism", "wire", "internal"}, Why: "goods do not import each other"},
	{Dir: "bandwidth", May: []string{"mechanism", "wire", "internal"}, Why: "goods do not import each other"},
	{Dir: "sensing", May: []string{"mechanism", "wire", "internal"}, Why: "goods do not import each other"},
	{Dir: "inference", May: []string{"mechanism", "wire", "internal"}, Why: "goods do not import each other"},

	{Dir: "client/chain", May: []string{"mechanism", "wire", "api", "internal"}, Why: "the one road to the ledger for every role; it must not drag in the node or the transport"},
	{Dir: "client", May: []string{"mechanism", "wire", "api", "p2p", "compute", "internal"}, Why: "the SDK is what a tenant's program links: no node, no provider"},

	{Dir: "provider", May: []string{"mechanism", "wire", "api", "p2p", "compute", "client", "internal"}, Why: "roles reach the chain only through client"},
	{Dir: "checker", May: []string{"mechanism", "wire", "api", "p2p", "compute", "client", "internal"}, Why: "roles reach the chain only through client"},
	{Dir: "gateway", May: []string{"mechanism", "wire", "api", "p2p", "client", "internal"}, Why: "roles reach the chain only through client"},
	{Dir: "indexer", May: []string{"mechanism", "wire", "api", "client", "internal"}, Why: "roles reach the chain only through client"},

	{Dir: "sim", May: []string{"mechanism"}, Why: "a simulation of the rules must run the rules and nothing else"},
	{Dir: "internal", May: []string{"internal"}, Why: "internal packages carry no domain words, so they import no domain"},

	{Dir: "devnet", Anyone: true, Why: "the proof stands above everything"},
	{Dir: "e2e", Anyone: true, Why: "the proof stands above everything"},
	{Dir: "bench", Anyone: true, Why: "the proof stands above everything"},
	{Dir: "cmd/moyai-worker", May: []string{"compute", "internal"}, Why: "a job's child starts in milliseconds only while it links next to nothing"},
	{Dir: "cmd/moyai-egress", May: []string{"compute", "internal"}, Why: "it stands beside a task and reads what strangers send: it links a network stack and nothing else"},
	{Dir: "cmd/moyai-docker", May: []string{"compute", "internal"}, Why: "it stands beside every container that Docker runs, so it links Docker's client and nothing else"},
	{Dir: "cmd", Anyone: true, Why: "a binary composes roles"},
	{Dir: "examples/debimage", May: []string{"compute/image/pack"}, Why: "it writes images, and knows nothing of who runs them"},
	{Dir: "examples", May: []string{"client"}, Why: "an example shows what a stranger can do with the public SDK"},
}

// ban forbids imports of a folder, each with the reason a reviewer would give.
type ban struct {
	In      string   // folder the ban covers, "" for the whole module
	Except  []string // folders below it that are free of the ban
	Imports []string // import path prefixes
	Allow   []string // exact import paths that are free of it all the same
	Tests   bool     // test files are held to it as well
	Why     string
}

var bans = []ban{
	{
		In: "mechanism",
		Imports: []string{"time", "os", "io", "net", "log", "sync", "context", "runtime", "unsafe", "reflect",
			"math/rand", "math/cmplx", "crypto/rand", "syscall", "path/filepath", "database"},
		Why: "a rule sees no clock, no randomness, no input or output and no other goroutine: they enter as values",
	},
	{
		In:      "chain/x",
		Imports: []string{"math/rand", "crypto/rand", "os", "net"},
		Why:     "every node must compute the same state; randomness comes from the beacon, time from the block",
	},
	{
		In: "", Tests: true,
		Imports: []string{"github.com/cosmos/cosmos-sdk/enterprise", "github.com/cosmos/cosmos-sdk/contrib"},
		Why:     "enterprise/ is under a licence that is not free, contrib/ is unmaintained",
	},
	{
		In: "", Except: []string{"chain", "client", "api", "cmd", "devnet", "e2e", "bench"},
		Imports: []string{"github.com/cosmos", "cosmossdk.io", "github.com/cometbft"},
		Allow:   []string{"github.com/cosmos/cosmos-sdk/types"}, // coins and messages, as api has them
		Why:     "the chain engine stays behind chain/ and client/: goods, transport and roles must not depend on its release cycle",
	},
	{
		In: "", Except: []string{"p2p", "client", "provider", "checker", "gateway", "cmd", "devnet", "e2e", "bench"},
		Imports: []string{"github.com/libp2p", "github.com/multiformats/go-multiaddr"},
		Allow:   []string{"github.com/libp2p/go-yamux/v5"}, // streams over any pair of pipes; it knows no peers
		Why:     "only who speaks to peers links the transport",
	},
	{
		In: "", Except: []string{"compute/wasm", "cmd/moyai-worker", "bench"},
		Imports: []string{"github.com/tetratelabs/wazero"},
		Why:     "hostile code runs in the worker process and nowhere else",
	},
	{
		In: "", Except: []string{"compute/egress/gateway"},
		Imports: []string{"gvisor.dev/gvisor"},
		Why:     "a network stack is large and reads hostile packets: it lives in the gateway's process and nowhere else",
	},
	{
		In: "", Except: []string{"provider", "client", "indexer"},
		Imports: []string{"modernc.org/sqlite", "database/sql"},
		Why:     "the journal is the provider's; the chain has its own store and nothing else needs one",
	},
	{
		In: "", Except: []string{"cmd", "chain", "bench", "e2e"},
		Imports: []string{"github.com/spf13/cobra"},
		Why:     "verbs live in cmd; a library that reads flags cannot be composed",
	},
}

// badNames are package names that say nothing about what is inside.
var badNames = map[string]bool{"util": true, "utils": true, "common": true, "helper": true, "helpers": true, "misc": true, "lib": true, "base": true, "shared": true}

// maxLines is what one sitting can hold.
const maxLines = 600
