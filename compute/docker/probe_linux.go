package docker

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/moyai-network/moyai/compute"
	"github.com/moyai-network/moyai/compute/container/supervise"
	"github.com/moyai-network/moyai/compute/image/pack"
	"github.com/moyai-network/moyai/compute/internal/supervised"
)

// Probe implements compute.Runtime: it has Docker run an image of one file, which
// looks at the walls from the inside, and again, to run into its memory limit.
func (r *Runtime) Probe(ctx context.Context) (compute.Capabilities, error) {
	var c compute.Capabilities
	dir, err := os.MkdirTemp(filepath.Join(r.config.Home, "scratch"), "probe-")
	if err != nil {
		return c, unavailable("probe", err)
	}
	defer os.RemoveAll(dir)
	image := filepath.Join(dir, "image.tar")
	if err := pack.Program(image, r.config.Worker, "worker", supervise.Inside); err != nil {
		return c, unavailable("probe", err)
	}
	limits := compute.Limits{MemoryBytes: 64 << 20, Timeout: 20 * time.Second, Pids: 32, CPUMilli: 500}
	spec := compute.Spec{Dir: dir, Program: image, Limits: limits}
	if err := r.trySight(ctx, spec); err != nil {
		return c, err
	}
	result, said, err := supervised.Try(ctx, r, spec, "look")
	if err != nil {
		return c, err
	}
	var report supervise.Report
	if err := json.Unmarshal(said, &report); err != nil || !result.OK() {
		return c, fmt.Errorf("%w: a container that only looks around ended with %v (%s)", compute.ErrUnavailable, result.Reason, result.Message)
	}
	limits.CPUMilli = 0
	result, _, err = supervised.Try(ctx, r, compute.Spec{Dir: dir, Program: image, Args: []string{"eat"}, Limits: limits}, "eat")
	if err != nil {
		return c, err
	}
	c = r.judge(report, result, filepath.Join(dir, "look", "out", supervise.Mine))
	i := &r.engine.info
	c.Version = "docker " + i.ServerVersion
	if must := []string{"seccomp", "no-new-privileges", "no-capabilities", "network-namespace", "memory", "pids"}; slices.ContainsFunc(must, func(w string) bool { return !slices.Contains(c.Enforced, w) }) {
		return c, fmt.Errorf("%w: this Docker (%s) does not hold what it is told to: %s", compute.ErrUnavailable, i.ServerVersion, strings.Join(c.Missing, "; "))
	}
	return c, nil
}

// trySight has a container sit until it was seen: Start fails if Docker runs it in a
// machine of its own.
func (r *Runtime) trySight(ctx context.Context, spec compute.Spec) error {
	run := compute.Run{ID: "sit", Dir: filepath.Join(spec.Dir, "sit"), Stdin: filepath.Join(spec.Dir, "stdin")}
	if err := unix.Mkfifo(run.Stdin, 0o600); err != nil {
		return unavailable("probe", err)
	}
	chair, err := os.OpenFile(run.Stdin, os.O_RDWR, 0) // it sits while somebody could write
	if err != nil {
		return unavailable("probe", err)
	}
	defer chair.Close()
	spec.Args = []string{"sit"}
	p, err := r.prepare(ctx, spec)
	if err != nil {
		return err
	}
	defer p.Close()
	t, err := r.Start(ctx, p, run)
	if err != nil {
		return err
	}
	return t.Stop(ctx, 0)
}

// judge sorts what was found into walls that held and walls that did not. mine is
// a file that was made inside.
func (r *Runtime) judge(report supervise.Report, ate compute.Result, mine string) compute.Capabilities {
	// These hold by the supervisor, and cpu by the kernel having taken it.
	c := compute.Capabilities{Enforced: []string{"cpu", "log-limit", "output-limit", "timeout"}}
	wall := func(name string, held bool, found any) {
		if held {
			c.Enforced = append(c.Enforced, name)
			return
		}
		c.Missing = append(c.Missing, fmt.Sprintf("%s: %v", name, found))
	}
	// One that is out of memory at once is ended before Docker listens for why.
	killed := ate.Reason == compute.ReasonExited && ate.ExitCode == 128+int(unix.SIGKILL)
	wall("memory", ate.Reason == compute.ReasonMemory || killed, ate.Reason)
	wall("pids", report.Children < 32, fmt.Sprintf("%d processes", report.Children))
	wall("seccomp", report.Seccomp == "2", report.Seccomp)
	wall("no-new-privileges", report.NoNewPrivs == "1", report.NoNewPrivs)
	wall("no-capabilities", strings.Trim(report.CapEff+report.CapBnd, "0") == "", report.CapEff+" of "+report.CapBnd)
	wall("network-namespace", len(report.Interfaces) == 1 && report.Interfaces[0] == "lo", report.Interfaces)
	wall("read-only-root", !report.RootWritable, "writable")
	var st unix.Stat_t
	err := unix.Stat(mine, &st)
	nobody := err == nil && st.Uid != 0 && int(st.Uid) != os.Geteuid()
	wall("own-user", nobody, "programs run under your own user number, as nobody else could collect what they write (run moyai as root, and they are nobody)")
	ids := strings.Fields(report.UIDMap)
	wall("user-namespace", len(ids) == 3 && ids[1] != "0", "Docker maps no users (userns-remap in its daemon.json; the provider must then be root)")
	wall("no-swap", r.engine.info.SwapLimit, "Docker cannot keep containers from swap (swapaccount=1 on the kernel's command line)")
	slices.Sort(c.Enforced)
	return c
}
