package supervise

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/moyai-network/moyai/compute/container/internal/volume"
	"github.com/moyai-network/moyai/compute/egress/uplink"
)

// scratchBytes bounds what runc may create in the root file system before it
// turns read-only: mount points.
const scratchBytes = 4 << 20

// furnish builds the root file system and the inputs below Box. This process has
// a mount namespace of its own, so all of it is gone when the process is: there
// is nothing to clean up, whoever is killed.
//
// Layers and inputs are shown through idmapped mounts: what belongs to user n of
// the image belongs to user UIDBase+n of the host here, without a byte of the
// layers being copied or changed.
func furnish(job *Job) error {
	// What the host unmounts later must not be kept alive by our copy.
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_SLAVE, ""); err != nil {
		return fmt.Errorf("make a mount namespace of our own: %w", err)
	}
	// The container's user must pass through all of these folders.
	if err := os.MkdirAll(Box, 0o755); err != nil {
		return err
	}
	if err := unix.Mount("tmpfs", Box, "tmpfs", unix.MS_NOSUID|unix.MS_NODEV, fmt.Sprintf("mode=0755,size=%d", scratchBytes)); err != nil {
		return fmt.Errorf("mount a tmpfs at %s: %w", Box, err)
	}
	ids, err := userNamespace(job.UIDBase, job.IDs)
	if err != nil {
		return err
	}
	defer ids.Close()
	if err := mountRoot(job, ids); err != nil {
		return err
	}
	if err := showTool(); err != nil {
		return fmt.Errorf("show our own program: %w", err)
	}
	if err := os.Mkdir(InDir, 0o755); err != nil {
		return err
	}
	for i, path := range job.Inputs {
		if err := showInput(path, filepath.Join(InDir, strconv.Itoa(i)), ids); err != nil {
			return fmt.Errorf("show input %s: %w", path, err)
		}
	}
	if job.Egress == nil {
		return nil
	}
	return writeEtc()
}

// writeEtc tells the container of its network.
func writeEtc() error {
	if err := os.Mkdir(EtcDir, 0o755); err != nil {
		return err
	}
	for name, content := range map[string]string{"resolv.conf": uplink.ResolvConf(), "hosts": uplink.Hosts(Hostname)} {
		if err := os.WriteFile(filepath.Join(EtcDir, name), []byte(content), 0o644); err != nil {
			return err
		}
	}
	return nil
}

// mountVolumes shows each volume's data, writable, as the container's users own
// it, and returns what holds them.
func mountVolumes(job *Job) (held []*os.File, err error) {
	if len(job.Volumes) == 0 {
		return nil, nil
	}
	ids, err := userNamespace(job.UIDBase, job.IDs)
	if err != nil {
		return nil, err
	}
	defer ids.Close()
	for i, path := range job.Volumes {
		at := filepath.Join(VolDir, strconv.Itoa(i))
		disk := at + ".disk"
		for _, dir := range []string{at, disk} {
			if err := os.MkdirAll(dir, 0o755); err != nil {
				return held, err
			}
		}
		f, err := volume.Mount(path, disk, false)
		if err != nil {
			return held, fmt.Errorf("volume %d: %w", i+1, err)
		}
		held = append(held, f)
		data := filepath.Join(disk, volume.Data)
		// The program's user may write there whoever wrote before.
		if err := os.Chown(data, job.UID-int(job.UIDBase), job.GID-int(job.UIDBase)); err != nil {
			return held, err
		}
		if err := cloneMount(data, at, ids, 0); err != nil {
			return held, fmt.Errorf("show volume %d: %w", i+1, err)
		}
	}
	return held, nil
}

// mountRoot overlays a little scratch over the image's layers.
func mountRoot(job *Job, ids *os.File) error {
	lowers := make([]string, len(job.Lowers))
	for i, layer := range job.Lowers {
		lowers[i] = fmt.Sprintf("%s/l/%d", Box, i) // short: all of them must fit into one page
		if err := os.MkdirAll(lowers[i], 0o755); err != nil {
			return err
		}
		if err := cloneMount(layer, lowers[i], ids, unix.MOUNT_ATTR_RDONLY); err != nil {
			return fmt.Errorf("show layer %s: %w", layer, err)
		}
	}
	upper, work := Box+"/upper", Box+"/work"
	for _, dir := range []string{upper, work, RootDir} {
		if err := os.Mkdir(dir, 0o755); err != nil {
			return err
		}
	}
	// The container's own root makes the mount points.
	if err := os.Chown(upper, int(job.UIDBase), int(job.UIDBase)); err != nil {
		return err
	}
	options := "lowerdir=" + strings.Join(lowers, ":") + ",upperdir=" + upper + ",workdir=" + work
	if err := unix.Mount("overlay", RootDir, "overlay", unix.MS_NOSUID|unix.MS_NODEV, options); err != nil {
		return fmt.Errorf("overlay %d layers: %w", len(lowers), err)
	}
	return nil
}

func showInput(path, at string, ids *os.File) error {
	info, err := os.Stat(path)
	if err != nil {
		return err
	}
	if info.IsDir() {
		err = os.Mkdir(at, 0o755)
	} else {
		err = os.WriteFile(at, nil, 0o644)
	}
	if err != nil {
		return err
	}
	return cloneMount(path, at, ids, unix.MOUNT_ATTR_RDONLY)
}

// showTool shows this program itself, whatever has been put in its place on the
// disk meanwhile.
func showTool() error {
	if err := os.WriteFile(ToolSource, nil, 0o600); err != nil {
		return err
	}
	return cloneMount("/proc/self/exe", ToolSource, nil, unix.MOUNT_ATTR_RDONLY)
}

// cloneMount shows one file system object elsewhere, with its owners shifted if
// ids says how.
func cloneMount(path, at string, ids *os.File, attributes uint64) error {
	tree, err := unix.OpenTree(unix.AT_FDCWD, path, unix.OPEN_TREE_CLONE|unix.OPEN_TREE_CLOEXEC)
	if err != nil {
		return fmt.Errorf("open_tree: %w", err)
	}
	defer unix.Close(tree)
	attr := &unix.MountAttr{Attr_set: attributes | unix.MOUNT_ATTR_NOSUID | unix.MOUNT_ATTR_NODEV}
	if ids != nil {
		attr.Attr_set |= unix.MOUNT_ATTR_IDMAP
		attr.Userns_fd = uint64(ids.Fd())
	}
	if err := unix.MountSetattr(tree, "", unix.AT_EMPTY_PATH, attr); err != nil {
		return fmt.Errorf("idmapped mount (Linux 5.19 or newer, on ext4, xfs, btrfs or tmpfs): %w", err)
	}
	if err := unix.MoveMount(tree, "", unix.AT_FDCWD, at, unix.MOVE_MOUNT_F_EMPTY_PATH); err != nil {
		return fmt.Errorf("move_mount: %w", err)
	}
	return nil
}

// idle is the argument of a process that only holds a user namespace open until
// we have taken hold of it.
const idle = "idle"

// userNamespace returns a handle of a user namespace in which 0 is base.
func userNamespace(base, count uint32) (*os.File, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	ids := []syscall.SysProcIDMap{{HostID: int(base), Size: int(count)}}
	cmd := exec.Command(self, idle)
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWUSER, UidMappings: ids, GidMappings: ids, Pdeathsig: syscall.SIGKILL}
	hold, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("make a user namespace (is user.max_user_namespaces 0?): %w", err)
	}
	namespace, err := os.Open(fmt.Sprintf("/proc/%d/ns/user", cmd.Process.Pid))
	_ = hold.Close()
	_ = cmd.Process.Kill()
	_ = cmd.Wait() // killed, so it says an error
	if err != nil {
		return nil, fmt.Errorf("make a user namespace: %w", err)
	}
	return namespace, nil
}

func beIdle() int {
	_, _ = io.Copy(io.Discard, os.Stdin)
	return 0
}

// openStdin opens what the container reads. A FIFO that nobody writes to is at
// its end at once, so opening must not wait for a writer, while reading must.
func openStdin(path string) (*os.File, error) {
	if path == "" {
		path = os.DevNull
	}
	fd, err := unix.Open(path, unix.O_RDONLY|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	if err == nil {
		err = unix.SetNonblock(fd, false)
	}
	if err != nil {
		return nil, fmt.Errorf("open the program's input %s: %w", path, err)
	}
	return os.NewFile(uintptr(fd), path), nil
}

// lock takes a lock that lasts as long as this process.
func lock(path string, how int) (*os.File, error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	for {
		err = unix.Flock(int(f.Fd()), how|unix.LOCK_NB)
		if !errors.Is(err, unix.EINTR) {
			break
		}
	}
	if err != nil {
		f.Close()
		return nil, fmt.Errorf("lock %s: %w", path, err)
	}
	return f, nil
}
