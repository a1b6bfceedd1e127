//go:build linux

package probe

import (
	"context"
	"encoding/json"
	"io/fs"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"strings"
	"syscall"
	"testing"
)

// nobody tells this test's own program to try everything without any right.
const nobody = "MOYAI_TEST_PROBE"

func TestMain(m *testing.M) {
	if os.Getenv(nobody) != "" {
		_ = json.NewEncoder(os.Stdout).Encode(Walls(context.Background()))
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// world is what a probe could leave behind.
func world(t *testing.T) string {
	t.Helper()
	var b strings.Builder
	mounts, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		t.Fatal(err)
	}
	b.Write(mounts)
	links, err := net.Interfaces()
	if err != nil {
		t.Fatal(err)
	}
	for _, l := range links {
		b.WriteString(l.Name + l.Flags.String() + "\n")
	}
	for _, ns := range []string{"mnt", "net", "user"} {
		link, err := os.Readlink("/proc/self/ns/" + ns)
		if err != nil {
			t.Fatal(err)
		}
		b.WriteString(link + "\n")
	}
	status, _ := os.ReadFile("/proc/self/status")
	for line := range strings.Lines(string(status)) {
		if strings.HasPrefix(line, "Seccomp") || strings.HasPrefix(line, "NoNewPrivs") {
			b.WriteString(line)
		}
	}
	_ = filepath.WalkDir("/sys/fs/cgroup", func(path string, _ fs.DirEntry, _ error) error {
		if strings.Contains(path, "moyai-probe-") {
			b.WriteString(path + "\n")
		}
		return nil
	})
	return b.String()
}

// complete: each wall is held by something, or open with a reason and a fix.
func complete(t *testing.T, walls []Wall) map[string]Wall {
	t.Helper()
	byName := map[string]Wall{}
	for _, w := range walls {
		byName[w.Name] = w
		if w.Held != (w.Why == "") || w.Held == (w.Fix != "") || w.Held != (w.How != "") || w.For == "" {
			t.Errorf("%+v", w)
		}
	}
	return byName
}

func TestTryingLeavesNothingBehind(t *testing.T) {
	before := world(t)
	for range 3 { // more than one thread is spoilt
		complete(t, Walls(t.Context()))
	}
	if after := world(t); after != before {
		t.Errorf("before:\n%s\nafter:\n%s", before, after)
	}
	if f, err := os.Open("/"); err != nil {
		t.Errorf("this process gave its files up: %v", err)
	} else {
		f.Close()
	}
	var info syscall.Sysinfo_t
	if err := syscall.Sysinfo(&info); err != nil {
		t.Errorf("this process is filtered: %v", err)
	}
}

// Whoever has no rights is told so, wall by wall, and nothing breaks.
func TestWithoutRights(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("becoming nobody needs root")
	}
	// The test's own program lies in a folder that only root may enter.
	dir, err := os.MkdirTemp("", "moyai-probe-test-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	raw, err := os.ReadFile("/proc/self/exe")
	if err != nil {
		t.Fatal(err)
	}
	program := filepath.Join(dir, "probe")
	if err := os.WriteFile(program, raw, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{dir, program} {
		if err := os.Chmod(path, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	cmd := exec.CommandContext(t.Context(), program)
	cmd.Dir, cmd.Env = "/", append(os.Environ(), nobody+"=1")
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	var walls []Wall
	if err := json.Unmarshal(out, &walls); err != nil {
		t.Fatal(err)
	}
	byName := complete(t, walls)
	for _, name := range []string{"overlayfs", "memory limit"} {
		if w := byName[name]; w.Held || !strings.Contains(w.Fix, "root") {
			t.Errorf("%+v", w)
		}
	}
	if w := byName["seccomp"]; !w.Held {
		t.Errorf("filtering oneself needs no rights: %+v", w)
	}
}

func TestMendListsEachThingOnce(t *testing.T) {
	got := Mend([]Wall{{Name: "a", Why: "x", Fix: "sudo"}, {Name: "b", Held: true}, {Name: "c", Why: "y", Fix: "boot"}, {Name: "d", Why: "z", Fix: "sudo"}})
	want := []Remedy{{"sudo", []string{"a", "d"}, "x"}, {"boot", []string{"c"}, "y"}}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("%+v", got)
	}
}

func TestNoTimeIsNoWall(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	for _, w := range complete(t, Walls(ctx)) {
		if w.Held {
			t.Errorf("not tried and held: %+v", w)
		}
	}
}

// A folder that looks like a control group and is none does not count, and what
// was made in it is removed.
func TestControlGroupsAreTriedNotBelieved(t *testing.T) {
	root := t.TempDir()
	write := func(path, text string) {
		t.Helper()
		path = filepath.Join(root, path)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if w := memoryController.try(root); w.Held || w.Why != "no control groups are mounted" {
		t.Errorf("nothing mounted: %+v", w)
	}
	write("proc/self/cgroup", "0::/box\n")
	write("proc/self/mountinfo", "29 23 0:26 / /cg rw - cgroup2 cgroup2 rw\n")
	write("cg/cgroup.controllers", "cpu pids\n")
	write("cg/box/cgroup.controllers", "cpu pids\n")
	if w := memoryController.try(root); w.Held || !strings.Contains(w.Why, "offers no memory controller") || !strings.Contains(w.Fix, "cgroup_enable=memory") {
		t.Errorf("no controller: %+v", w)
	}
	if w := cpuController.try(root); w.Held || !strings.Contains(w.Why, "not handed to groups below") || !strings.HasSuffix(w.Fix, "/cg/cgroup.subtree_control") {
		t.Errorf("not handed down: %+v", w)
	}
	write("proc/self/cgroup", "3:memory:/\n")
	write("proc/self/mountinfo", "29 23 0:26 / /cg rw - cgroup cgroup rw,memory\n")
	if w := memoryController.try(root); w.Held || !strings.Contains(w.Why, "no memory.limit_in_bytes") {
		t.Errorf("a plain folder: %+v", w)
	}
	left, err := filepath.Glob(filepath.Join(root, "cg", "*", "moyai-probe-*"))
	if more, _ := filepath.Glob(filepath.Join(root, "cg", "moyai-probe-*")); err != nil || len(left)+len(more) != 0 {
		t.Errorf("left behind: %v %v", left, more)
	}
}

// The device is made in a namespace that is gone afterwards; without it, it says
// what to do.
func TestEgressDevice(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("a network namespace of its own needs root")
	}
	if w := tryEgress(t.Context()); !w.Held && w.Fix == "" {
		t.Errorf("%+v", w)
	}
	if _, err := net.InterfaceByName("moyai0"); err == nil {
		t.Error("the device is seen outside")
	}
	absent := filepath.Join(t.TempDir(), "tun")
	if w := aside(func() Wall { return tryTUN(absent) }); w.Held || w.Fix != "sudo modprobe tun" {
		t.Errorf("%+v", w)
	}
}

// TestByDocker: what Docker does as root it does for who is not; what is ours to do
// stays as it was tried.
func TestByDocker(t *testing.T) {
	tried := []Wall{{Name: "memory limit", Why: "no root", Fix: "sudo"}, {Name: "egress device", Why: "no root"}, {Name: "seccomp", Held: true, How: "mode 2"}}
	got := ByDocker(tried)
	if !got[0].Held || got[0].Fix != "" || got[1].Held || got[2] != tried[2] || tried[0].Held {
		t.Errorf("%+v of %+v", got, tried)
	}
}
