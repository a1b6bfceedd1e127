//go:build !linux

package worker

import (
	"os"
	"time"

	"github.com/moyai-network/moyai/compute/wasm/internal/guestfs"
	"github.com/moyai-network/moyai/compute/wasm/internal/job"
)

type walls struct {
	up      []string
	missing []string
}

// confine relies on WebAssembly and guestfs alone and says so.
func confine(job.Load) (walls, error) {
	return walls{missing: []string{"landlock: Linux only", "seccomp: Linux only"}}, nil
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

func mapCounters(string) (*guestfs.Counters, error) { return new(guestfs.Counters), nil }

func (t *task) detach() {}

func usage() (cpu time.Duration, peak uint64) { return 0, 0 }

func openStdin(path string) (*os.File, error) { return os.Open(path) }
