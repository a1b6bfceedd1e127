package container

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sort"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/moyai-network/moyai/compute"
	"github.com/moyai-network/moyai/compute/container/internal/volume"
	"github.com/moyai-network/moyai/compute/container/supervise"
	"github.com/moyai-network/moyai/compute/egress"
	"github.com/moyai-network/moyai/compute/image/pack"
	"github.com/moyai-network/moyai/compute/internal/supervised"
	"github.com/moyai-network/moyai/compute/internal/taskrecord"
)

// Probe implements compute.Runtime: it unpacks an image of one file, looks at the
// walls from the inside, and lets a container run into its memory limit.
func (r *Runtime) Probe(ctx context.Context) (compute.Capabilities, error) {
	version, err := r.version(ctx)
	if err != nil {
		return compute.Capabilities{}, err
	}
	dir, err := os.MkdirTemp(filepath.Join(r.config.Home, "scratch"), "probe-")
	if err != nil {
		return compute.Capabilities{}, unavailable("probe", err)
	}
	defer os.RemoveAll(dir)
	image := filepath.Join(dir, "image.tar")
	if err := pack.Program(image, r.config.Worker, "worker", supervise.Inside); err != nil {
		return compute.Capabilities{}, unavailable("probe", err)
	}
	limits := compute.Limits{MemoryBytes: 64 << 20, Timeout: 20 * time.Second, Pids: 32, CPUMilli: 500}
	result, said, err := supervised.Try(ctx, r, compute.Spec{Dir: dir, Program: image, Limits: limits}, "look")
	if err != nil {
		return compute.Capabilities{}, err
	}
	var report supervise.Report
	if err := json.Unmarshal(said, &report); err != nil || !result.OK() {
		return compute.Capabilities{}, fmt.Errorf("%w: a container that only looks around ended with %v (%s)", compute.ErrUnavailable, result.Reason, result.Message)
	}
	limits.CPUMilli = 0
	result, _, err = supervised.Try(ctx, r, compute.Spec{Dir: dir, Program: image, Args: []string{"eat"}, Limits: limits}, "eat")
	if err != nil {
		return compute.Capabilities{}, err
	}
	c, err := r.judge(report, result, filepath.Join(dir, "look", "out", supervise.Mine))
	c.Version = version
	if err != nil {
		return c, err
	}
	if err := r.tryEgress(ctx, compute.Spec{Dir: dir, Program: image, Limits: limits}); err != nil {
		c.Missing = append(c.Missing, "egress: "+err.Error())
	} else {
		c.Enforced = append(c.Enforced, Egress)
	}
	if err := r.tryEnter(ctx, compute.Spec{Dir: dir, Program: image, Limits: limits}); err != nil {
		c.Missing = append(c.Missing, "entering: "+err.Error())
	}
	if err := r.probeVolume(ctx, dir, image, limits); err != nil {
		c.Missing = append(c.Missing, "volumes: "+err.Error())
	} else {
		c.Enforced = append(c.Enforced, Volumes)
	}
	sort.Strings(c.Enforced)
	return c, nil
}

// judge sorts what was found into walls that held and walls that did not. mine is
// a file that was made inside.
//
// Errors: compute.ErrUnavailable if the tier is not what it says.
func (r *Runtime) judge(report supervise.Report, ate compute.Result, mine string) (compute.Capabilities, error) {
	// These hold by the supervisor, and cpu by the kernel having taken it.
	c := compute.Capabilities{Enforced: []string{"cpu", "log-limit", "output-limit", "timeout"}}
	wall := func(name string, held bool, found any) {
		if held {
			c.Enforced = append(c.Enforced, name)
			return
		}
		c.Missing = append(c.Missing, fmt.Sprintf("%s: inside, it is %v", name, found))
	}
	ids := strings.Fields(report.UIDMap)
	wall("memory", ate.Reason == compute.ReasonMemory, ate.Reason)
	wall("pids", report.Children < 32, fmt.Sprintf("%d processes", report.Children))
	wall("seccomp", report.Seccomp == "2", report.Seccomp)
	wall("no-new-privileges", report.NoNewPrivs == "1", report.NoNewPrivs)
	wall("no-capabilities", strings.Trim(report.CapEff+report.CapBnd, "0") == "", report.CapEff+" of "+report.CapBnd)
	// gVisor shows its programs a system of their own, where 0 is 0.
	var st unix.Stat_t
	err := unix.Stat(mine, &st)
	apart := err == nil && st.Uid >= r.config.UIDBase && (r.oci.GVisor() || len(ids) == 3 && ids[1] != "0")
	wall("user-namespace", apart, fmt.Sprintf("%q, and what it makes belongs to user %d (%v)", report.UIDMap, st.Uid, err))
	wall("network-namespace", len(report.Interfaces) == 1 && report.Interfaces[0] == "lo", report.Interfaces)
	wall("read-only-root", !report.RootWritable, "writable")
	if r.oci.GVisor() {
		var host unix.Utsname
		if err := unix.Uname(&host); err != nil {
			return c, fmt.Errorf("%w: this machine's kernel, to compare with that of %s: %w", compute.ErrUnavailable, r.oci.Path, err)
		}
		if here := unix.ByteSliceToString(host.Release[:]); report.Kernel == "" || report.Kernel == here {
			return c, fmt.Errorf("%w: %s does not put a kernel of its own (%q) before this machine's (%q)", compute.ErrUnavailable, r.oci.Path, report.Kernel, here)
		}
		c.Enforced = append(c.Enforced, "own-kernel")
	}
	sort.Strings(c.Enforced)
	return c, nil
}

// probeVolume makes the smallest volume and has a container fill it: the size
// must hold, and what was written must be there for the next.
func (r *Runtime) probeVolume(ctx context.Context, dir, image string, limits compute.Limits) error {
	spec := compute.Spec{Dir: dir, Program: image, Args: []string{"fill", "/volume/filled"}, Limits: limits,
		Volumes: []compute.Volume{{File: filepath.Join(dir, "volume"), At: "/volume"}}}
	if err := r.MakeVolume(ctx, spec.Volumes[0].File, volume.MinBytes); err != nil {
		return err
	}
	for _, id := range []string{"fill", "fill-again"} {
		result, said, err := supervised.Try(ctx, r, spec, id)
		if err != nil {
			return err
		}
		if !result.OK() {
			return fmt.Errorf("a container that fills its volume ended with %v (%s): %s", result.Reason, result.Message, said)
		}
	}
	return nil
}

// tryEnter lets a program into a container. With runsc that is more than a matter of
// form, as its kernel is spoken to in words of its own.
func (r *Runtime) tryEnter(ctx context.Context, spec compute.Spec) error {
	spec.Args = []string{"wait"}
	p, err := r.prepare(ctx, spec)
	if err != nil {
		return err
	}
	defer p.Close()
	t, err := r.Start(ctx, p, compute.Run{ID: "enter", Dir: filepath.Join(spec.Dir, "enter")})
	if err != nil {
		return err
	}
	code, err := enterOnce(ctx, t)
	if err == nil && code != 0 {
		err = fmt.Errorf("a program that only looks around in a running container ended with code %d", code)
	}
	return errors.Join(err, t.Stop(context.WithoutCancel(ctx), 0))
}

func enterOnce(ctx context.Context, t compute.Task) (int, error) {
	inside, ok := t.(compute.Interactive)
	if !ok {
		return -1, compute.ErrUnsupported
	}
	p, err := inside.Exec(ctx, compute.Exec{Args: []string{"/worker", supervise.Inside}})
	if err != nil {
		return -1, err
	}
	if _, err := io.Copy(io.Discard, io.LimitReader(p.Stdout(), 64<<10)); err != nil {
		return -1, errors.Join(err, p.Close())
	}
	code, err := p.Wait(ctx)
	return code, errors.Join(err, p.Close())
}

// tryEgress gives a container a way to the internet under rules that allow
// nothing, and has it knock. Nothing is sent.
func (r *Runtime) tryEgress(ctx context.Context, spec compute.Spec) error {
	spec.Args = []string{"knock", "192.0.2.1:80"}
	spec.Egress = &compute.Egress{
		Policies: make([]egress.Policy, 1), Bytes: 1, Ledger: filepath.Join(spec.Dir, "ledger"),
		Log: filepath.Join(spec.Dir, "egress"), LogBytes: compute.MinEgressLog,
	}
	result, _, err := supervised.Try(ctx, r, spec, "knock")
	if err != nil {
		return err
	}
	if !result.OK() {
		said, _ := taskrecord.Bounded(filepath.Join(spec.Dir, "knock", "stderr"), 1<<10)
		return fmt.Errorf("a container that knocks ended with %v (%s): %s", result.Reason, result.Message, said)
	}
	return nil
}
