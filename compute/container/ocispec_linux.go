package container

import (
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"syscall"

	"github.com/containerd/containerd/v2/contrib/seccomp"
	specs "github.com/opencontainers/runtime-spec/specs-go"

	"github.com/moyai-network/moyai/compute"
	"github.com/moyai-network/moyai/compute/container/supervise"
	"github.com/moyai-network/moyai/compute/internal/walls"
)

// mostFiles is a container's nofile limit where this process may have as many.
const mostFiles = 1 << 16

// What gVisor's own kernel takes beside the program: its memory at rest is in the
// container's control group, and so are its threads, and a process for each address
// space and one for each thread that runs.
const (
	gvisorMemory  = 16 << 20
	gvisorThreads = 256
	gvisorPerPid  = 4
)

// overhead is what the sandbox may use beside the program.
func (r *Runtime) overhead() uint64 {
	if r.config.Tier == compute.TierGVisor {
		return gvisorMemory
	}
	return 0
}

// ociSpec says to runc or runsc what the container is.
func ociSpec(p *prepared, run compute.Run, id string, base uint32) *specs.Spec {
	limits := &p.spec.Limits
	who := p.image.User
	ids := []specs.LinuxIDMapping{{ContainerID: 0, HostID: base, Size: idsPerContainer}}
	none := []string{}
	score := walls.OOMScore
	s := &specs.Spec{
		Version: "1.0.2",
		Process: &specs.Process{
			User:            specs.User{UID: who.UID, GID: who.GID, AdditionalGids: who.Groups},
			Args:            p.command,
			Env:             p.image.Environment(p.spec.Env, run.Env),
			Cwd:             p.image.WorkingDir,
			Capabilities:    &specs.LinuxCapabilities{Bounding: none, Effective: none, Permitted: none, Inheritable: none, Ambient: none},
			Rlimits:         rlimits(limits, largest(p.spec.Volumes)),
			NoNewPrivileges: true,
			OOMScoreAdj:     &score,
		},
		Root:     &specs.Root{Path: supervise.RootDir, Readonly: true},
		Hostname: supervise.Hostname,
		Mounts:   mounts(p, run),
		Linux: &specs.Linux{
			UIDMappings: ids,
			GIDMappings: ids,
			CgroupsPath: supervise.CgroupParent + id,
			Resources:   p.r.resources(limits),
			Namespaces: []specs.LinuxNamespace{
				{Type: specs.UserNamespace}, {Type: specs.PIDNamespace}, {Type: specs.IPCNamespace}, {Type: specs.UTSNamespace},
				{Type: specs.MountNamespace}, {Type: specs.CgroupNamespace},
				{Type: specs.NetworkNamespace}, // its own loopback, and with egress an uplink
			},
			MaskedPaths:   walls.Masked,
			ReadonlyPaths: walls.ReadOnly,
		},
	}
	s.Linux.Seccomp = p.r.filter(s)
	return s
}

// filter is the system calls that programs may make. gVisor knows some of the
// profile's not by name, and answers those as it does all that is not allowed: so
// that they are not there, or C libraries would not do without them.
func (r *Runtime) filter(s *specs.Spec) *specs.LinuxSeccomp {
	f := seccomp.DefaultProfile(s)
	if r.config.Tier == compute.TierGVisor {
		if !r.config.mended {
			return nil // it would answer otherwise, and no thread could be started
		}
		missing := uint(syscall.ENOSYS)
		f.DefaultErrnoRet = &missing
	}
	return f
}

func (r *Runtime) resources(limits *compute.Limits) *specs.LinuxResources {
	memory, pids := int64(limits.MemoryBytes+r.overhead()), int64(limits.Pids)
	if r.config.Tier == compute.TierGVisor {
		pids = gvisorPerPid*pids + gvisorThreads // the program's own limit is set within
	}
	res := &specs.LinuxResources{
		Devices: []specs.LinuxDeviceCgroup{{Allow: false, Access: "rwm"}},
		Memory:  &specs.LinuxMemory{Limit: &memory, Swap: &memory}, // both together: no swap
		Pids:    &specs.LinuxPids{Limit: &pids},
	}
	if limits.CPUMilli > 0 {
		const period = 100_000 // microseconds
		of := uint64(period)
		quota := int64(max(limits.CPUMilli*period/1000, 1000)) // the kernel's least
		res.CPU = &specs.LinuxCPU{Period: &of, Quota: &quota}
	}
	return res
}

// rlimits are the kernel's limits on each process. largest is the size of the
// largest volume.
func rlimits(limits *compute.Limits, largest uint64) []specs.POSIXRlimit {
	files := uint64(mostFiles)
	var own syscall.Rlimit
	if syscall.Getrlimit(syscall.RLIMIT_NOFILE, &own) == nil {
		files = min(files, own.Max)
	}
	return []specs.POSIXRlimit{
		{Type: "RLIMIT_NOFILE", Soft: files, Hard: files},
		{Type: "RLIMIT_CORE"},
		// One file can never be larger than all of them may be: the kernel holds
		// the commonest way of filling a disk exactly.
		{Type: "RLIMIT_FSIZE", Soft: max(limits.OutputBytes, largest), Hard: max(limits.OutputBytes, largest)},
	}
}

func mounts(p *prepared, run compute.Run) []specs.Mount {
	limits := &p.spec.Limits
	tmpfs := func(at string, bytes uint64, mode string, more ...string) specs.Mount {
		return specs.Mount{Destination: at, Type: "tmpfs", Source: "tmpfs",
			Options: append([]string{"nosuid", "nodev", "mode=" + mode, fmt.Sprintf("size=%d", bytes)}, more...)}
	}
	list := []specs.Mount{
		{Destination: "/proc", Type: "proc", Source: "proc", Options: []string{"nosuid", "noexec", "nodev"}},
		{Destination: "/dev", Type: "tmpfs", Source: "tmpfs", Options: []string{"nosuid", "strictatime", "mode=755", "size=64k"}},
		{Destination: "/dev/pts", Type: "devpts", Source: "devpts", Options: []string{"nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5"}},
		{Destination: "/dev/mqueue", Type: "mqueue", Source: "mqueue", Options: []string{"nosuid", "noexec", "nodev"}},
		{Destination: "/sys", Type: "sysfs", Source: "sysfs", Options: []string{"nosuid", "noexec", "nodev", "ro"}},
		// Their pages count as the container's memory, so the limit holds for all.
		tmpfs("/dev/shm", limits.ShmBytes, "1777", "noexec"),
		tmpfs("/tmp", limits.MemoryBytes/2, "1777"),
		tmpfs("/run", limits.MemoryBytes/4, "755"),
		{Destination: "/out", Type: "bind", Source: run.Out(), Options: []string{"bind", "rw", "nosuid", "nodev"}},
		{Destination: supervise.ToolPath, Type: "bind", Source: supervise.ToolSource, Options: []string{"bind", "ro", "nosuid", "nodev"}},
	}
	if p.r.config.Tier == compute.TierGVisor {
		// gVisor's own, without which it counts no processes.
		list = append(list, specs.Mount{Destination: "/sys/fs/cgroup", Type: "cgroup", Source: "cgroup", Options: []string{"ro", "nosuid", "noexec", "nodev"}})
	}
	for i, in := range p.spec.Inputs {
		list = append(list, specs.Mount{Destination: "/in/" + in.Name, Type: "bind", Source: supervise.InDir + "/" + strconv.Itoa(i),
			Options: []string{"bind", "ro", "nosuid", "nodev"}})
	}
	// The outer ones first, where one lies within another.
	order := make([]int, len(p.spec.Volumes))
	for i := range order {
		order[i] = i
	}
	slices.SortFunc(order, func(a, b int) int { return strings.Compare(p.spec.Volumes[a].At, p.spec.Volumes[b].At) })
	for _, i := range order {
		list = append(list, specs.Mount{Destination: p.spec.Volumes[i].At, Type: "bind", Source: supervise.VolDir + "/" + strconv.Itoa(i),
			Options: []string{"bind", "rw", "nosuid", "nodev"}})
	}
	if p.spec.Egress != nil {
		for _, name := range []string{"resolv.conf", "hosts"} {
			list = append(list, specs.Mount{Destination: "/etc/" + name, Type: "bind", Source: supervise.EtcDir + "/" + name,
				Options: []string{"bind", "ro", "nosuid", "nodev"}})
		}
	}
	return list
}

// largest is the size of the largest volume's file.
func largest(volumes []compute.Volume) (most uint64) {
	for _, v := range volumes {
		if info, err := os.Stat(v.File); err == nil {
			most = max(most, uint64(info.Size()))
		}
	}
	return most
}
