package supervise

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/moyai-network/moyai/compute"
)

// sentry is gVisor's kernel in the sandbox of one container. It is spoken to as
// runsc's own commands do it: over its control socket, one call a connection, in
// JSON (gvisor.dev/gvisor/pkg/urpc, runsc/boot/controller.go). So a program that
// enters takes neither a process of the host's that waits for it, nor the time that
// one takes to start.
//
// What it answers may be an attacker's words, who has broken it: they are bounded
// and believed no more than the tenant's.
type sentry struct {
	path, container string
	listing         *sync.Mutex // a list is large if the tenant wants it to be
}

func (o OCI) sentry(id string) sentry {
	return sentry{filepath.Join(o.root(id), "runsc-"+id+".sock"), id, new(sync.Mutex)}
}

// Bounds of one call.
const (
	sentryPatience = 30 * time.Second
	maxAnswer      = 16 << 20
	maxWords       = 4 << 10 // of an error
)

// errSandboxGone: the sandbox has ended, or ended meanwhile, and all in it.
var errSandboxGone = errors.New("the sandbox has ended")

// sentryError is the kernel's own answer that it cannot.
type sentryError struct{ words string }

func (e sentryError) Error() string { return e.words }

// call makes one call. patience bounds the wait for its answer; 0: nothing does.
//
// Errors: errSandboxGone, sentryError.
func (s sentry) call(patience time.Duration, method string, arg, result any, files ...*os.File) error {
	conn, err := net.DialUnix("unix", nil, &net.UnixAddr{Net: "unix", Name: s.path})
	if err != nil {
		if errors.Is(err, unix.ENOENT) || errors.Is(err, unix.ECONNREFUSED) {
			return errSandboxGone
		}
		return fmt.Errorf("reach the sandbox: %w", err)
	}
	defer conn.Close()
	if patience > 0 {
		if err := conn.SetDeadline(time.Now().Add(patience)); err != nil {
			return err
		}
	}
	call := struct {
		Method string `json:"method"`
		Arg    any    `json:"arg"`
	}{"containerManager." + method, arg}
	answer := struct {
		Success bool   `json:"success"`
		Err     string `json:"err"`
		Result  any    `json:"result"`
	}{Result: result}
	if err = sayWith(conn, call, files...); err == nil {
		err = json.NewDecoder(io.LimitReader(conn, maxAnswer)).Decode(&answer)
	}
	switch {
	case errors.Is(err, io.EOF), errors.Is(err, unix.EPIPE), errors.Is(err, unix.ECONNRESET):
		return errSandboxGone
	case err != nil:
		return fmt.Errorf("ask the sandbox: %w", err)
	case !answer.Success:
		return sentryError{answer.Err[:min(len(answer.Err), maxWords)]}
	}
	return nil
}

// entering is a call of ExecuteAsync (control.ExecArgs). What is left out is
// nothing: no capabilities, whatever the Entry says.
type entering struct {
	ContainerID     string
	Argv            []string `json:"argv"`
	Envv            []string `json:"envv"`
	Dir             string   `json:"wd"`
	KUID, KGID      uint32
	ExtraKGIDs      []uint32
	NoNewPrivileges bool
	Capabilities    struct{ PermittedCaps, InheritableCaps, EffectiveCaps, BoundingCaps, AmbientCaps uint64 }
	StdioIsPty      bool
	SupportTTYs     bool
	GuestFDs        []int
}

// run starts a program in the sandbox, held by all that its container's
// description says, with files as its descriptors 0, 1, 2, …, and returns its number
// there.
func (s sentry) run(e entering, files ...*os.File) (pid int32, err error) {
	e.ContainerID, e.NoNewPrivileges, e.SupportTTYs = s.container, true, true
	for fd := range files {
		e.GuestFDs = append(e.GuestFDs, fd)
	}
	return pid, s.call(sentryPatience, "ExecuteAsync", e, &pid, files...)
}

// wait returns how a program that was run ended.
func (s sentry) wait(pid int32) (syscall.WaitStatus, error) {
	var status uint32
	err := s.call(0, "WaitPID", struct {
		PID int32
		CID string
	}{pid, s.container}, &status)
	return syscall.WaitStatus(status), err
}

// Whom a signal is for (boot.SignalDeliveryMode).
const (
	toProcess = 0
	toGroup   = 3
)

func (s sentry) signal(pid int32, mode int, sig unix.Signal) error {
	return s.call(sentryPatience, "Signal", struct {
		CID        string
		Signo, PID int32
		Mode       int
	}{s.container, int32(sig), pid, mode}, &struct{}{})
}

// inSentry is a process as procfs.ProcessProcfsDump has it.
type inSentry struct {
	Args      []string
	StartTime int64 `json:"clone_ts"` // nanoseconds since 1970
	Status    struct {
		Comm   string
		PID    int32
		RSSKiB uint64 `json:"vm_rss"`
	}
	Stat struct{ SID, PGID int32 }
}

// processes lists what runs in the sandbox.
func (s sentry) processes() (list []inSentry, err error) {
	s.listing.Lock()
	defer s.listing.Unlock()
	return list, s.call(sentryPatience, "ProcfsDump", struct{}{}, &list)
}

// endSession kills all processes of a session, as killSession does with those of
// the host. Where they cannot be listed, their leader and its group at least.
func (s sentry) endSession(session int32) {
	for range rounds {
		stopped := map[int32]bool{}
		for fresh := true; fresh; {
			fresh = false
			for _, p := range s.inSession(session) {
				if !stopped[p] && s.signal(p, toProcess, unix.SIGSTOP) == nil {
					stopped[p], fresh = true, true
				}
			}
		}
		_ = s.signal(session, toGroup, unix.SIGKILL) // it may be gone
		for p := range stopped {
			_ = s.signal(p, toProcess, unix.SIGKILL)
		}
		if len(stopped) == 0 {
			return
		}
		time.Sleep(time.Millisecond) // they take a moment to die
	}
}

func (s sentry) inSession(session int32) (pids []int32) {
	list, err := s.processes()
	if err != nil && !errors.Is(err, errSandboxGone) {
		fmt.Fprintln(os.Stderr, "supervise: list what is to be killed:", err)
	}
	for _, p := range list {
		if p.Stat.SID == session {
			pids = append(pids, p.Status.PID)
		}
	}
	return pids
}

// Processes lists what runs in the sandbox of a container, in the order of its
// numbers there, with their command lines as they are. CPU time is known to a
// hundredth of a process's life only.
//
// Errors: compute.ErrNotFound (it has ended), compute.ErrUnavailable.
func (o OCI) Processes(id string) ([]compute.ProcessInfo, error) {
	s := o.sentry(id)
	var counted []struct { // control.Process
		PID     int32
		Threads []int32
		C       int64  // percent of its life that it computed, 99 at most
		Time    string // of it, in the kernel
	}
	list, err := s.processes()
	if err == nil {
		err = s.call(sentryPatience, "Processes", id, &counted)
	}
	switch {
	case errors.Is(err, errSandboxGone):
		return nil, fmt.Errorf("%w: %w", compute.ErrNotFound, err)
	case err != nil:
		return nil, fmt.Errorf("%w: list the task's processes: %w", compute.ErrUnavailable, err)
	}
	at := map[int32]int{}
	for i, c := range counted {
		at[c.PID] = i
	}
	all := make([]compute.ProcessInfo, 0, len(list))
	for _, p := range list {
		if len(p.Args) > 2 && p.Args[0] == ToolPath && p.Args[2] == ToolTerminal {
			continue // our part of a terminal, which elsewhere is the kernel's
		}
		info := compute.ProcessInfo{
			PID: int(p.Status.PID), Command: strings.Join(p.Args, " "), MemoryBytes: p.Status.RSSKiB << 10,
			Since: max(time.Since(time.Unix(0, p.StartTime)), 0),
		}
		if info.Command == "" {
			info.Command = "[" + p.Status.Comm + "]"
		}
		i, ok := at[p.Status.PID]
		if !ok {
			continue // it has ended meanwhile
		}
		system, _ := time.ParseDuration(counted[i].Time)
		info.Threads, info.CPU = len(counted[i].Threads), max(info.Since*time.Duration(counted[i].C)/100, system)
		all = append(all, info)
	}
	slices.SortFunc(all, func(a, b compute.ProcessInfo) int { return a.PID - b.PID })
	return all[:min(len(all), compute.MaxProcesses)], nil
}
