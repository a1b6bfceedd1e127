package provider

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"time"

	"github.com/moyai-network/moyai/compute"
	"github.com/moyai-network/moyai/internal/oserror"
	"github.com/moyai-network/moyai/mechanism/lease"
	"github.com/moyai-network/moyai/p2p/content"
	"github.com/moyai-network/moyai/provider/leasing"
)

// job is the work of one lease on this machine: its folder, its prepared program,
// its tasks. It reports to its agreement with events.
type job struct {
	a   *agreement
	dir string

	prepMu   sync.Mutex // held while fetching and preparing: both happen once
	prepared compute.Prepared
	runtime  compute.Runtime // of prepared

	mu    sync.Mutex
	tasks map[uint64]*attempt // begun or found again by this process, and not ended
	kept  bool
	again chan struct{} // closed once results of before a restart are served again; nil: none are

	stdin *stdin // of task 0; nil for an array

	sealed []byte        // as the tenant sent it; guarded by mu
	told   chan struct{} // something came that preparing waits for
	pinned string        // what the image's name stood for; guarded by mu
	tier   compute.Tier  // that the work runs at, once prepared; guarded by mu
	load   load          // guarded by mu
}

func newJob(a *agreement) *job {
	j := &job{a: a, dir: a.d.leaseDir(a.row.ID), tasks: map[uint64]*attempt{}, told: make(chan struct{}, 1)}
	if !a.man.Array {
		j.stdin = newStdin(j.dir)
	}
	return j
}

func (j *job) program() string {
	if !j.a.man.Image.IsZero() {
		return j.imageDir()
	}
	return filepath.Join(j.dir, "module")
}
func (j *job) input(name string) string {
	return filepath.Join(j.dir, "in-"+hex.EncodeToString([]byte(name)))
}
func (j *job) taskDir(index uint64) string {
	return filepath.Join(j.dir, "tasks", strconv.FormatUint(index, 10))
}

// prefetch prepares what can be had before anybody paid, within bounds.
func (j *job) prefetch(ctx context.Context) {
	if j.a.man.ModuleBytes+j.a.man.InputBytes() > j.a.d.prefetchBytes {
		return
	}
	select {
	case j.a.d.prefetches <- struct{}{}:
	default:
		return // busy with other strangers' maybes; Prepare will do it
	}
	j.a.d.wg.Go(func() {
		defer func() { <-j.a.d.prefetches }()
		if err := j.ensure(ctx, false); err != nil {
			j.a.log.Info("prefetch failed, to be tried again if the lease opens", "err", err)
		}
	})
}

// prepare does what prefetch has not, trying again while the tenant is out of
// reach and the grace lasts.
func (j *job) prepare(ctx context.Context) {
	j.a.d.wg.Go(func() {
		deadline := time.Now().Add(time.Duration(j.a.bid.GraceMS) * time.Millisecond)
		for wait := 200 * time.Millisecond; ; wait = min(2*wait, 5*time.Second) {
			err := j.ensure(ctx, true)
			if ctx.Err() != nil {
				return
			}
			if err == nil {
				j.a.post(leasing.Prepared{Now: j.a.d.now()})
				return
			}
			reason, text, final := prepareFailure(err)
			if final || time.Now().Add(wait).After(deadline) {
				j.a.log.Info("cannot prepare", "err", err)
				j.a.post(leasing.PrepareFailed{Reason: reason, Text: text, Now: j.a.d.now()})
				return
			}
			select {
			case <-ctx.Done():
				return
			case <-j.told:
			case <-time.After(wait):
			}
		}
	})
}

// errDisk: this machine has no room, through no fault of the tenant's.
var errDisk = errors.New("the provider's disk is full")

// prepareFailure says whose fault it is, for the receipt and for people, and
// whether trying again could help.
func prepareFailure(err error) (reason lease.Reason, text string, final bool) {
	if reason, text, final, known := pullFailure(err); known {
		return reason, text, final
	}
	switch {
	case errors.Is(err, errNoSecrets):
		return lease.ReasonTenantVanished, errNoSecrets.Error(), false
	case errors.Is(err, errVolume):
		return lease.ReasonBadManifest, err.Error(), true
	case errors.Is(err, compute.ErrBadProgram), errors.Is(err, compute.ErrInvalidSpec),
		errors.Is(err, content.ErrMismatch), errors.Is(err, content.ErrLimit), errors.Is(err, content.ErrUnsupported):
		return lease.ReasonBadManifest, err.Error(), true
	case errors.Is(err, content.ErrDiskFull), oserror.DiskFull(err), errors.Is(err, errDisk):
		return lease.ReasonProviderStopped, errDisk.Error(), true
	case errors.Is(err, compute.ErrUnavailable):
		return lease.ReasonProviderStopped, err.Error(), true
	case errors.Is(err, content.ErrNotFound), errors.Is(err, content.ErrUnauthorized):
		return lease.ReasonBadManifest, "an input could not be had from the tenant: " + err.Error(), false
	}
	return lease.ReasonTenantVanished, "the inputs could not be fetched: " + err.Error(), false
}

// ensure fetches whatever is not there and prepares the program. Before the lease
// is open nothing is made that lasts: no volume, and no use of secrets.
func (j *job) ensure(ctx context.Context, open bool) error {
	j.prepMu.Lock()
	defer j.prepMu.Unlock()
	if j.prepared != nil {
		return nil
	}
	if j.a.d.diskFull() {
		return errDisk
	}
	runtime := j.a.d.pick(j.a.man, j.a.order.Constraints)
	if runtime == nil {
		return fmt.Errorf("%w: runtime %q is not offered here at the isolation that was ordered", compute.ErrUnavailable, j.a.man.Runtime)
	}
	if err := os.MkdirAll(filepath.Join(j.dir, "tasks"), 0o700); err != nil {
		return fmt.Errorf("lease folder: %w", err)
	}
	if err := j.fetchProgram(ctx); err != nil {
		return err
	}
	spec := j.spec()
	var err error
	if spec.Egress, err = j.egress(); err != nil {
		return err
	}
	for _, in := range j.a.man.Inputs {
		dest := j.input(in.Name)
		if err := j.fetch(ctx, in.CID, in.Bytes, dest); err != nil {
			return fmt.Errorf("fetch input %s: %w", in.Name, err)
		}
		spec.Inputs = append(spec.Inputs, compute.Input{Name: in.Name, Path: dest})
	}
	if !open && (len(j.a.man.Volumes) > 0 || len(j.a.man.Secrets) > 0 || j.a.man.GPUs > 0) {
		return nil
	}
	if _, err := j.reveal(); err != nil {
		return err
	}
	if spec.Volumes, err = j.a.d.attic.open(ctx, j.a); err != nil {
		return err
	}
	if spec.Devices, err = j.a.d.gpus.take(j.a.row.ID, j.dir, wantedOf(j.a.order)); err != nil {
		return err
	}
	prepared, err := runtime.Prepare(ctx, spec)
	if err != nil {
		return err
	}
	j.prepared, j.runtime = prepared, runtime
	j.mu.Lock()
	j.tier = runtime.Tier()
	j.mu.Unlock()
	j.a.changed()
	return nil
}

func (j *job) isolation() string {
	if j == nil {
		return ""
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	return string(j.tier)
}

// load is how far a transfer is, and when it was last told.
type load struct {
	bytes, total uint64
	told         time.Time
}

// tellEvery is how often a tenant who waits hears how far it is.
const tellEvery = 500 * time.Millisecond

// loading notes how far a transfer is; zeros end it.
func (j *job) loading(bytes, total uint64) {
	j.mu.Lock()
	now, before := time.Now(), j.load
	j.load = load{min(bytes, total), total, before.told}
	tell := now.Sub(before.told) >= tellEvery
	if total == 0 {
		tell = before.total != 0 && !before.told.IsZero()
	} else if tell {
		j.load.told = now
	}
	j.mu.Unlock()
	if tell {
		j.a.changed()
	}
}

func (j *job) loaded() (bytes, total uint64) {
	if j == nil {
		return 0, 0
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.load.bytes, j.load.total
}

func (j *job) fetchProgram(ctx context.Context) error {
	if !j.a.man.Image.IsZero() {
		return j.pullImage(ctx)
	}
	if err := j.fetch(ctx, j.a.man.Module, j.a.man.ModuleBytes, j.program()); err != nil {
		return fmt.Errorf("fetch module: %w", err)
	}
	return nil
}

func (j *job) fetch(ctx context.Context, root []byte, bytes uint64, dest string) error {
	if _, err := os.Lstat(dest); err == nil {
		return nil // complete: it appears by renaming
	}
	if err := os.RemoveAll(dest + ".partial"); err != nil { // of a fetch that was killed
		return err
	}
	pantry := j.a.d.pantry
	if pantry != nil && pantry.store.Take(root, dest) {
		return nil // another lease brought it, and it was verified then
	}
	began := time.Now()
	err := j.a.d.wares.Fetch(ctx, j.a.row.Tenant, j.a.row.OrderHash, root, bytes, dest, func(n uint64) { j.loading(n, bytes) })
	j.loading(0, 0)
	if err != nil || pantry == nil {
		return err
	}
	pantry.loaded(bytes, time.Since(began))
	if err := pantry.store.Give(root, dest); err != nil {
		j.a.log.Warn("not kept for others", "err", err)
	}
	return nil
}

func (j *job) spec() compute.Spec {
	m := j.a.man
	timeout := min(m.TaskTimeoutMS, j.a.order.Terms.TimeoutMS)
	if timeout == 0 {
		timeout = j.a.order.Terms.TimeoutMS
	}
	return compute.Spec{
		Dir: j.dir, Program: j.program(), ProgramKey: m.Module, Args: m.Args, Env: m.Environ(), Array: m.Array,
		Limits: compute.Limits{
			MemoryBytes: m.MemoryBytes, OutputBytes: m.OutputBytesMax, LogBytes: m.LogBytesMax,
			CPUMilli: min(quantities(j.a.order.Quantities)[DimCPU], compute.MaxCPUMilli),
			ShmBytes: m.ShmBytes,
			Timeout:  time.Duration(timeout) * time.Millisecond,
		},
	}
}

// keep serves results again after a restart; before one they are served already.
func (j *job) keep(ctx context.Context) {
	j.mu.Lock()
	done := j.kept
	j.kept = true
	if done {
		j.mu.Unlock()
		return
	}
	again := make(chan struct{})
	j.again = again
	j.mu.Unlock()
	j.a.mu.Lock()
	tasks := append([]taskView(nil), j.a.tasks...)
	j.a.mu.Unlock()
	j.a.d.wg.Go(func() {
		defer close(again)
		for _, t := range tasks {
			if t.outcome == nil || len(t.outcome.Output) == 0 {
				continue
			}
			if _, _, err := j.a.d.wares.Offer(ctx, j.a.row.OrderHash, j.run(t.index).Out()); err != nil && ctx.Err() == nil {
				j.a.log.Warn("a kept result cannot be served", "task", t.index, "err", err)
			}
		}
	})
}

// shelving reports that results are being made available again. On nil it is false.
func (j *job) shelving() bool {
	if j == nil {
		return false
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.again == nil {
		return false
	}
	select {
	case <-j.again:
		return false
	default:
		return true
	}
}

// release gives the prepared program back once nothing will start any more. It
// waits for a preparation under way. On nil it does nothing.
func (j *job) release() {
	if j == nil {
		return
	}
	j.prepMu.Lock()
	defer j.prepMu.Unlock()
	if j.prepared != nil {
		_ = j.prepared.Close()
		j.prepared = nil
	}
}

func (j *job) remove() {
	j.release()
	j.stdin.close()
	if err := os.RemoveAll(j.dir); err != nil {
		j.a.log.Warn("lease folder cannot be removed", "err", err)
	}
}
