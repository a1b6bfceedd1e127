package probe

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"unsafe"

	ll "github.com/landlock-lsm/go-landlock/landlock/syscall"
	"golang.org/x/sys/unix"
)

func trials() []trial {
	return []trial{
		{"cpu limit", "using more cores than were rented", tryGroup(cpuController)},
		{"memory limit", "taking the machine's memory", tryGroup(memoryController)},
		{"process limit", "fork bombs", tryGroup(pidsController)},
		{"seccomp", "system calls a program has no business with", trySeccomp},
		{"landlock", "reading and writing files outside its folders", tryLandlock},
		{"user namespaces", "being root on the machine", tryUserNamespace},
		{"network namespaces", "seeing the machine's network", tryNetworkNamespace},
		{"egress device", "reaching your home network when it is let out to the internet", tryEgress},
		{"overlayfs", "changing an image others use", tryOverlay},
	}
}

const asRoot = "run moyai as root (sudo)"

// aside runs f on a thread that is never used again: what f does to its
// namespaces, filters and rights ends with the thread.
func aside(f func() Wall) Wall {
	done := make(chan Wall, 1)
	go func() {
		runtime.LockOSThread()
		if unix.Gettid() == unix.Getpid() {
			// The main thread is never ended, and is what /proc/self shows. While it
			// is locked here, another goroutine cannot be on it.
			done <- aside(f)
			runtime.UnlockOSThread()
			return
		}
		done <- f() // not unlocked, so the thread ends with this goroutine
	}()
	return <-done
}

// refused explains an error of the kernel's.
func refused(what string, err error) Wall {
	switch {
	case errors.Is(err, unix.EPERM), errors.Is(err, unix.EACCES):
		if os.Geteuid() != 0 {
			return open("this user may not "+what, asRoot)
		}
		return open("root may not "+what, "if this is a container, run moyai outside of it or give it more rights (docker run --privileged)")
	case errors.Is(err, unix.ENOSYS), errors.Is(err, unix.EOPNOTSUPP), errors.Is(err, unix.ENODEV):
		return open("cannot "+what+": the kernel has it not or it is switched off", "use a kernel of your distribution, 5.13 or newer")
	}
	return open(fmt.Sprintf("cannot %s: %v", what, err), "look at `dmesg`")
}

// trySeccomp forbids one harmless call and makes it.
func trySeccomp(context.Context) Wall {
	return aside(func() Wall {
		var info unix.Sysinfo_t
		if err := unix.Sysinfo(&info); err != nil {
			return refused("make a harmless call", err)
		}
		if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
			return refused("give privileges up", err)
		}
		const load, equal, ret = unix.BPF_LD | unix.BPF_W | unix.BPF_ABS, unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, unix.BPF_RET | unix.BPF_K
		program := []unix.SockFilter{
			{Code: load, K: 0}, // the call's number
			{Code: equal, K: unix.SYS_SYSINFO, Jf: 1},
			{Code: ret, K: unix.SECCOMP_RET_ERRNO | uint32(unix.EDOM)},
			{Code: ret, K: unix.SECCOMP_RET_ALLOW},
		}
		fprog := unix.SockFprog{Len: uint16(len(program)), Filter: &program[0]}
		if _, _, errno := unix.Syscall(unix.SYS_SECCOMP, unix.SECCOMP_SET_MODE_FILTER, 0, uintptr(unsafe.Pointer(&fprog))); errno != 0 { //nolint:gosec // the kernel takes addresses
			return refused("install a filter", errno)
		}
		if err := unix.Sysinfo(&info); !errors.Is(err, unix.EDOM) {
			return open("a forbidden call was made all the same", "look at `dmesg`")
		}
		return held("a forbidden call failed")
	})
}

// tryLandlock gives up all files and opens one.
func tryLandlock(context.Context) Wall {
	abi, err := ll.LandlockGetABIVersion()
	if err != nil || abi < 1 {
		return open("the kernel has it not or it is switched off", "boot a kernel 5.13 or newer with landlock in `lsm=` (see /sys/kernel/security/lsm)")
	}
	return aside(func() Wall {
		attr := ll.RulesetAttr{HandledAccessFS: ll.AccessFSReadFile | ll.AccessFSReadDir}
		fd, err := ll.LandlockCreateRuleset(&attr, 0)
		if err != nil {
			return refused("make a rule set", err)
		}
		defer unix.Close(fd)
		if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
			return refused("give privileges up", err)
		}
		if _, _, errno := unix.Syscall(unix.SYS_LANDLOCK_RESTRICT_SELF, uintptr(fd), 0, 0); errno != 0 {
			return refused("give files up", errno)
		}
		if f, err := os.Open("/"); !errors.Is(err, unix.EACCES) {
			if err == nil {
				f.Close()
			}
			return open("a folder that was given up could be opened all the same", "look at `dmesg`")
		}
		return held(fmt.Sprintf("version %d", abi))
	})
}

// tryUserNamespace starts a process that is root to itself only.
func tryUserNamespace(ctx context.Context) Wall {
	program, err := exec.LookPath("true")
	if err != nil {
		return open("there is no program to try it with", "install coreutils")
	}
	ids := []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getuid(), Size: 1}}
	groups := []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getgid(), Size: 1}}
	how := "this user only"
	if os.Geteuid() == 0 { // what containers ask for: a whole range that is nobody outside
		ids = []syscall.SysProcIDMap{{ContainerID: 0, HostID: 100000, Size: 65536}}
		groups, how = ids, "65536 users that are nobody here"
	}
	cmd := exec.CommandContext(ctx, program)
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: unix.CLONE_NEWUSER, UidMappings: ids, GidMappings: groups}
	if err := cmd.Run(); err != nil {
		for _, s := range userNamespaceSwitches {
			if raw, _ := os.ReadFile(s.file); strings.TrimSpace(string(raw)) == s.off {
				return open("switched off in "+s.file, "sudo sysctl -w "+s.fix)
			}
		}
		return refused("make one", err)
	}
	return held(how)
}

// userNamespaceSwitches are where distributions switch user namespaces off.
var userNamespaceSwitches = []struct{ file, off, fix string }{
	{"/proc/sys/user/max_user_namespaces", "0", "user.max_user_namespaces=15000"},
	{"/proc/sys/kernel/unprivileged_userns_clone", "0", "kernel.unprivileged_userns_clone=1"},
	{"/proc/sys/kernel/apparmor_restrict_unprivileged_userns", "1", "kernel.apparmor_restrict_unprivileged_userns=0"},
}

// tryNetworkNamespace leaves the machine's network and looks around.
func tryNetworkNamespace(context.Context) Wall {
	return aside(func() Wall {
		if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
			return refused("make one", err)
		}
		links, err := net.Interfaces()
		if err != nil {
			return refused("look around in one", err)
		}
		for _, l := range links {
			if l.Flags&net.FlagLoopback == 0 && l.Flags&net.FlagUp != 0 {
				return open("a new one holds "+l.Name+" already", "look at `ip link`")
			}
		}
		return held("a new one is empty")
	})
}

// tryOverlay lays a writable layer over a read-only one, in memory and in a
// mount namespace of its own.
func tryOverlay(context.Context) Wall {
	return aside(func() Wall {
		if err := unix.Unshare(unix.CLONE_NEWNS); err != nil {
			return refused("make a mount namespace", err)
		}
		// Private first: otherwise the mounts below would be seen outside.
		if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
			return refused("part from the machine's mounts", err)
		}
		dir := os.TempDir()
		if err := unix.Mount("tmpfs", dir, "tmpfs", unix.MS_NOSUID|unix.MS_NODEV, "size=1m,mode=0700"); err != nil {
			return refused("mount memory", err)
		}
		at := func(parts ...string) string { return filepath.Join(append([]string{dir}, parts...)...) }
		for _, d := range []string{"lower", "upper", "work", "merged"} {
			if err := os.Mkdir(at(d), 0o700); err != nil {
				return refused("make a layer", err)
			}
		}
		options := fmt.Sprintf("lowerdir=%s,upperdir=%s,workdir=%s", at("lower"), at("upper"), at("work"))
		if err := unix.Mount("overlay", at("merged"), "overlay", 0, options); err != nil {
			if errors.Is(err, unix.ENODEV) {
				return open("the kernel has no overlayfs", "sudo modprobe overlay")
			}
			return refused("mount", err)
		}
		if err := os.WriteFile(at("merged", "file"), []byte("x"), 0o600); err != nil {
			return refused("write", err)
		}
		if _, err := os.Stat(at("lower", "file")); err == nil {
			return open("a write reached the layer below", "look at `dmesg`")
		}
		if _, err := os.Stat(at("upper", "file")); err != nil {
			return refused("find what was written", err)
		}
		return held("a write stayed in its own layer")
	})
}
