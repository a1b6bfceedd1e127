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
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

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
	StateFile    = "task.json"  // the caller's record, written before the first instruction
	FinalFile    = "final.json" // the supervisor's account, written after the last
	CountersFile = "counters"   // bytes under /out, as last measured
	EgressFile   = "egress"     // bytes to and from the internet (uplink.Count)
	BundleDir    = "bundle"     // the OCI bundle and scratch of the supervisor
	RuncLog      = "runc.log"   // what runc or runsc said, in the bundle
	PanicLog     = "panic.log"  // the last words of gVisor's kernel, beside it
	WorkerLog    = "supervisor.log"
)

// stopPrefix begins the names of wishes to end a container.
const stopPrefix = "stop."

// FinalRoom is how many spaces FinalFile holds from the start, so that an account
// can be given when the container has filled the disk.
const FinalRoom = 8 << 10

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

// Reply is the supervisor's answer, one line of JSON: after the container was
// created, and again after it was started.
type Reply struct {
	Error string // empty: it worked
	PID   int    // of the container's first process, as the host counts
}

// Go is what the caller says between the two replies, once its record is
// written.
const Go = "go\n"

// Final is the account of how a container ended, written whole, once.
type Final struct {
	Reason        string // compute.Reason's name
	ExitCode      int
	Message       string
	LogsTruncated bool
	Wall, CPU     time.Duration
	MemoryPeak    uint64
	OutputBytes   uint64
	LogBytes      uint64
	EgressBytes   uint64
	Done          bool // last field: a torn write cannot have it
}

// ReadFinal returns the account in dir, if there is a whole one.
func ReadFinal(dir string) (Final, bool) {
	var f Final
	b, err := os.ReadFile(filepath.Join(dir, FinalFile))
	if err != nil || json.Unmarshal(b, &f) != nil {
		return Final{}, false
	}
	return f, f.Done
}

// WriteFinal writes the account over the room that was left for it. An account
// that is already whole is kept: the first word is the true one.
func WriteFinal(dir string, f Final) error {
	if _, ok := ReadFinal(dir); ok {
		return nil
	}
	const longest = FinalRoom / 2 // JSON may double a message
	if len(f.Message) > longest/2 {
		f.Message = f.Message[:longest/2]
	}
	f.Done = true
	b, err := json.Marshal(f)
	if err != nil {
		return err
	}
	file, err := os.OpenFile(filepath.Join(dir, FinalFile), os.O_WRONLY|os.O_CREATE, 0o600)
	if err != nil {
		return err
	}
	if _, err = file.WriteAt(b, 0); err == nil {
		err = file.Sync()
	}
	return errors.Join(err, file.Close())
}

// AskToStop leaves a wish in dir: that the container end, by itself if it can
// within grace. A wish is a file without content, named after its time, so
// several callers cannot undo each other's: the soonest one stands.
func AskToStop(dir string, grace time.Duration) error {
	by := time.Now().Add(max(grace, 0))
	return os.WriteFile(filepath.Join(dir, stopPrefix+strconv.FormatInt(by.UnixNano(), 10)), nil, 0o600)
}

// graceLeft is the time until the soonest wish in dir. None that can be read is
// none: somebody wanted an end.
func graceLeft(dir string) time.Duration {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return 0
	}
	var soonest int64
	for _, e := range entries {
		if digits, ok := strings.CutPrefix(e.Name(), stopPrefix); ok {
			if by, err := strconv.ParseInt(digits, 10, 64); err == nil && (soonest == 0 || by < soonest) {
				soonest = by
			}
		}
	}
	return time.Until(time.Unix(0, soonest))
}

// size writes n bytes as people read them.
func size(n uint64) string {
	for _, unit := range []struct {
		shift uint
		name  string
	}{{30, "GiB"}, {20, "MiB"}, {10, "KiB"}} {
		if n >= 1<<unit.shift && n%(1<<unit.shift) == 0 {
			return fmt.Sprintf("%d %s", n>>unit.shift, unit.name)
		}
	}
	return fmt.Sprintf("%d bytes", n)
}
