package supervise

import (
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// Inside is the mode of a container that looks at its own walls, for a runtime's
// Probe: it is the whole content of the image.
const Inside = "look-around"

// Mine is a file that it leaves in /out, to be seen from outside.
const Mine = "mine"

// Report is what was found inside.
type Report struct {
	Seccomp, NoNewPrivs, CapEff, CapBnd string // as /proc/self/status has them
	UIDMap                              string // the first line of /proc/self/uid_map
	Kernel                              string // its release
	Interfaces                          []string
	RootWritable                        bool
	Children                            int // how many processes could be started before it was refused
}

// lookAround prints a Report, or does what its argument says.
func lookAround(args []string) int {
	if len(args) > 0 {
		switch args[0] {
		case "eat":
			eat()
		case "fill":
			return fill(args[1:])
		case "sit":
			return beIdle()
		case "wait":
			time.Sleep(time.Hour) // its container has a deadline
			return 0
		case "knock":
			return tryOut(args[1:])
		}
	}
	var r Report
	status, _ := os.ReadFile("/proc/self/status")
	for line := range strings.Lines(string(status)) {
		key, value, _ := strings.Cut(line, ":")
		value = strings.TrimSpace(value)
		switch key {
		case "Seccomp":
			r.Seccomp = value
		case "NoNewPrivs":
			r.NoNewPrivs = value
		case "CapEff":
			r.CapEff = value
		case "CapBnd":
			r.CapBnd = value
		}
	}
	ids, _ := os.ReadFile("/proc/self/uid_map")
	r.UIDMap, _, _ = strings.Cut(strings.Join(strings.Fields(string(ids)), " "), "\n")
	var kernel unix.Utsname
	if unix.Uname(&kernel) == nil {
		r.Kernel = unix.ByteSliceToString(kernel.Release[:])
	}
	_ = os.WriteFile("/out/"+Mine, nil, 0o600) // who does not find it knows enough
	interfaces, _ := net.Interfaces()
	for _, i := range interfaces {
		r.Interfaces = append(r.Interfaces, i.Name)
	}
	r.RootWritable = os.WriteFile("/written", nil, 0o600) == nil
	r.Children = fork()
	if err := json.NewEncoder(os.Stdout).Encode(r); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 0
}

// mostChildren is more than the probe's pids limit allows.
const mostChildren = 64

// fork starts processes until that is refused.
func fork() int {
	for n := range mostChildren {
		cmd := exec.Command("/proc/self/exe", Inside, "sit")
		if _, err := cmd.StdinPipe(); err != nil {
			return n
		}
		if err := cmd.Start(); err != nil {
			return n
		}
	}
	return mostChildren
}

// fill writes to a file until the disk is full; the second time it finds that it
// was here before. Zero: the disk was full as it should be.
func fill(args []string) int {
	const most = 1 << 20 * 64
	if len(args) != 1 {
		return 64
	}
	if info, err := os.Stat(args[0]); err == nil {
		if info.Size() > 0 && info.Size() < most {
			return 0
		}
		fmt.Fprintln(os.Stdout, "what was written is not there any more")
		return 1
	}
	f, err := os.Create(args[0])
	if err != nil {
		fmt.Fprintln(os.Stdout, err)
		return 1
	}
	defer f.Close()
	for range most >> 20 {
		if _, err = f.Write(make([]byte, 1<<20)); err != nil {
			break
		}
	}
	if errors.Is(err, syscall.ENOSPC) {
		return 0
	}
	fmt.Fprintln(os.Stdout, "it took more than its size, or failed otherwise:", err)
	return 1
}

// tryOut succeeds if an address refuses, which takes somebody who carries the
// refusal back.
func tryOut(args []string) int {
	c, err := net.DialTimeout("tcp", args[0], 5*time.Second)
	if err == nil {
		c.Close()
		err = errors.New("it was let through")
	}
	if errors.Is(err, syscall.ECONNREFUSED) {
		return 0
	}
	fmt.Fprintln(os.Stderr, err)
	return 1
}

// eat takes memory without end.
func eat() {
	var kept [][]byte
	for {
		b := make([]byte, 4<<20)
		for i := 0; i < len(b); i += 4096 {
			b[i] = 1
		}
		kept = append(kept, b)
		if len(kept) > 1<<20 {
			return
		}
	}
}
