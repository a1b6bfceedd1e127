package probe

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/moyai-network/moyai/provider/machine"
)

// controller is how one kind of limit is set, in either version.
type controller struct {
	name     string
	v1, v2   string // files
	w1, w2   string // what is written
	absent   string // what to do if the kernel has it not
	readBack string // the limit as the kernel tells it
}

var (
	cpuController = controller{
		name: "cpu", v1: "cpu.cfs_quota_us", w1: "100000", v2: "cpu.max", w2: "100000 100000", readBack: "100000",
		absent: "boot a kernel with CONFIG_CFS_BANDWIDTH",
	}
	memoryController = controller{
		name: "memory", v1: "memory.limit_in_bytes", w1: "67108864", v2: "memory.max", w2: "67108864", readBack: "67108864",
		absent: "add `cgroup_enable=memory cgroup_memory=1` to the kernel's command line (on a Raspberry Pi: /boot/firmware/cmdline.txt) and restart",
	}
	pidsController = controller{
		name: "pids", v1: "pids.max", w1: "64", v2: "pids.max", w2: "64", readBack: "64",
		absent: "boot a kernel with CONFIG_CGROUP_PIDS",
	}
)

func tryGroup(c controller) func(context.Context) Wall {
	return func(context.Context) Wall { return c.try("/") }
}

// try makes a child group, limits it and removes it, in this process's own group
// or the nearest one above where that works. root is where /proc and /sys are.
func (c controller) try(root string) Wall {
	g, ok := machine.ControlGroups(root).Of(c.name)
	if !ok {
		return open("no control groups are mounted", "mount -t cgroup2 none /sys/fs/cgroup")
	}
	// Nearest first, but the furthest says best what is missing in the end.
	var last Wall
	for _, dir := range g.Up() {
		last = c.tryIn(filepath.Join(root, dir), g.V2)
		if last.Held {
			return last
		}
	}
	return last
}

func (c controller) tryIn(parent string, v2 bool) (w Wall) {
	file, value, version := c.v1, c.w1, "version 1"
	if v2 {
		file, value, version = c.v2, c.w2, "version 2"
		offered, err := os.ReadFile(filepath.Join(parent, "cgroup.controllers"))
		if err != nil || !strings.Contains(" "+strings.Join(strings.Fields(string(offered)), " ")+" ", " "+c.name+" ") {
			return open("the kernel offers no "+c.name+" controller in "+parent, c.absent)
		}
	}
	child, err := os.MkdirTemp(parent, "moyai-probe-")
	if err != nil {
		return notMade(parent, err)
	}
	defer func() {
		// A plain folder would not go while there is something in it; a group does.
		if err := unix.Rmdir(child); err != nil {
			w = open(fmt.Sprintf("a control group could not be removed: %v", err), "rmdir "+child)
		}
	}()
	path := filepath.Join(child, file)
	f, err := os.OpenFile(path, os.O_WRONLY, 0) // not made if it is not there
	if errors.Is(err, os.ErrNotExist) {
		if v2 {
			return open("the "+c.name+" controller is not handed to groups below "+parent, fmt.Sprintf("echo +%s | sudo tee %s", c.name, filepath.Join(parent, "cgroup.subtree_control")))
		}
		return open("groups have no "+file, c.absent)
	}
	if err != nil {
		return refused("set "+file, err)
	}
	_, err = f.WriteString(value)
	if err = errors.Join(err, f.Close()); err != nil {
		return refused("set "+file, err)
	}
	got, err := os.ReadFile(path)
	if words := strings.Fields(string(got)); err != nil || len(words) == 0 || words[0] != c.readBack {
		return open(fmt.Sprintf("%s was set to %s and says %q", file, c.readBack, strings.TrimSpace(string(got))), "look at `dmesg`")
	}
	return held("control groups " + version)
}

func notMade(parent string, err error) Wall {
	switch {
	case errors.Is(err, unix.EROFS):
		return open(parent+" is read-only", "if this is a container, run moyai outside of it or give it more rights (docker run --privileged)")
	}
	return refused("make groups in "+parent, err)
}
