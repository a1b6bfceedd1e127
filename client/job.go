package client

import (
	"io"
	"time"

	"github.com/moyai-network/moyai/mechanism/amount"
)

// Job is a program to run and the terms it may run under. Only Module or Image,
// Timeout and MaxPrice are required; EnsureDefaults fills the rest.
type Job struct {
	Module string            // path of a WASI preview 1 module or an image archive
	Image  string            // in place of Module: a registry's image, such as "python:3.12"
	Args   []string          // after the program's own name
	Env    map[string]string // names beginning with MOYAI_ are reserved
	Inputs []Input           // appear read-only as /in/NAME
	Stdin  io.Reader         `json:"-"` // for single jobs; nil: empty

	// Output is the folder that receives what the program wrote under /out, or,
	// for array jobs, one folder per index (Output/0, Output/1, …). Empty: results
	// stay at the provider until they expire. It must be absent or empty unless
	// Overwrite is set.
	Output    string
	Overwrite bool

	// Platform is what the image must be for, such as "linux/arm64"; empty: the
	// provider's own.
	Platform string
	// ImageBytesMax bounds what a provider pulls where this machine cannot ask the
	// registry how large the image is; default 8 GiB.
	ImageBytesMax uint64
	// Resolved is what Image stood for when the job began; Run fills it in.
	Resolved *ResolvedImage `json:",omitempty"`

	// Hint says what may be told to all providers of what the job needs, so that
	// those which have it can say so: hashes that only they recognise.
	Hint Hint

	// Volumes are folders that outlive the job, at the provider that ran it.
	Volumes []Volume `json:",omitempty"`
	// Place is where the job's volumes are; Run fills it in.
	Place *Place `json:",omitempty"`

	// Secrets are environment variables that are sealed to the machine which gets
	// the lease. They are kept nowhere: another process that takes the job over has
	// none for a replacement lease.
	Secrets map[string]string `json:"-"`
	// Registry is shown, sealed like Secrets, to the image's registry.
	Registry *RegistryLogin `json:"-"`
	// SecretNames are what the manifest names; Run fills them in.
	SecretNames []string `json:",omitempty"`

	CPUMilli    uint64 // thousandths of a core; default 1000
	MemoryBytes uint64 // default 256 MiB
	GPUs        uint64 // whole cards; containers only
	GPUSlices   uint64 // parts of cards that the hardware keeps apart; containers only
	ShmBytes    uint64 // /dev/shm of a container, part of the memory; default half of it
	// Egress is where a container may speak to, as rules like "pypi.org:443" or
	// "*.debian.org"; none: nowhere. EgressBytes is the budget, both directions and
	// all tasks of a lease together; default 1 GiB where there are rules.
	Egress      []string
	EgressBytes uint64

	OutputBytesMax uint64 // under /out, per task; default 1 GiB
	// KeepResults is how long the provider keeps results and logs after the end.
	// Default 1 h.
	KeepResults time.Duration
	LogBytesMax uint64 // stdout and stderr, per task; default 16 MiB

	Timeout     time.Duration // longest billed time of each lease; the hold pays for it
	TaskTimeout time.Duration // longest wall clock of one task; default Timeout
	MaxPrice    amount.Price  // ceiling for one lease
	MaxGrace    time.Duration // longest loading time, never billed; default 2 min, of an image 10
	MaxUnacked  time.Duration // what a provider may run ahead of receipts; default 10 s
	MinBond     amount.Amount // bond the provider must lock; default 0
	Constraints []Constraint  // on attributes of the provider's node

	Array *Array // nil: one task, index 0

	// Events receives everything that happens, in order, from one goroutine. It
	// must not block for long: receipts wait behind it.
	Events func(Event) `json:"-"`
}

// Input is a local file or folder that the program sees as /in/Name.
type Input struct{ Name, Path string }

// Hint says what a job tells before anybody was chosen.
type Hint string

// The hints.
const (
	HintImages Hint = ""     // images that need no login; the default
	HintAll    Hint = "all"  // the module and the inputs, too
	HintNone   Hint = "none" // nothing
)

// ResolvedImage is what an image's name stood for.
type ResolvedImage struct {
	Reference string // host/repository:tag
	Digest    []byte // SHA-256; empty: the provider pins it
	Bytes     uint64 // the most that may be pulled
	Arch      string // what it is for, if it is for one architecture only
}

// Volume is a folder that outlives the job.
type Volume struct {
	Name  string
	Path  string        // where the program sees it
	Bytes uint64        // its size; zero: what it has, or 1 GiB if it is new
	Keep  time.Duration // how long it is kept after the job; default 24 h
}

// Place is one machine.
type Place struct {
	Node    []byte // its key
	Name    string // for people
	Volumes []string
}

// RegistryLogin is a login at an image's registry.
type RegistryLogin struct{ User, Password string }

// Constraint restricts an attribute of the node: Op is "=", "!=", ">=" or "<=".
type Constraint struct{ Attribute, Op, Value string }

// Array runs the module once per index, with MOYAI_INDEX set.
type Array struct {
	First, Last uint64 // both included
	Parallel    int    // leases at once; default 4, at most the number of tasks
	MaxAttempts int    // per index; default 3
}

// Tasks is how many indices the array has.
func (a *Array) Tasks() uint64 { return a.Last - a.First + 1 }

// Result is how a job ended.
type Result struct {
	JobID  string        `json:"job_id"`
	Tasks  []TaskResult  `json:"tasks"`
	Leases []LeaseReport `json:"leases"`
	Output string        `json:"output,omitempty"`
}

// ExitCode is the exit code to pass on: that of the first task that failed, 0
// if none did, 125 if one never ended.
func (r *Result) ExitCode() int {
	if len(r.Tasks) == 0 {
		return exitNeverEnded
	}
	for _, t := range r.Tasks {
		if !t.Done {
			return exitNeverEnded
		}
		if t.ExitCode != 0 {
			return int(t.ExitCode)
		}
		if t.Reason != reasonExited {
			return exitNeverEnded
		}
	}
	return 0
}

// exitNeverEnded says that there is no exit code of the program's own.
const exitNeverEnded = 125

// reasonExited is compute's word for a program that ended by itself.
const reasonExited = "exited"

// TaskResult is how one index ended.
type TaskResult struct {
	Index       uint64 `json:"index"`
	Done        bool   `json:"done"`
	ExitCode    uint32 `json:"exit_code"`
	Reason      string `json:"reason,omitempty"` // compute's word: "exited", "deadline", "memory", …
	Error       string `json:"error,omitempty"`
	Lease       string `json:"lease,omitempty"` // where it ran last
	Attempts    int    `json:"attempts"`
	OutputBytes uint64 `json:"output_bytes"`
	Fetched     bool   `json:"fetched"` // results are in the output folder
}

// OK tells whether the task exited by itself with code 0.
func (t TaskResult) OK() bool { return t.Done && t.ExitCode == 0 && t.Reason == reasonExited }

// LeaseReport is one lease, from the journal and the chain together. Amounts are
// base units of Denom, in decimal.
type LeaseReport struct {
	ID          string    `json:"id"`
	JobID       string    `json:"job_id,omitempty"`
	State       string    `json:"state"` // "opening", "open", "settling", "closed", "refused", "pruned"
	Provider    string    `json:"provider"`
	Moniker     string    `json:"moniker,omitempty"`
	Node        string    `json:"node"` // hex
	Denom       string    `json:"denom"`
	Rate        string    `json:"rate"`  // 10⁻¹² base units per second
	Price       string    `json:"price"` // for people: "0.02 MOY/h"
	AckedMS     uint64    `json:"acked_ms"`
	Tasks       uint64    `json:"tasks"` // ended on this lease
	Hold        string    `json:"hold,omitempty"`
	Paid        string    `json:"paid,omitempty"` // to the provider
	Burned      string    `json:"burned,omitempty"`
	Pool        string    `json:"pool,omitempty"`
	Refunded    string    `json:"refunded,omitempty"`
	BilledMS    uint64    `json:"billed_ms,omitempty"`
	CloseReason string    `json:"close_reason,omitempty"`
	OpenTx      string    `json:"open_tx,omitempty"`
	OpenedAt    time.Time `json:"opened_at"`
	Module      string    `json:"module,omitempty"`
	Output      string    `json:"output,omitempty"`
	Isolation   string    `json:"isolation,omitempty"` // the tier that its provider says it runs at
	Ours        bool      `json:"ours"`                // its receipt key is in this home
}

// Quote is one provider's indication.
type Quote struct {
	Provider         string      `json:"provider"`
	Moniker          string      `json:"moniker,omitempty"`
	Node             string      `json:"node"`
	Denom            string      `json:"denom"`
	Rate             amount.Rate `json:"rate"`
	Price            string      `json:"price,omitempty"`
	EstimatedStartMS uint64      `json:"estimated_start_ms,omitempty"`
	New              bool        `json:"new,omitempty"`      // not in the registry: a first lease registers it
	Refusals         []string    `json:"refusals,omitempty"` // empty: would serve
}

// Account is the tenant's money.
type Account struct {
	Address  string        `json:"address"`
	Key      string        `json:"key"`
	Balances []amount.Coin `json:"balances"`
	Locked   []amount.Coin `json:"locked"` // in holds of open leases
}

// Provider is a registered operator with its live machines.
type Provider struct {
	Operator      string        `json:"operator"`
	Moniker       string        `json:"moniker"`
	Contact       string        `json:"contact,omitempty"`
	Bond          string        `json:"bond"`
	Locked        string        `json:"locked"`
	Leaving       bool          `json:"leaving,omitempty"`
	LeasesClosed  uint64        `json:"leases_closed"`
	SecondsServed uint64        `json:"seconds_served"`
	Earned        []amount.Coin `json:"earned"`
	Nodes         []Node        `json:"nodes"`
}

// Node is one machine of a provider.
type Node struct {
	Node       string            `json:"node"` // hex
	Addresses  []string          `json:"addresses"`
	Region     string            `json:"region,omitempty"`
	Attributes map[string]string `json:"attributes,omitempty"`
}
