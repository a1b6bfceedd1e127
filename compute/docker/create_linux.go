package docker

import (
	"encoding/json"
	"fmt"
	"net/netip"
	"syscall"

	"github.com/containerd/containerd/v2/contrib/seccomp"
	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/api/types/mount"
	specs "github.com/opencontainers/runtime-spec/specs-go"

	"github.com/moyai-network/moyai/compute"
	"github.com/moyai-network/moyai/compute/docker/stand"
	"github.com/moyai-network/moyai/compute/internal/walls"
)

// hostname is what a container calls itself.
const hostname = "moyai"

// mostFiles is a container's nofile limit where this process may have as many.
const mostFiles = 1 << 16

// configure says to Docker what a container is.
func (p *prepared) configure(run compute.Run, name, lock string, who identity) (*container.Config, *container.HostConfig, error) {
	filter, err := systemCalls()
	if err != nil {
		return nil, nil, unavailable("describe the container", err)
	}
	limits := &p.spec.Limits
	memory, pids, none := int64(limits.MemoryBytes), int64(limits.Pids), false
	c := &container.Config{
		Hostname: hostname, User: fmt.Sprintf("%d:%d", who.UID, who.GID), Image: p.image.Kept.Name,
		Entrypoint: p.command, Env: p.image.Environment([]string{"HOSTNAME=" + hostname}, p.spec.Env, run.Env), WorkingDir: p.image.WorkingDir,
		AttachStdin: run.Stdin != "", OpenStdin: run.Stdin != "", StdinOnce: true, AttachStdout: true, AttachStderr: true,
		StopSignal: "SIGTERM",
		Labels:     map[string]string{stand.LabelHome: p.r.config.Home, stand.LabelLock: lock, stand.LabelTask: run.ID},
	}
	h := &container.HostConfig{
		NetworkMode: "none", IpcMode: "private", CgroupnsMode: "private", RestartPolicy: container.RestartPolicy{Name: "no"},
		LogConfig: container.LogConfig{Type: "none"}, // they are kept by the supervisor, and bounded
		// Not the machine's own: its network is nobody's business.
		DNS: []netip.Addr{netip.AddrFrom4([4]byte{127, 0, 0, 1})}, DNSSearch: []string{"."},
		ReadonlyRootfs: true, CapDrop: []string{"ALL"}, SecurityOpt: []string{"no-new-privileges", "seccomp=" + filter},
		GroupAdd: who.Groups, OomScoreAdj: walls.OOMScore, ShmSize: int64(limits.ShmBytes), Init: &none,
		// Their pages count as the container's memory, so the limit holds for all.
		Tmpfs:       map[string]string{"/tmp": who.scratch("1777", limits.MemoryBytes/2), "/run": who.scratch("755", limits.MemoryBytes/4)},
		MaskedPaths: walls.Masked, ReadonlyPaths: walls.ReadOnly,
		Resources: container.Resources{
			Memory: memory, MemorySwap: memory, // both together: no swap
			PidsLimit: &pids, Ulimits: ulimits(limits),
		},
		Mounts: []mount.Mount{{Type: mount.TypeBind, Source: run.Out(), Target: "/out", BindOptions: &mount.BindOptions{Propagation: mount.PropagationRPrivate}}},
	}
	if limits.CPUMilli > 0 {
		const period = 100_000 // microseconds
		h.CPUPeriod, h.CPUQuota = period, max(int64(limits.CPUMilli)*period/1000, 1000)
	}
	for _, in := range p.spec.Inputs {
		h.Mounts = append(h.Mounts, mount.Mount{
			Type: mount.TypeBind, Source: in.Path, Target: "/in/" + in.Name, ReadOnly: true,
			BindOptions: &mount.BindOptions{Propagation: mount.PropagationRPrivate, NonRecursive: true},
		})
	}
	return c, h, nil
}

// scratch is how a tmpfs is mounted for a container. It belongs to its user, since an
// image's folder in that place lends it its mode.
func (who identity) scratch(mode string, bytes uint64) string {
	return fmt.Sprintf("rw,exec,nosuid,nodev,mode=%s,uid=%d,gid=%d,size=%d", mode, who.UID, who.GID, bytes)
}

// systemCalls is the filter of containerd's containers, which is stricter than that of
// an old Docker. Docker reads the same words.
func systemCalls() (string, error) {
	s := &specs.Spec{Process: &specs.Process{Capabilities: &specs.LinuxCapabilities{}}, Linux: &specs.Linux{}}
	b, err := json.Marshal(seccomp.DefaultProfile(s))
	return string(b), err
}

// ulimits are the kernel's limits on each process.
func ulimits(limits *compute.Limits) []*container.Ulimit {
	files := uint64(mostFiles)
	var own syscall.Rlimit
	if syscall.Getrlimit(syscall.RLIMIT_NOFILE, &own) == nil {
		files = min(files, own.Max)
	}
	same := func(name string, n uint64) *container.Ulimit {
		return &container.Ulimit{Name: name, Soft: int64(n), Hard: int64(n)}
	}
	// One file can never be larger than all of them may be: the kernel holds the
	// commonest way of filling a disk exactly.
	return []*container.Ulimit{same("nofile", files), same("core", 0), same("fsize", limits.OutputBytes)}
}
