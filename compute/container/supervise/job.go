// Package supervise is the small process that stands over one container: it
// furnishes the container's file system, creates and starts it with runc, keeps
// and bounds its logs, measures what it writes, ends it when a limit or a stop
// says so, and leaves an account of how it ended.
//
// It outlives the provider that started it and needs neither the provider nor
// containerd while the container runs. It deliberately knows nothing of images,
// specs or clients: everything is decided before it starts and handed to it as a
// Job, and it links next to nothing, as it stands beside every container.
package supervise

import (
	"time"

	"github.com/moyai-network/moyai/compute"
	"github.com/moyai-network/moyai/compute/egress/uplink"
)

// Mode is the first argument that makes moyai-worker a supervisor.
const Mode = "supervise"

// Export is the first argument that makes moyai-worker, in a mount namespace of
// its own, write what a volume holds to standard output as a tar. The volume's
// path follows.
const Export = "export"

// ExitInUse is the exit code of Export if the volume is in use.
const ExitInUse = 3

// Box is where a supervisor, in a mount namespace of its own, builds what its
// container sees. The OCI spec's paths point below it.
const Box = "/run/moyai-box"

// Hostname is what a container calls itself.
const Hostname = "moyai"

// Paths of a container's parts below Box.
const (
	RootDir = Box + "/root" // its root file system
	InDir   = Box + "/in"   // its inputs, numbered
	VolDir  = Box + "/vol"  // its volumes, numbered
	EtcDir  = Box + "/etc"  // files of its /etc that tell of its network
)

// Files in a task's directory.
const (
	StateFile    = "task.json" // the caller's record, written before the first instruction
	CountersFile = "counters"  // bytes under /out, as last measured
	EgressFile   = "egress"    // bytes to and from the internet (uplink.Count)
	BundleDir    = "bundle"    // the OCI bundle and scratch of the supervisor
	RuncLog      = "runc.log"  // what runc or runsc said, in the bundle
	PanicLog     = "panic.log" // the last words of gVisor's kernel, beside it
	WorkerLog    = "supervisor.log"
)

// maxMessage bounds what the caller and the supervisor say to each other.
const maxMessage = 4 << 20

// Job is all that a supervisor needs to know. It is read from standard input as
// one line of JSON.
type Job struct {
	ID  string // the container's name
	Dir string // the task's directory
	OCI OCI
	ImageLock,
	TaskLock string // files to hold a lock on: shared, and alone
	Lowers []string // layers of the image, topmost first
	Inputs []string // host paths that appear at InDir/0, 1, …
	// Volumes are files of package volume; what they hold appears at VolDir/0, 1, …
	Volumes []string
	Stdin   string // host path, or empty
	// UIDBase is the host's number of the container's user 0; IDs many follow.
	UIDBase, IDs uint32
	// UID and GID are the host's numbers of the container's user.
	UID, GID    int
	MemoryBytes uint64
	// OverheadBytes are allowed beside MemoryBytes, for what the sandbox itself needs.
	OverheadBytes uint64
	// Pids is enforced by OCI's own means too where the host's processes are not the
	// container's.
	Pids         uint64
	OutputBytes  uint64
	OutputFiles  uint64
	LogBytes     uint64
	TruncateLogs bool
	Timeout      time.Duration
	// Egress is its way to the internet; nil: it has no network but its own
	// loopback.
	Egress *uplink.Job
}

// limits are what the container is held to, as an account of its end has them.
func (j *Job) limits() compute.Limits {
	return compute.Limits{
		MemoryBytes: j.MemoryBytes, OutputBytes: j.OutputBytes, OutputFiles: j.OutputFiles,
		LogBytes: j.LogBytes, TruncateLogs: j.TruncateLogs, Timeout: j.Timeout,
	}
}

// CgroupParent holds all containers, whoever started them.
const CgroupParent = "/moyai/"
