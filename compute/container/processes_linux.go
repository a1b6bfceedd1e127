package container

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"

	"golang.org/x/sys/unix"

	"github.com/moyai-network/moyai/compute"
)

// clockTick is the unit of times in /proc, the same on every Linux machine that
// Go runs on.
const clockTick = time.Second / 100

// maxCommand bounds a process's command line as it is shown.
const maxCommand = 256

// Processes implements compute.Interactive.
func (t *task) Processes(ctx context.Context) ([]compute.ProcessInfo, error) {
	if err := t.lives(); err != nil {
		return nil, err
	}
	if t.state.OCI.GVisor() {
		return t.inSandbox()
	}
	init := t.state.Init
	fd := init.Open()
	if fd < 0 {
		return nil, t.ended()
	}
	defer unix.Close(fd)
	space, err := os.Readlink(fmt.Sprintf("/proc/%d/ns/pid", init.PID))
	if err != nil {
		return nil, t.ended()
	}
	// The task's own first: it must be there even if not all are.
	pids := slices.Insert(slices.DeleteFunc(t.state.Cgroup.Processes(), func(pid int) bool { return pid == init.PID }), 0, init.PID)
	now, err := sinceBoot()
	if err != nil {
		return nil, unavailable("read the clock", err)
	}
	var list []compute.ProcessInfo
	for _, pid := range pids {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		if len(list) == compute.MaxProcesses {
			break
		}
		if p, err := look(pid, space, now); err == nil { // else it has ended meanwhile
			list = append(list, p)
		}
	}
	if err := unix.PidfdSendSignal(fd, 0, nil, 0); err != nil {
		return nil, t.ended()
	}
	slices.SortFunc(list, func(a, b compute.ProcessInfo) int { return a.PID - b.PID })
	return list, nil
}

// inSandbox lists processes that are none of the host's.
func (t *task) inSandbox() ([]compute.ProcessInfo, error) {
	t.operator.listing.Lock() // a list takes memory as the tenant wants
	defer t.operator.listing.Unlock()
	list, err := t.state.OCI.Processes(t.state.Container)
	if errors.Is(err, compute.ErrNotFound) {
		return nil, t.ended()
	}
	for i := range list {
		line := []byte(list[i].Command)
		list[i].Command = printable(line[:min(len(line), maxCommand)])
	}
	return list, err
}

func sinceBoot() (time.Duration, error) {
	var now unix.Timespec
	err := unix.ClockGettime(unix.CLOCK_BOOTTIME, &now)
	return time.Duration(now.Nano()), err
}

var errElsewhere = errors.New("it is not in the container")

// look reads what /proc says of one process. All of it is read through one handle
// of the process's folder, so it cannot be of two, and not of one outside of the
// container that was given the same number.
func look(pid int, space string, now time.Duration) (compute.ProcessInfo, error) {
	var p compute.ProcessInfo
	dir, err := os.OpenRoot(fmt.Sprintf("/proc/%d", pid))
	if err != nil {
		return p, err
	}
	defer dir.Close()
	if in, err := dir.Readlink("ns/pid"); err != nil || in != space {
		return p, errElsewhere
	}
	status, err := readAtMost(dir, "status", 16<<10)
	if err != nil {
		return p, err
	}
	for line := range strings.Lines(string(status)) {
		key, value, _ := strings.Cut(line, ":")
		fields := strings.Fields(value)
		if len(fields) == 0 {
			continue
		}
		switch key {
		case "Name":
			p.Command = "[" + printable([]byte(strings.TrimSpace(value))) + "]"
		case "NSpid":
			p.PID, _ = strconv.Atoi(fields[len(fields)-1])
		case "Threads":
			p.Threads, _ = strconv.Atoi(fields[0])
		case "VmRSS":
			kib, _ := strconv.ParseUint(fields[0], 10, 64)
			p.MemoryBytes = kib << 10
		}
	}
	if err := timesOf(dir, &p, now); err != nil {
		return p, err
	}
	line, err := readAtMost(dir, "cmdline", maxCommand)
	if err == nil && len(line) > 0 {
		p.Command = printable(line)
	}
	return p, nil
}

func timesOf(dir *os.Root, p *compute.ProcessInfo, now time.Duration) error {
	b, err := readAtMost(dir, "stat", 4<<10)
	if err != nil {
		return err
	}
	// The second field is the program's name in parentheses and may hold anything.
	fields := strings.Fields(string(b[strings.LastIndexByte(string(b), ')')+1:]))
	if len(fields) < 20 {
		return errElsewhere
	}
	ticks := func(field int) time.Duration {
		n, _ := strconv.ParseInt(fields[field], 10, 64)
		return time.Duration(n) * clockTick
	}
	p.CPU = ticks(11) + ticks(12)
	p.Since = max(now-ticks(19), 0)
	return nil
}

func readAtMost(dir *os.Root, name string, limit int64) ([]byte, error) {
	f, err := dir.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return io.ReadAll(io.LimitReader(f, limit))
}

// printable is a command line as people may see it: words apart by spaces, and
// nothing in it that a terminal would obey.
func printable(line []byte) string {
	words := strings.ReplaceAll(strings.TrimRight(string(line), "\x00"), "\x00", " ")
	return strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return '?'
		}
		return r
	}, strings.ToValidUTF8(words, "?"))
}
