//go:build !linux && !windows

package worker

import (
	"os"
	"time"

	"golang.org/x/sys/unix"

	"github.com/moyai-network/moyai/compute/wasm/internal/job"
)

type walls struct {
	up      []string
	missing []string
}

// confine relies on WebAssembly and guestfs alone and says so.
func confine(job.Load) (walls, error) {
	return walls{missing: []string{"landlock: Linux only", "seccomp: Linux only", "memory: of the program only, not of the process around it"}}, nil
}

func narrow(job.Exec) error { return nil }

var watchdog *time.Timer

// killAfter is best effort here: the runtime's own kill is the deadline.
func killAfter(d time.Duration) error {
	if watchdog != nil {
		watchdog.Stop()
	}
	watchdog = time.AfterFunc(until(d), func() { os.Exit(137) })
	return nil
}

// detach turns the pipes to the parent into the worker's log: the parent may go
// now, and a crash of this process leaves its reason behind.
func (t *task) detach() {
	for fd := 0; fd <= 2; fd++ {
		_ = unix.Dup2(int(t.log.Fd()), fd)
	}
}
