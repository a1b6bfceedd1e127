package cgroup

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// Group is where the kernel accounts for one container, in either version of
// the interface. It is plain data, so that a record can keep it.
type Group struct {
	Unified     bool // version 2
	Memory, CPU string
}

// Of finds the control group of a process.
func Of(pid int) (Group, error) {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/cgroup", pid))
	if err != nil {
		return Group{}, err
	}
	paths := map[string]string{} // controller, "" for version 2, → path
	for line := range strings.Lines(string(b)) {
		parts := strings.SplitN(strings.TrimSpace(line), ":", 3)
		if len(parts) != 3 {
			continue
		}
		for controller := range strings.SplitSeq(parts[1], ",") {
			paths[controller] = parts[2]
		}
	}
	mounts, err := mounted()
	if err != nil {
		return Group{}, err
	}
	at := func(controller string) string {
		if mounts[controller] == "" {
			return ""
		}
		return filepath.Join(mounts[controller], paths[controller])
	}
	c := Group{Memory: at("memory"), CPU: at("cpuacct")}
	if _, v1 := paths["memory"]; !v1 {
		c = Group{Unified: true, Memory: at(""), CPU: at("")}
	}
	if c.Memory == "" {
		return Group{}, errors.New("no memory controller is mounted")
	}
	return c, nil
}

// mounted returns where each controller is mounted, "" being version 2.
func mounted() (map[string]string, error) {
	f, err := os.Open("/proc/self/mountinfo")
	if err != nil {
		return nil, err
	}
	defer f.Close()
	mounts := map[string]string{}
	scan := bufio.NewScanner(f)
	for scan.Scan() {
		fields := strings.Fields(scan.Text())
		dash := slices.Index(fields, "-")
		if dash < 5 || len(fields) < dash+4 {
			continue
		}
		switch fields[dash+1] {
		case "cgroup2":
			mounts[""] = fields[4]
		case "cgroup":
			for option := range strings.SplitSeq(fields[dash+3], ",") {
				mounts[option] = fields[4]
			}
		}
	}
	return mounts, scan.Err()
}

// Usage is CPU time and the peak of memory.
func (c Group) Usage() (cpu time.Duration, peak uint64) {
	if c.Unified {
		cpu = time.Duration(c.field(c.CPU, "cpu.stat", "usage_usec")) * time.Microsecond
		if peak = number(filepath.Join(c.Memory, "memory.peak")); peak == 0 { // Linux 5.19
			peak = number(filepath.Join(c.Memory, "memory.current"))
		}
		return cpu, peak
	}
	return time.Duration(number(filepath.Join(c.CPU, "cpuacct.usage"))), number(filepath.Join(c.Memory, "memory.max_usage_in_bytes"))
}

// OutOfMemory reports that the kernel killed something here because this group
// had reached its own limit: not because the machine was short.
func (c Group) OutOfMemory(limit uint64) bool {
	if c.Unified {
		return c.field(c.Memory, "memory.events", "oom_kill") > 0 && c.field(c.Memory, "memory.events", "oom") > 0
	}
	// Version 1 counts kills of either kind together, and its count of refusals
	// stays at zero when the refused pages come in batches; how high the group
	// ever stood tells the two apart.
	_, peak := c.Usage()
	return c.field(c.Memory, "memory.oom_control", "oom_kill") > 0 && peak >= limit-limit/16
}

// Processes lists what runs in the group.
func (c Group) Processes() []int {
	b, err := os.ReadFile(filepath.Join(c.Memory, "cgroup.procs"))
	if err != nil {
		return nil
	}
	var pids []int
	for word := range strings.FieldsSeq(string(b)) {
		if pid, err := strconv.Atoi(word); err == nil && pid > 0 {
			pids = append(pids, pid)
		}
	}
	return pids
}

// Clear ends what runs in a group and removes it, in every hierarchy.
func Clear(path string) error {
	mounts, err := mounted()
	if err != nil {
		return err
	}
	for _, mount := range mounts {
		err = errors.Join(err, clearGroup(filepath.Join(mount, path)))
	}
	return err
}

func clearGroup(dir string) error {
	const patience = 5 * time.Second
	for end := time.Now().Add(patience); ; time.Sleep(10 * time.Millisecond) {
		err := unix.Rmdir(dir)
		if err == nil || errors.Is(err, unix.ENOENT) {
			return nil
		}
		for _, pid := range (Group{Memory: dir}).Processes() {
			_ = unix.Kill(pid, unix.SIGKILL) // it may have gone
		}
		if time.Now().After(end) {
			return fmt.Errorf("remove control group %s: %w", dir, err)
		}
	}
}

func (c Group) field(dir, file, name string) uint64 {
	b, err := os.ReadFile(filepath.Join(dir, file))
	if err != nil {
		return 0
	}
	for line := range strings.Lines(string(b)) {
		if key, value, ok := strings.Cut(strings.TrimSpace(line), " "); ok && key == name {
			n, _ := strconv.ParseUint(value, 10, 64)
			return n
		}
	}
	return 0
}

func number(path string) uint64 {
	b, err := os.ReadFile(path)
	if err != nil {
		return 0
	}
	n, _ := strconv.ParseUint(strings.TrimSpace(string(b)), 10, 64)
	return n
}
