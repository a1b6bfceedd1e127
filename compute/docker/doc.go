// Package docker runs OCI images on a Docker that is there already: for an owner who
// has it and need not be root. A small supervisor (cmd/moyai-docker) stands over each
// container and holds it to those limits that Docker does not know, while neither the
// provider nor anybody else looks.
//
// A program is a file: an OCI layout or a docker archive. It is read and checked in
// full, and Docker is given only its layers: nothing that an image says of itself
// (volumes, ports, health checks) reaches the daemon. Nothing is pulled from anywhere.
//
// A container has no capabilities, no network but its own loopback, a system call
// filter of ours, and sees /in and /out, a read-only root file system, and tmpfs at
// /tmp, /run and /dev/shm. Where Docker maps users (userns-remap) it has its image's
// users; else it is one user of the host that nobody has, whatever its image says; and
// where this process is not root, its own user, since nobody else could collect what a
// program writes.
//
// It shares the owner's kernel, and Docker's daemon is root: a defect of either is a
// way out. It knows no volumes, devices, egress or visits: a Spec that asks for them
// is refused.
//
// # What a caller must pass
//
// Config.Home, a folder of its own that no other user may enter, as are those of its
// tasks: inputs are made readable for everybody who can. Where a service manager
// stops the caller, it must leave the other processes alone (systemd:
// KillMode=process).
package docker

import (
	"runtime"
	"time"
)

// Name is the runtime's name in manifests: images run in either.
const Name = "container"

// Config says where a Runtime finds and keeps things.
type Config struct {
	// Home is a folder of its own: records of images, and locks. Several runtimes, also
	// of several processes, may share it. Required.
	Home string
	// Supervisor is the path of the moyai-docker executable, Worker of moyai-worker,
	// which is what Probe has run. Empty: beside this program or in PATH. The latter
	// must be statically linked, as `make build` does.
	Supervisor, Worker string
	// Socket is where Docker listens. Empty: the usual places.
	Socket string
	// UIDBase is the first of UIDBase+UIDRanges·65536 user ids that containers
	// have on the host, if this process is root. Nothing else there may use them.
	UIDBase, UIDRanges uint32
	// ImageBytes bounds one image unpacked, ImageEntries its files and
	// ImageLayers its layers.
	ImageBytes   int64
	ImageEntries int
	ImageLayers  int
	// CacheBytes bounds all images given to Docker; the least recently used go first,
	// but never one in use.
	CacheBytes int64
	// StartTimeout bounds what a container's creation may take.
	StartTimeout time.Duration
}

// EnsureDefaults fills in what was left zero.
func (c *Config) EnsureDefaults() {
	set(&c.UIDBase, 1<<30)
	set(&c.UIDRanges, 8192)
	set(&c.ImageBytes, 64<<30)
	set(&c.ImageEntries, 2_000_000)
	set(&c.ImageLayers, 120) // Docker's own bound is 127
	set(&c.CacheBytes, 128<<30)
	set(&c.StartTimeout, time.Minute)
}

func set[T comparable](v *T, def T) {
	var zero T
	if *v == zero {
		*v = def
	}
}

// architecture is this machine's, as images name it.
const architecture = runtime.GOARCH
