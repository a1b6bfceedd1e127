//go:build linux

package devnet

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// TestMain lets the test binary play the processes under test.
func TestMain(m *testing.M) {
	switch os.Getenv("DEVNET_TEST_ROLE") {
	case "sleep":
		fmt.Println("sleeping")
		time.Sleep(time.Hour)
	case "fail":
		fmt.Println("something went wrong")
		os.Exit(3)
	case "parent":
		parent()
	default:
		os.Exit(m.Run())
	}
}

// parent starts a child as a devnet does, tells its process id and waits to be
// killed.
func parent() {
	dir := os.Getenv("DEVNET_TEST_DIR")
	s := newSpawner()
	p := &Process{Name: "child", Log: filepath.Join(dir, "child.log"), spawn: s.start, bin: os.Args[0], env: []string{"DEVNET_TEST_ROLE=sleep"}}
	if err := p.start(); err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
	if err := os.WriteFile(filepath.Join(dir, "pid.new"), []byte(strconv.Itoa(p.PID())), 0o600); err != nil {
		os.Exit(1)
	}
	_ = os.Rename(filepath.Join(dir, "pid.new"), filepath.Join(dir, "pid"))
	time.Sleep(time.Hour)
}

func testProcess(t *testing.T, role string) *Process {
	t.Helper()
	s := newSpawner()
	p := &Process{Name: role, Log: filepath.Join(t.TempDir(), "log"), spawn: s.start, bin: os.Args[0], env: []string{"DEVNET_TEST_ROLE=" + role}}
	t.Cleanup(func() { p.Kill(); s.close() })
	return p
}

func TestProcessStops(t *testing.T) {
	p := testProcess(t, "sleep")
	if err := p.start(); err != nil {
		t.Fatal(err)
	}
	if err := p.start(); err == nil {
		t.Error("a running process was started again")
	}
	p.Stop()
	if alive(p.PID()) {
		t.Error("still there after Stop")
	}
	if err := p.start(); err != nil {
		t.Fatalf("start again: %v", err)
	}
	p.Kill()
	if alive(p.PID()) {
		t.Error("still there after Kill")
	}
	p.Stop() // of what does not run: nothing to do
}

func TestProcessTellsHowItDied(t *testing.T) {
	p := testProcess(t, "fail")
	if err := p.start(); err != nil {
		t.Fatal(err)
	}
	<-p.Done()
	if err := p.Err(); !strings.Contains(err.Error(), "exit status 3") || !strings.Contains(err.Error(), "something went wrong") {
		t.Errorf("got %v, want the exit status and the log", err)
	}
}

func TestProcessOfMissingBinary(t *testing.T) {
	p := testProcess(t, "sleep")
	p.bin = filepath.Join(t.TempDir(), "nothing")
	if err := p.start(); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("got %v, want not exist", err)
	}
}

// TestChildrenDieWithTheirParent kills a parent that had no chance to clean up.
func TestChildrenDieWithTheirParent(t *testing.T) {
	dir := t.TempDir()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), "DEVNET_TEST_ROLE=parent", "DEVNET_TEST_DIR="+dir)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	var child int
	eventually(t, "the child's process id", func() bool {
		raw, err := os.ReadFile(filepath.Join(dir, "pid"))
		if err != nil {
			return false
		}
		child, err = strconv.Atoi(string(raw))
		return err == nil
	})
	if !alive(child) {
		t.Fatal("the child does not run")
	}
	_ = cmd.Process.Kill()
	_ = cmd.Wait()
	eventually(t, "the child's end", func() bool { return !alive(child) })
}

// alive reports whether a process runs; one that waits to be reaped does not.
func alive(pid int) bool {
	if syscall.Kill(pid, 0) != nil {
		return false
	}
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	return err == nil && !strings.Contains(string(stat), ") Z ")
}

// eventually polls; the bound is generous because it only matters on failure.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(30 * time.Second); time.Now().Before(end); time.Sleep(5 * time.Millisecond) {
		if ok() {
			return
		}
	}
	t.Fatalf("waited in vain for %s", what)
}
