package main

import (
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"
	"unsafe"
)

// What a program tries that has a system of its own.
func init() {
	verbs["children"] = children
	verbs["bomb"] = bomb
	verbs["orphan"] = orphan
	verbs["polite"] = polite
	verbs["stubborn"] = stubborn
	verbs["powers"] = powers
	verbs["reach"] = reach
	verbs["room"] = room
	verbs["kernel"] = kernel
	verbs["plant"] = plant
	verbs["spins"] = spins
	verbs["nest"] = nest
	verbs["feast"] = feast
}

func self(args ...string) *exec.Cmd {
	cmd := exec.Command("/proc/self/exe", args...)
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
	return cmd
}

// children starts sleepers until that is refused and says how many there are.
func children([]string) error {
	n := 0
	for ; n < 4096; n++ {
		if err := exec.Command("/proc/self/exe", "sleep", "1h").Start(); err != nil {
			break
		}
	}
	fmt.Println(n)
	return nil
}

// bomb makes processes that make processes. The first, which has no arguments, only looks
// on: without threads to spare it would be the first to fail, and end all.
func bomb(args []string) error {
	if len(args) == 0 {
		var spare sync.WaitGroup
		for range 8 {
			spare.Go(func() {
				runtime.LockOSThread()
				defer runtime.UnlockOSThread()
				time.Sleep(10 * time.Millisecond)
			})
		}
		spare.Wait()
		fmt.Println("bomb")
		if err := self("bomb", "on").Start(); err != nil {
			return err
		}
		time.Sleep(time.Hour)
	}
	for {
		if self("bomb", "on").Start() != nil {
			time.Sleep(time.Millisecond)
		}
	}
}

// orphan leaves a child behind that holds stdout open.
func orphan([]string) error {
	cmd := self("sleep", "1h")
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	return cmd.Start()
}

// polite says goodbye when it is asked to end.
func polite([]string) error {
	asked := make(chan os.Signal, 1)
	signal.Notify(asked, syscall.SIGTERM)
	fmt.Println("ready")
	<-asked
	return os.WriteFile("/out/goodbye", []byte("goodbye"), 0o644)
}

// stubborn does not hear.
func stubborn([]string) error {
	signal.Ignore(syscall.SIGTERM)
	fmt.Println("ready")
	time.Sleep(time.Hour)
	return nil
}

// powers tries what only a real root may, but not what args name, and succeeds if
// none of it works.
func powers(args []string) error {
	name, _ := syscall.BytePtrFromString("/tmp/x")
	_ = os.Mkdir("/tmp/d", 0o755)
	try := map[string]func() error{
		"mount a tmpfs":         func() error { return syscall.Mount("tmpfs", "/tmp/d", "tmpfs", 0, "") },
		"mount proc":            func() error { return syscall.Mount("proc", "/tmp/d", "proc", 0, "") },
		"remount the root":      func() error { return syscall.Mount("", "/", "", syscall.MS_REMOUNT|syscall.MS_BIND, "") },
		"remount an input":      func() error { return syscall.Mount("", "/in/a", "", syscall.MS_REMOUNT|syscall.MS_BIND, "") },
		"unmount a mask":        func() error { return syscall.Unmount("/proc/kcore", syscall.MNT_DETACH) },
		"make a device":         func() error { return syscall.Mknod("/tmp/null", syscall.S_IFCHR|0o666, 1<<8|3) },
		"make a device in /out": func() error { return syscall.Mknod("/out/disk", syscall.S_IFBLK|0o666, 254<<8) },
		"chroot":                func() error { return syscall.Chroot("/tmp/d") },
		"rename the host":       func() error { return syscall.Sethostname([]byte("x")) },
		"set the clock":         func() error { return syscall.Settimeofday(&syscall.Timeval{Sec: 1}) },
		"give files away":       func() error { return errors.Join(os.WriteFile("/out/given", nil, 0o644), os.Chown("/out/given", 1, 1)) },
		"be nobody":             func() error { _, _, e := syscall.RawSyscall(syscall.SYS_SETUID, 65534, 0, 0); return errno(e) },
		"new user namespace": func() error {
			_, _, e := syscall.RawSyscall(syscall.SYS_UNSHARE, syscall.CLONE_NEWUSER, 0, 0)
			return errno(e)
		},
		"new mount namespace": func() error {
			_, _, e := syscall.RawSyscall(syscall.SYS_UNSHARE, syscall.CLONE_NEWNS, 0, 0)
			return errno(e)
		},
		"load a module": func() error { _, _, e := syscall.RawSyscall(syscall.SYS_INIT_MODULE, 0, 0, 0); return allowed(e) },
		"keyctl":        func() error { _, _, e := syscall.RawSyscall(syscall.SYS_KEYCTL, 0, 0xffffffff, 1); return errno(e) },
		"bpf": func() error {
			_, _, e := syscall.RawSyscall(sysBPF[runtime.GOARCH], 0, uintptr(unsafe.Pointer(name)), 0)
			return allowed(e)
		},
		"io_uring":        func() error { _, _, e := syscall.RawSyscall(425, 1, 0, 0); return allowed(e) },
		"a raw socket":    func() error { return socket(syscall.AF_INET, syscall.SOCK_RAW, syscall.IPPROTO_ICMP) },
		"a packet socket": func() error { return socket(syscall.AF_PACKET, syscall.SOCK_RAW, 0) },
		"a socket to the host of this virtual machine": func() error { return socket(40, syscall.SOCK_STREAM, 0) },
		"more files": func() error {
			return syscall.Setrlimit(syscall.RLIMIT_NOFILE, &syscall.Rlimit{Cur: 1 << 30, Max: 1 << 30})
		},
		"larger files": func() error {
			return syscall.Setrlimit(syscall.RLIMIT_FSIZE, &syscall.Rlimit{Cur: 1 << 40, Max: 1 << 40})
		},
		"read a disk":      func() error { _, a := os.Open("/dev/vda"); _, b := os.Open("/dev/sda"); return either(a, b) },
		"read the log":     func() error { _, err := os.Open("/dev/kmsg"); return err },
		"sysctl":           func() error { return os.WriteFile("/proc/sys/kernel/core_pattern", []byte("|/x"), 0) },
		"sysrq":            func() error { return os.WriteFile("/proc/sysrq-trigger", []byte("h"), 0) },
		"kernel memory":    func() error { b, err := os.ReadFile("/proc/kcore"); return whenEmpty(b, err) },
		"a cgroup of mine": func() error { return os.Mkdir("/sys/fs/cgroup/memory/x", 0o755) },
		"survive memory":   func() error { return os.WriteFile("/proc/self/oom_score_adj", []byte("-1000"), 0) },
	}
	var worked error
	for what, attempt := range try {
		if slices.Contains(args, what) {
			continue
		}
		if err := attempt(); err == nil {
			worked = errors.Join(worked, fmt.Errorf("it could: %s", what))
		}
	}
	if worked == nil {
		fmt.Println("no powers")
	}
	return worked
}

// sysBPF is not in package syscall.
var sysBPF = map[string]uintptr{"amd64": 321, "arm64": 280}

func errno(e syscall.Errno) error {
	if e == 0 {
		return nil
	}
	return e
}

// allowed takes any other refusal than that of a filter for a door that is open.
func allowed(e syscall.Errno) error {
	if e == syscall.EPERM || e == syscall.ENOSYS {
		return e
	}
	return nil
}

// either is nil if one of them is.
func either(a, b error) error {
	if a == nil || b == nil {
		return nil
	}
	return a
}

func whenEmpty(b []byte, err error) error {
	if err == nil && len(b) == 0 {
		return errors.New("empty")
	}
	return err
}

func socket(domain, kind, protocol int) error {
	fd, err := syscall.Socket(domain, kind, protocol)
	if err == nil {
		syscall.Close(fd)
	}
	return err
}

// reach succeeds if none of the addresses can be reached, as "network address",
// and if there is no interface but a loopback of its own.
func reach(args []string) error {
	interfaces, err := net.Interfaces()
	if err != nil {
		return err
	}
	for _, i := range interfaces {
		if i.Flags&net.FlagLoopback == 0 {
			return fmt.Errorf("there is an interface %s", i.Name)
		}
	}
	for i := 0; i+1 < len(args); i += 2 {
		c, err := net.DialTimeout(args[i], args[i+1], time.Second)
		if err == nil && args[i] == "udp" {
			_, err = c.Write([]byte("x"))
		}
		if err == nil {
			return fmt.Errorf("reached %s", args[i+1])
		}
	}
	// Its own loopback is there, as programs expect.
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	c, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		return err
	}
	fmt.Println("nobody there")
	return c.Close()
}

// room prints how large file systems are.
func room(args []string) error {
	for _, path := range args {
		var s syscall.Statfs_t
		if err := syscall.Statfs(path, &s); err != nil {
			return err
		}
		fmt.Println(path, s.Blocks*uint64(s.Bsize))
	}
	return nil
}

// kernel prints who it is.
func kernel([]string) error {
	ids, err := os.ReadFile("/proc/self/uid_map")
	fmt.Printf("uid %d pid %d ids %s", os.Getuid(), os.Getpid(), ids)
	return err
}

// plant leaves things in /out that a careless collector would stumble over.
func plant([]string) error {
	if err := syscall.Mkfifo("/out/fifo", 0o666); err != nil {
		return err
	}
	if _, err := net.Listen("unix", "/out/socket"); err != nil {
		return err
	}
	if err := os.WriteFile("/out/setuid", []byte("#!"), 0o755); err != nil {
		return err
	}
	if err := os.Chmod("/out/setuid", 0o755|os.ModeSetuid); err != nil {
		return err
	}
	return os.Symlink("/etc/shadow", "/out/link")
}

// spins uses n cores.
func spins(args []string) error {
	n, err := strconv.Atoi(args[0])
	for range n {
		go func() {
			for {
			}
		}()
	}
	time.Sleep(time.Hour)
	return err
}

// nest hides a file below more folders than a path can name.
func nest([]string) error {
	if err := os.Chdir("/out"); err != nil {
		return err
	}
	name := strings.Repeat("n", 200)
	for range 40 {
		if err := errors.Join(os.Mkdir(name, 0o755), os.Chdir(name)); err != nil {
			return err
		}
	}
	fmt.Println("nested")
	for i := 0; ; i++ {
		if err := os.WriteFile(filepath.Join(".", strconv.Itoa(i)), make([]byte, 1<<16), 0o644); err != nil {
			return err
		}
	}
}

// feast lets a child eat all memory and reports how the child ended.
func feast([]string) error {
	if err := self("eat").Run(); err != nil {
		fmt.Println("the child:", err)
		return nil
	}
	return errors.New("the child ate without end")
}
