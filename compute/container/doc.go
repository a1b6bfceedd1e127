// Package container runs OCI images: containerd keeps and unpacks them, runc or
// gVisor's runsc runs them, and a small supervisor (compute/container/supervise, a mode of
// moyai-worker) stands over each and holds it to its limits while neither the
// provider nor containerd lives.
//
// A program is a file: an OCI layout or a docker archive. Nothing is pulled from
// anywhere here. A container is root in a user namespace of its own, whose ids
// mean nothing on the host; it has no capabilities, no network but its own
// loopback and what a Spec's Egress gives it, and sees /in and /out, a read-only root file system, and tmpfs at
// /tmp, /run and /dev/shm.
//
// Its tasks are compute.Interactive: who enters is let in by the supervisor, runs inside
// under the same walls, and finds our tools there (compute/container/tool).
//
// It does not hide a tenant's data from the owner of the machine. With runc it shares
// the owner's kernel, of which a defect is a way out; with runsc a kernel of gVisor's,
// an unprivileged process, stands before that.
//
// # What a caller must pass
//
// Config.Home, a folder of its own on a file system with room for images, and
// nothing else. The process must be root. Where a service manager stops the
// caller, it must leave the other processes alone (systemd: KillMode=process), or
// containers end with it. Spec.Deterministic is refused. Collecting Run.Out()
// must not follow symbolic links: they are the tenant's.
package container

import (
	"runtime"
	"time"

	"github.com/moyai-network/moyai/compute"
	"github.com/moyai-network/moyai/compute/image/launch"
)

// Name is the runtime's name in manifests.
const Name = "container"

// Egress is the name of the wall with a door in it for those who pay: a container
// can be given a way to the internet, and is held to its rules.
const Egress = "egress"

// Volumes is what Probe calls volumes whose size holds.
const Volumes = "volume-size"

// Config says where a Runtime finds and keeps things.
type Config struct {
	// Home is a folder of its own: images, and containerd's data if we start it.
	// Several runtimes, also of several processes, may share it. Required.
	Home string
	// Worker is the path of the moyai-worker executable. Empty: beside this
	// program or in PATH. It must be statically linked, as `make build` does.
	Worker string
	// Gateway is the path of the moyai-egress executable. Empty: beside this program
	// or in PATH; if it is nowhere, a Spec with egress is refused.
	Gateway string
	// Socket is the address of a containerd that somebody else runs. Empty: one
	// of our own is started, and found again after a restart.
	Socket string
	// Tier is compute.TierContainer (runc; the default) or compute.TierGVisor
	// (runsc). Runtimes of both may share Home.
	Tier compute.Tier
	// Containerd, Runc and Runsc are the executables. Empty: from PATH. Of the last
	// two only the tier's own is needed.
	Containerd, Runc, Runsc string
	// UIDBase is the first of UIDBase+UIDRanges·65536 user ids that containers
	// have on the host. Nothing else there may use them.
	UIDBase, UIDRanges uint32
	// ImageBytes bounds one image unpacked, ImageEntries its files and
	// ImageLayers its layers.
	ImageBytes   int64
	ImageEntries int
	ImageLayers  int
	// CacheBytes bounds all unpacked images; the least recently used go first,
	// but never one in use.
	CacheBytes int64
	// DeviceDirs hold the descriptions of devices (Container Device Interface).
	// Empty: /etc/cdi and /var/run/cdi.
	DeviceDirs []string
	// StartTimeout bounds what a container's creation may take.
	StartTimeout time.Duration

	mended bool // Runsc is one that scripts/gvisor.sh built
}

// idsPerContainer is what images expect of user ids.
const idsPerContainer = launch.IDs

// EnsureDefaults fills in what was left zero.
func (c *Config) EnsureDefaults() {
	set(&c.Tier, compute.TierContainer)
	set(&c.UIDBase, 1<<30)
	set(&c.UIDRanges, 8192)
	set(&c.ImageBytes, 64<<30)
	set(&c.ImageEntries, 2_000_000)
	set(&c.ImageLayers, 127)
	set(&c.CacheBytes, 128<<30)
	set(&c.StartTimeout, time.Minute)
	if len(c.DeviceDirs) == 0 {
		c.DeviceDirs = []string{"/etc/cdi", "/var/run/cdi"}
	}
}

func set[T comparable](v *T, def T) {
	var zero T
	if *v == zero {
		*v = def
	}
}

// architecture is this machine's, as images name it.
const architecture = runtime.GOARCH
