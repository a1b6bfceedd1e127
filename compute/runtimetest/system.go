package runtimetest

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/moyai-network/moyai/compute"
)

// testSystem is for programs that have a system of their own: what they may do
// with it, and what they must not be able to.
func (s *suite) testSystem(t *testing.T) {
	bystander := s.task(t, "sleep", "2s")
	neighbour := bystander.start()
	t.Run("asked to end", s.testAsked)
	t.Run("processes", s.testProcesses)
	t.Run("walls", s.testSystemWalls)
	t.Run("memory", s.testSystemMemory)
	t.Run("output", s.testSystemOutput)
	if r := bystander.wait(neighbour); !r.OK() {
		t.Errorf("a neighbour was harmed: %+v", r)
	}
}

func (s *suite) testAsked(t *testing.T) {
	t.Run("it says goodbye", func(t *testing.T) {
		e := s.task(t, "polite")
		task := e.start()
		e.says("ready")
		if err := task.Stop(e.context(), patience); err != nil {
			t.Fatal(err)
		}
		if r := e.wait(task); r.Reason != compute.ReasonStopped {
			t.Errorf("result %+v", r)
		}
		if got := e.read(filepath.Join(e.run.Out(), "goodbye")); got != "goodbye" {
			t.Errorf("it left %q", got)
		}
	})
	t.Run("it does not listen", func(t *testing.T) {
		e := s.task(t, "stubborn")
		task := e.start()
		e.says("ready")
		if err := task.Stop(e.context(), 200*time.Millisecond); err != nil {
			t.Fatal(err)
		}
		if r := e.wait(task); r.Reason != compute.ReasonStopped {
			t.Errorf("result %+v", r)
		}
	})
	t.Run("less grace later", func(t *testing.T) {
		e := s.task(t, "stubborn")
		task := e.start()
		e.says("ready")
		first := make(chan error, 1)
		go func() { first <- task.Stop(e.context(), time.Hour) }()
		// Whichever comes first, the soonest end stands.
		if err := task.Stop(e.context(), 0); err != nil {
			t.Fatal(err)
		}
		if err := <-first; err != nil {
			t.Error(err)
		}
		if r := e.wait(task); r.Reason != compute.ReasonStopped {
			t.Errorf("result %+v", r)
		}
	})
	t.Run("at once after the start", func(t *testing.T) {
		e := s.task(t, "polite")
		task := e.start()
		if err := task.Stop(e.context(), 0); err != nil {
			t.Fatal(err)
		}
		if r := e.wait(task); r.Reason != compute.ReasonStopped {
			t.Errorf("result %+v", r)
		}
	})
}

func (s *suite) testProcesses(t *testing.T) {
	t.Run("limit", func(t *testing.T) {
		e := s.task(t, "children")
		e.spec.Limits.Pids = 64
		n, err := strconv.Atoi(strings.TrimSpace(e.ok()))
		if err != nil || n < 1 || n >= 64 {
			t.Errorf("%d processes (%v), the limit is 64", n, err)
		}
	})
	t.Run("fork bomb", func(t *testing.T) {
		e := s.task(t, "bomb")
		e.spec.Limits.Pids, e.spec.Limits.Timeout = 128, 2*time.Second
		e.ends(compute.ReasonDeadline)
	})
	t.Run("left behind", func(t *testing.T) {
		s.task(t, "orphan").ok() // the end of the first is the end of all
	})
}

// powers has the guest try what it must not be able to. It may ask a kernel of its
// own to be spared when memory is short, as that has no say in it.
func (s *suite) powers() []string {
	if s.OwnKernel {
		return []string{"powers", "survive memory"}
	}
	return []string{"powers"}
}

func (s *suite) testSystemWalls(t *testing.T) {
	t.Run("powers", func(t *testing.T) {
		e := s.task(t, s.powers()...).input("a", "x")
		if got := e.ok(); got != "no powers\n" {
			t.Errorf("got %q", got)
		}
	})
	t.Run("nobody on the host", func(t *testing.T) {
		e := s.task(t, "write", "/out/mine", "x")
		e.ok()
		if owner, ok := ownerOf(t, filepath.Join(e.run.Out(), "mine")); ok && owner < 1000 {
			t.Errorf("what it writes belongs to user %d of the host", owner)
		}
	})
	t.Run("alone", func(t *testing.T) {
		if got := s.task(t, "kernel").ok(); !strings.Contains(got, "pid 1 ") {
			t.Errorf("it is %q", got)
		}
	})
	t.Run("no way out", s.testNoWayOut)
	t.Run("room", func(t *testing.T) {
		e := s.task(t, "room", "/dev/shm", "/tmp")
		e.spec.Limits.ShmBytes = 48 << 20
		if got := e.ok(); !strings.Contains(got, fmt.Sprintf("/dev/shm %d\n", 48<<20)) {
			t.Errorf("it sees %q", got)
		}
	})
}

// testNoWayOut listens on every address of this machine, and on a name of the
// abstract namespace, and tries those that machines in clouds and homes have.
func (s *suite) testNoWayOut(t *testing.T) {
	args := []string{"reach", "tcp", "169.254.169.254:80", "tcp", "192.168.1.1:80", "tcp", "10.0.0.1:443", "tcp", "1.1.1.1:53", "udp", "1.1.1.1:53", "tcp", "[fe80::1%lo]:80", "tcp", "[2606:4700:4700::1111]:53"}
	addresses, err := net.InterfaceAddrs()
	if err != nil {
		t.Fatal(err)
	}
	for _, a := range addresses {
		ip, ok := a.(*net.IPNet)
		if !ok || ip.IP.IsLinkLocalUnicast() {
			continue
		}
		l, err := net.Listen("tcp", net.JoinHostPort(ip.IP.String(), "0"))
		if err != nil {
			continue // not an address that can be listened on
		}
		defer l.Close()
		args = append(args, "tcp", l.Addr().String())
	}
	name := fmt.Sprintf("@moyai-runtimetest-%d", os.Getpid())
	l, err := net.Listen("unix", name)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if got := s.task(t, append(args, "unix", name)...).ok(); got != "nobody there\n" {
		t.Errorf("got %q", got)
	}
}

func (s *suite) testSystemMemory(t *testing.T) {
	t.Run("a child out of memory", func(t *testing.T) {
		// Only the child is ended, and the program says so itself.
		e := s.task(t, "feast")
		e.spec.Limits.MemoryBytes = 64 << 20
		if s.OwnKernel {
			e.ends(compute.ReasonMemory)
			return
		}
		if got := e.ok(); !strings.Contains(got, "killed") {
			t.Errorf("got %q", got)
		}
	})
	t.Run("shared memory counts", func(t *testing.T) {
		e := s.task(t, "fill", "/dev/shm/big", "1000000000000")
		e.spec.Limits.MemoryBytes, e.spec.Limits.ShmBytes, e.spec.Limits.OutputBytes = 64<<20, 64<<20, 1<<30
		e.ends(compute.ReasonMemory)
	})
	t.Run("cores", func(t *testing.T) {
		e := s.task(t, "spins", "2")
		e.spec.Limits.CPUMilli, e.spec.Limits.Timeout = 200, 2*time.Second
		u := e.ends(compute.ReasonDeadline).Usage
		// Two loops without the limit take 2 of 2 seconds each; with it 0.4 in all.
		if u.CPU == 0 || u.CPU > u.Wall/2 {
			t.Errorf("%v of processor time in %v, the limit is a fifth", u.CPU, u.Wall)
		}
	})
}

func (s *suite) testSystemOutput(t *testing.T) {
	t.Run("nested too deep to see", func(t *testing.T) {
		e := s.task(t, "nest")
		e.ends(compute.ReasonOutputLimit)
	})
	t.Run("planted", func(t *testing.T) {
		e := s.task(t, "plant")
		e.ok()
		for name, want := range map[string]os.FileMode{"setuid": 0o755, "link": os.ModeSymlink | 0o777} {
			info, err := os.Lstat(filepath.Join(e.run.Out(), name))
			if err != nil || info.Mode() != want {
				t.Errorf("%s: %v, %v", name, info, err)
			}
		}
		entries, err := os.ReadDir(e.run.Out())
		if err != nil || len(entries) != 2 {
			t.Errorf("left in /out: %v, %v", entries, err)
		}
	})
}
