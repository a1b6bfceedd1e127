// Package compute is the plug-in point for running a tenant's program on a
// provider's machine: one Runtime interface, many runtimes (wasm, container), one
// conformance suite (compute/runtimetest) that all of them pass.
//
// A runtime knows programs, files and limits. It deliberately knows nothing of
// leases, money, peers or the chain, and it moves no bytes over the network:
// inputs are host paths when they arrive here, and outputs are host paths when
// they leave.
//
// The life of a program:
//
//	Prepare(Spec)        once per lease: check, compile, load. Never billed.
//	Start(Prepared, Run) once per task: the program's first instruction.
//	Task.Wait            the Result, with a Reason and a Message for a person.
//	Recover(Run)         after a restart of the caller: the same Task again.
//
// Tasks outlive the process that started them: a provider that is killed and
// comes back finds its tasks running, or finds how they ended. Every limit of a
// Spec holds meanwhile.
package compute

import (
	"context"
	"io"
	"path/filepath"
	"time"
)

// Runtime runs programs of one kind. Implementations are safe for concurrent
// use.
type Runtime interface {
	// Name is the short name manifests use: "wasm", "container".
	Name() string

	// Tier is how far its programs are kept from the machine. Several runtimes
	// may have one name and different tiers.
	Tier() Tier

	// Probe tries what this machine can run and enforce, and reports only what
	// worked. It is cheap enough to call at start-up (tens of milliseconds).
	//
	// Errors: ErrUnavailable (wrapped, with what to install or change) if the
	// runtime cannot run anything here; ctx's error.
	Probe(ctx context.Context) (Capabilities, error)

	// Prepare checks spec and does the work that need not be repeated per task:
	// validation, compilation (cached across calls and processes), loading. It
	// runs no instruction of the program. The caller closes the result.
	//
	// Errors: ErrInvalidSpec (a field is missing or out of bounds),
	// ErrBadProgram (the tenant's fault: not a program of this kind, a missing
	// import, more memory than the limit; the text is meant for the tenant),
	// ErrUnavailable (the provider's fault), ctx's error.
	Prepare(ctx context.Context, spec Spec) (Prepared, error)

	// Start begins one task. It creates run.Dir's contents (out directory and
	// log files) and, before the program's first instruction, enough state in
	// run.Dir for Recover. ctx bounds starting only, not the task's life.
	//
	// Errors: ErrInvalidSpec (run is malformed or outside Spec.Dir),
	// ErrExists (run.Dir already holds a task), ErrUnavailable (directory not
	// writable, no process to be had), ctx's error. After an error no process
	// of the task is left.
	Start(ctx context.Context, prepared Prepared, run Run) (Task, error)

	// Recover finds a task that Start began, in this process or a previous one:
	// still running, or ended meanwhile. Only run.ID and run.Dir are read.
	//
	// Errors: ErrNotFound if run.Dir holds no task of that ID, so that starting
	// it cannot run it twice; ErrUnavailable if the state is there but cannot
	// be read. A task that vanished with its machine is not an error here: its
	// Wait reports ReasonLost.
	Recover(ctx context.Context, run Run) (Task, error)

	// Close releases what the runtime holds (idle helper processes). Running
	// tasks are left alone; Recover finds them.
	Close() error
}

// Prepared is a Spec made ready to start.
type Prepared interface {
	// Spec is what Prepare was given, with defaults filled in.
	Spec() Spec
	// Close releases loaded helpers. Tasks that were started live on. It is safe
	// to call more than once.
	Close() error
}

// Task is one run of a program. Its methods are safe for concurrent use.
type Task interface {
	ID() string

	// Wait blocks until the task has ended and nothing of it runs any more, and
	// reports how. Any number of callers may wait, any number of times.
	//
	// Errors: ctx's error only. How the program failed is in the Result.
	Wait(ctx context.Context) (Result, error)

	// Stop ends the task and waits until nothing of it runs. A program that can
	// be asked to end (containers: SIGTERM) has grace to do so; WebAssembly
	// programs cannot and end at once. Stopping an ended task is a no-op, so
	// Stop may be called twice. The task's true result wins a race with Stop.
	//
	// Errors: ctx's error; ErrUnavailable if the task could not be killed.
	Stop(ctx context.Context, grace time.Duration) error

	// Usage is what the task has used so far; after its end, in all. Fields a
	// runtime cannot measure are zero.
	Usage() Usage
}

// Spec is a program with its inputs and limits: all that the tasks of one lease
// share.
type Spec struct {
	// Dir is a directory of the caller's, on the file system that takes the
	// outputs. Every Run.Dir lies below it. Absolute.
	Dir string
	// Program is the host path of the module (wasm) or of an image (container: an
	// OCI layout or a docker archive, as a tar; or a folder that is an OCI layout).
	// Absolute.
	Program string
	// ProgramKey tells programs apart: equal keys promise equal bytes. A caller
	// that has verified a content hash gives it, and spares the runtime computing
	// one. Empty: the runtime does. At most MaxKey bytes.
	ProgramKey []byte
	// Args are the program's arguments after its own name; for an image, what
	// takes the place of its command.
	Args []string
	// Env are KEY=VALUE pairs, the program's whole environment beside what its
	// image brings. Nothing is inherited from the host.
	Env []string
	// Inputs appear to the program, read-only, as /in/<Name>.
	Inputs []Input
	// Volumes appear to the program, writable, where they say. They need a runtime
	// that is a VolumeKeeper; the others refuse them.
	Volumes []Volume
	// Devices are hardware that the program may use, by their names in the
	// Container Device Interface ("nvidia.com/gpu=0"). A runtime that cannot hand
	// them out refuses them.
	Devices []string
	// Limits bound each task on its own.
	Limits Limits
	// Array says that more than one task will be started, so that keeping the
	// next one loaded is worth its memory.
	Array bool
	// Deterministic replaces clocks and randomness by ones that depend on Seed
	// alone, so that a checker's replay sees the same. Off by default.
	Deterministic bool
	Seed          uint64
	// Egress is the tasks' way to the internet. Nil: they have none.
	Egress *Egress
}

// Input is a file or a directory of the host shown to the program.
type Input struct {
	Name string // one path element; unique within the Spec
	Path string // absolute host path of a regular file or a directory
}

// Volume is a folder that outlives the tasks which see it, made by a
// VolumeKeeper. One task at a time can have it.
type Volume struct {
	File string // host path of what MakeVolume made
	At   string // absolute path the program sees it at
}

// VolumeKeeper is a Runtime whose programs can have volumes.
//
// Not every runtime is one: assert it.
type VolumeKeeper interface {
	Runtime

	// MakeVolume makes a volume of a fixed size at the host path file, which must
	// be on the caller's disk; what is there already is left as it is. The size is
	// the kernel's to hold: writing more fails inside with ENOSPC.
	//
	// Errors: ErrInvalidSpec (too small), ErrUnavailable, ctx's error. After an
	// error nothing is left.
	MakeVolume(ctx context.Context, file string, bytes uint64) error

	// ExportVolume writes what a volume holds to w, as a tar of folders, regular
	// files and symbolic links.
	//
	// Errors: ErrVolumeInUse, ErrUnavailable, ctx's error, w's.
	ExportVolume(ctx context.Context, file string, w io.Writer) error
}

// Run is one task of a prepared Spec. It is plain data: a caller that journals
// it can Recover with it.
type Run struct {
	// ID names the task in errors and to Recover; unique per Dir. At most
	// MaxID bytes.
	ID string
	// Dir holds the task's files (see the methods below). It may exist, but must
	// not hold another task. Absolute, below Spec.Dir.
	Dir string
	// Env is added to Spec.Env and overrides it: MOYAI_INDEX goes here.
	Env []string
	// Stdin is the host path of a regular file below Spec.Dir, or of a FIFO
	// there whose writing end somebody holds open. Empty: end of file at once.
	Stdin string
}

// Out is the directory the program sees, writable, as /out.
func (r Run) Out() string { return filepath.Join(r.Dir, "out") }

// Stdout is the file that receives the program's standard output, unbuffered:
// what the program has written can be read from it.
func (r Run) Stdout() string { return filepath.Join(r.Dir, "stdout") }

// Stderr is the file that receives the program's standard error, unbuffered.
func (r Run) Stderr() string { return filepath.Join(r.Dir, "stderr") }

// Capabilities is what a runtime found that it can do here.
type Capabilities struct {
	// Version names the engine for a person: "wazero 1.12.0".
	Version string
	// Enforced are the walls that were tried and held, sorted: "landlock",
	// "landlock-net", "memory", "no-capabilities", "seccomp", …. Only these may
	// be advertised.
	Enforced []string
	// Missing says for each wall that is not there why, for a person.
	Missing []string
}

// Usage is what a task consumed.
type Usage struct {
	Wall        time.Duration // since Start, monotonic while one caller lives
	CPU         time.Duration // user and system
	MemoryPeak  uint64        // bytes resident, at most
	OutputBytes uint64        // bytes under /out
	LogBytes    uint64        // bytes of stdout and stderr kept
	EgressBytes uint64        // bytes to and from the internet
}

// Result is how a task ended.
type Result struct {
	// Reason says who or what ended it.
	Reason Reason
	// ExitCode is the program's own if Reason is ReasonExited or ReasonMemory
	// and it lived to give one, else -1.
	ExitCode int
	// Message tells the tenant what happened and what to do about it. Empty
	// only for exit code 0.
	Message string
	// LogsTruncated reports that output beyond Limits.LogBytes was dropped
	// (Limits.TruncateLogs).
	LogsTruncated bool
	// Usage is final.
	Usage Usage
}

// OK reports that the program ran to its end and returned 0.
func (r Result) OK() bool { return r.Reason == ReasonExited && r.ExitCode == 0 }

// Reason is an enumeration; its values are stable because journals keep them.
type Reason uint8

const (
	// ReasonUnknown is never the reason of a Result.
	ReasonUnknown Reason = 0
	// ReasonExited means the program returned or called exit; ExitCode is its own.
	// A container's is 127 if its image cannot run the program, and 128 and more
	// if a signal ended it, as shells have it.
	ReasonExited Reason = 1
	// ReasonTrap means the program did what its machine forbids (unreachable, out of
	// bounds, stack overflow).
	ReasonTrap Reason = 2
	// ReasonDeadline means Limits.Timeout passed.
	ReasonDeadline Reason = 3
	// ReasonMemory means it was refused memory beyond Limits.MemoryBytes and failed.
	ReasonMemory Reason = 4
	// ReasonOutputLimit means it wrote more than Limits.OutputBytes or OutputFiles.
	ReasonOutputLimit Reason = 5
	// ReasonLogLimit means it logged more than Limits.LogBytes.
	ReasonLogLimit Reason = 6
	// ReasonStopped means Stop was called.
	ReasonStopped Reason = 7
	// ReasonCrashed means the helper that ran it failed; the provider's fault, or an
	// attack.
	ReasonCrashed Reason = 8
	// ReasonDisk means the provider's disk was full.
	ReasonDisk Reason = 9
	// ReasonLost means it is gone and nobody saw how, as after a power cut.
	ReasonLost Reason = 10
)

var reasonNames = [...]string{
	ReasonUnknown:     "unknown",
	ReasonExited:      "exited",
	ReasonTrap:        "trap",
	ReasonDeadline:    "deadline",
	ReasonMemory:      "memory",
	ReasonOutputLimit: "output-limit",
	ReasonLogLimit:    "log-limit",
	ReasonStopped:     "stopped",
	ReasonCrashed:     "crashed",
	ReasonDisk:        "disk-full",
	ReasonLost:        "lost",
}

// String is the name used on the wire and in JSON.
func (r Reason) String() string {
	if int(r) < len(reasonNames) {
		return reasonNames[r]
	}
	return reasonNames[ReasonUnknown]
}

// ProvidersFault reports that another provider may well succeed where this one
// did not, so that a retry elsewhere is worth it.
func (r Reason) ProvidersFault() bool {
	return r == ReasonCrashed || r == ReasonDisk || r == ReasonLost
}

// ParseReason is String's inverse; what it does not know is ReasonUnknown.
func ParseReason(name string) Reason {
	for i, n := range reasonNames {
		if n == name {
			return Reason(i)
		}
	}
	return ReasonUnknown
}
