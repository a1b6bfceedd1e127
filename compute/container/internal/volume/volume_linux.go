package volume

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/moyai-network/moyai/compute"
)

// Data is the folder of the file system that is shown: its root has a folder of
// the file system's own, which programs take for somebody's data.
const Data = "data"

// Make makes a volume at path. One that is there is left as it is; what a kill
// left half made is made anew.
//
// Errors: compute.ErrInvalidSpec, compute.ErrUnavailable (wrapping ENOSPC if the
// disk has no room for it), ctx's.
func Make(ctx context.Context, path string, size uint64) error {
	if size < MinBytes {
		return fmt.Errorf("%w: a volume has at least %d MiB", compute.ErrInvalidSpec, MinBytes>>20)
	}
	if _, err := os.Stat(path); err == nil {
		return nil
	}
	program, err := findProgram("mkfs.ext4")
	if err != nil {
		return fmt.Errorf("%w: volumes need mkfs.ext4: apt-get install e2fsprogs", compute.ErrUnavailable)
	}
	partial := path + ".partial"
	if err := reserve(partial, int64(size)); err != nil {
		return errors.Join(unavailable("reserve its room", err), remove(partial))
	}
	// Nothing is discarded, or the room just taken would be given back.
	cmd := exec.CommandContext(ctx, program, "-q", "-F", "-m", "0", "-E", "nodiscard,lazy_itable_init=1,lazy_journal_init=1", partial)
	if said, err := cmd.CombinedOutput(); err != nil {
		if ctx.Err() != nil {
			err = ctx.Err()
		} else {
			err = unavailable("make its file system", fmt.Errorf("%w: %s", err, bytes.TrimSpace(said)))
		}
		return errors.Join(err, remove(partial))
	}
	if err := os.Rename(partial, path); err != nil {
		return errors.Join(unavailable("make", err), remove(partial))
	}
	return nil
}

// reserve makes a file whose every byte is on the disk already, where the disk's
// file system can promise that.
func reserve(path string, size int64) error {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	err = unix.Fallocate(int(f.Fd()), 0, 0, size)
	if errors.Is(err, unix.EOPNOTSUPP) {
		err = f.Truncate(size)
	}
	return errors.Join(err, f.Close())
}

func remove(path string) error {
	if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	return nil
}

// findProgram also finds what only root's PATH has.
func findProgram(name string) (string, error) {
	path, err := exec.LookPath(name)
	for _, dir := range []string{"/usr/sbin", "/sbin"} {
		if err == nil {
			break
		}
		path, err = exec.LookPath(filepath.Join(dir, name))
	}
	return path, err
}

// Mount shows the volume's file system at the folder at, in the caller's mount
// namespace, where it lasts as long as that does. The file returned holds the
// volume's lock: no other Mount succeeds while it is open.
//
// Errors: ErrInUse, the system's.
func Mount(path, at string, readOnly bool) (*os.File, error) {
	held, err := take(path)
	if err != nil {
		return nil, err
	}
	if err := mount(held, path, at, readOnly); err != nil {
		return nil, errors.Join(err, held.Close())
	}
	return held, nil
}

// patience is how long the last traces of a container may take to go.
const patience = 5 * time.Second

// take locks the volume's file. A container that was killed with who stood over
// it has freed the lock but may still hold the file system for an instant; two
// mounts of one file system would ruin it.
func take(path string) (*os.File, error) {
	f, err := os.OpenFile(path, os.O_RDWR|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		f.Close()
		return nil, fmt.Errorf("%w by another container", ErrInUse)
	}
	for end := time.Now().Add(patience); ; time.Sleep(20 * time.Millisecond) {
		device, err := deviceOf(f)
		switch {
		case err != nil:
			return nil, errors.Join(err, f.Close())
		case device == "":
			return f, nil
		case time.Now().After(end):
			f.Close()
			return nil, fmt.Errorf("%w: %s still has it", ErrInUse, device)
		}
	}
}

// deviceOf is the loop device over an open file; empty if there is none.
func deviceOf(f *os.File) (string, error) {
	var own unix.Stat_t
	if err := unix.Fstat(int(f.Fd()), &own); err != nil {
		return "", err
	}
	devices, err := filepath.Glob("/sys/block/loop*/loop/backing_file")
	if err != nil {
		return "", err
	}
	for _, d := range devices {
		name := strings.Split(d, "/")[3]
		node, err := os.Open("/dev/" + name)
		if err != nil {
			continue // gone meanwhile
		}
		info, err := unix.IoctlLoopGetStatus64(int(node.Fd()))
		node.Close()
		if err == nil && info.Device == own.Dev && info.Inode == own.Ino {
			return name, nil
		}
	}
	return "", nil
}

func mount(file *os.File, path, at string, readOnly bool) error {
	device, err := loop(file, path, readOnly)
	if err != nil {
		return fmt.Errorf("attach a loop device: %w", err)
	}
	defer device.Close() // it clears itself once nothing is mounted any more
	flags := uintptr(unix.MS_NOSUID | unix.MS_NODEV | unix.MS_NOATIME)
	// An error on the disk below must end writing, not the machine.
	options := "errors=remount-ro"
	if readOnly {
		flags |= unix.MS_RDONLY
	}
	if err := unix.Mount(device.Name(), at, "ext4", flags, options); err != nil {
		return fmt.Errorf("mount %s: %w", filepath.Base(path), err)
	}
	if readOnly {
		return nil
	}
	if err := os.Mkdir(filepath.Join(at, Data), 0o755); err != nil && !errors.Is(err, os.ErrExist) {
		return errors.Join(err, unix.Unmount(at, unix.MNT_DETACH))
	}
	return nil
}

// loop puts a loop device over the file. Others take devices at the same time,
// so a free one may be taken when we come to it.
func loop(file *os.File, path string, readOnly bool) (*os.File, error) {
	control, err := os.OpenFile("/dev/loop-control", os.O_RDWR|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	defer control.Close()
	config := unix.LoopConfig{Fd: uint32(file.Fd()), Info: unix.LoopInfo64{Flags: unix.LO_FLAGS_AUTOCLEAR}}
	if readOnly {
		config.Info.Flags |= unix.LO_FLAGS_READ_ONLY
	}
	copy(config.Info.File_name[:len(config.Info.File_name)-1], filepath.Base(path))
	for range 64 {
		n, err := unix.IoctlRetInt(int(control.Fd()), unix.LOOP_CTL_GET_FREE)
		if err != nil {
			return nil, err
		}
		device, err := open(n)
		if err != nil {
			return nil, err
		}
		err = unix.IoctlLoopConfigure(int(device.Fd()), &config)
		if err == nil {
			return device, nil
		}
		device.Close()
		if !errors.Is(err, unix.EBUSY) {
			return nil, err
		}
	}
	return nil, unix.EBUSY
}

// open opens loop device n, making its node where nobody else does.
func open(n int) (*os.File, error) {
	path := "/dev/loop" + strconv.Itoa(n)
	f, err := os.OpenFile(path, os.O_RDWR|unix.O_CLOEXEC, 0)
	if !errors.Is(err, os.ErrNotExist) {
		return f, err
	}
	const loopMajor = 7
	if err := unix.Mknod(path, unix.S_IFBLK|0o600, int(unix.Mkdev(loopMajor, uint32(n)))); err != nil && !errors.Is(err, unix.EEXIST) {
		return nil, err
	}
	return os.OpenFile(path, os.O_RDWR|unix.O_CLOEXEC, 0)
}
