package container

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"

	"github.com/moyai-network/moyai/compute"
	"github.com/moyai-network/moyai/compute/container/supervise"
	"github.com/moyai-network/moyai/compute/egress/uplink"
	"github.com/moyai-network/moyai/compute/image/archive"
	"github.com/moyai-network/moyai/compute/image/unpacked"
	"github.com/moyai-network/moyai/compute/internal/filelock"
)

// Runtime implements compute.Runtime.
type Runtime struct {
	config Config
	engine *engine
	images *unpacked.Store[layers]
	oci    supervise.OCI // what makes this tier's containers

	mu    sync.Mutex
	tasks map[string]*task // running, by directory
}

var _ compute.Runtime = (*Runtime)(nil)

// New checks config and what the machine has, prepares the folders, and ends
// containers that nobody stands over any more. It starts no containerd before the
// first image is unpacked.
//
// Errors: compute.ErrUnavailable, with what to install or change.
func New(config Config) (*Runtime, error) {
	config.EnsureDefaults()
	if config.Home == "" {
		return nil, fmt.Errorf("%w: no folder given for images", compute.ErrUnavailable)
	}
	if err := config.find(); err != nil {
		return nil, err
	}
	e, err := newEngine(config)
	if err != nil {
		return nil, err
	}
	r := &Runtime{config: config, engine: e, tasks: map[string]*task{}}
	r.images = unpacked.New(unpacked.Config{
		Dir: filepath.Join(config.Home, "images"), Scratch: filepath.Join(config.Home, "scratch"), Architecture: architecture, CacheBytes: config.CacheBytes,
		Limits: archive.Limits{UnpackedBytes: config.ImageBytes, Entries: config.ImageEntries, Layers: config.ImageLayers},
	}, e)
	r.oci = e.oci(config.Tier)
	r.sweep()
	return r, nil
}

// Missing says what this machine lacks for containers, and how to get it. It makes
// and starts nothing: that they do run is for Probe to show.
//
// Errors: compute.ErrUnavailable.
func Missing(config Config) error {
	config.EnsureDefaults()
	return config.find()
}

// find fills in the executables and checks them.
func (c *Config) find() error {
	if os.Geteuid() != 0 {
		return fmt.Errorf("%w: containers need root here: run the provider as root", compute.ErrUnavailable)
	}
	var err error
	if c.Home, err = filepath.Abs(c.Home); err != nil {
		return unavailable("home", err)
	}
	oci := program{&c.Runc, "runc", "apt-get install runc"}
	switch c.Tier {
	case compute.TierContainer:
	case compute.TierGVisor:
		oci = program{&c.Runsc, "runsc", "`make runsc` builds it beside this program, or see https://gvisor.dev/docs/user_guide/install"}
	default:
		return fmt.Errorf("%w: containers have no tier %q", compute.ErrUnavailable, c.Tier)
	}
	for _, p := range []program{
		oci,
		{&c.Containerd, "containerd", "apt-get install containerd"},
		{&c.Worker, "moyai-worker", "put it beside this program (make build does)"},
	} {
		if *p.path != "" || p.name == "containerd" && c.Socket != "" {
			continue
		}
		if *p.path, err = lookPath(p.name); err != nil {
			return fmt.Errorf("%w: %s is not installed: %s", compute.ErrUnavailable, p.name, p.fix)
		}
	}
	if c.Gateway == "" {
		c.Gateway, _ = lookPath("moyai-egress") // without it there is no egress, and nothing else is amiss
	}
	said, err := exec.Command(*oci.path, "--version").Output()
	if err != nil {
		return unavailable("run "+*oci.path, err)
	}
	c.mended = bytes.Contains(said, []byte(mendedRunsc))
	if c.Tier == compute.TierContainer && !bytes.Contains(said, []byte("libseccomp:")) {
		return fmt.Errorf("%w: %s is built without seccomp, so its containers could use every system call: apt-get install runc", compute.ErrUnavailable, c.Runc)
	}
	return nil
}

// mendedRunsc is in the version of a runsc that scripts/gvisor.sh built.
const mendedRunsc = "-moyai2"

// program is an executable that is needed, and how it is had.
type program struct {
	path      *string
	name, fix string
}

// lookPath looks beside this program, then in PATH, then where root's PATH may
// not lead although root's programs are there.
func lookPath(name string) (string, error) {
	if self, err := os.Executable(); err == nil {
		if resolved, err := filepath.EvalSymlinks(self); err == nil {
			self = resolved
		}
		beside := filepath.Join(filepath.Dir(self), name)
		if info, err := os.Stat(beside); err == nil && info.Mode().IsRegular() {
			return beside, nil
		}
	}
	path, err := exec.LookPath(name)
	for _, dir := range []string{"/usr/local/sbin", "/usr/sbin"} {
		if err == nil {
			break
		}
		path, err = exec.LookPath(filepath.Join(dir, name))
	}
	return path, err
}

// Name implements compute.Runtime.
func (r *Runtime) Name() string { return Name }

// Tier implements compute.Runtime.
func (r *Runtime) Tier() compute.Tier { return r.config.Tier }

// Close implements compute.Runtime. A containerd of ours stays, for the next.
func (r *Runtime) Close() error {
	r.engine.close()
	return nil
}

// StopEngine ends the containerd that this or an earlier Runtime of the same home
// started, as when a machine leaves the network. Containers run on.
//
// Errors: compute.ErrUnavailable.
func (r *Runtime) StopEngine() error {
	r.engine.close()
	return r.engine.shutdown()
}

// sweep ends containers whose supervisor was killed while nobody was there to
// see it: without one their limits do not hold.
func (r *Runtime) sweep() {
	entries, err := os.ReadDir(r.oci.Root)
	if err != nil {
		return
	}
	for _, e := range entries {
		path := r.engine.lock(e.Name())
		if _, err := os.Stat(path); err == nil {
			held := filelock.Try(path)
			if held == nil {
				continue // somebody stands over it
			}
			defer held.Close()
		}
		if err := r.oci.Delete(e.Name()); err == nil {
			os.Remove(path)
		}
	}
}

// prepared implements compute.Prepared.
type prepared struct {
	r       *Runtime
	spec    compute.Spec
	image   *image
	hash    string
	command []string

	once sync.Once
	held *os.File // the image's lock
}

// Prepare implements compute.Runtime.
func (r *Runtime) Prepare(ctx context.Context, spec compute.Spec) (compute.Prepared, error) {
	p, err := r.prepare(ctx, spec)
	if err != nil {
		return nil, err // not p: a nil *prepared would be a non-nil interface
	}
	return p, nil
}

// What runc itself needs within a container before its program begins.
const (
	leastMemory = 16 << 20
	leastPids   = 16
)

func (r *Runtime) prepare(ctx context.Context, spec compute.Spec) (*prepared, error) {
	spec.Limits.EnsureDefaults()
	if err := spec.Validate(); err != nil {
		return nil, err
	}
	if l := spec.Limits; l.MemoryBytes < leastMemory || l.Pids < leastPids {
		return nil, fmt.Errorf("%w: a container needs at least %d MiB of memory and %d processes", compute.ErrInvalidSpec, leastMemory>>20, leastPids)
	}
	if spec.Deterministic {
		return nil, fmt.Errorf("%w: a container cannot be made deterministic: use the wasm runtime for work that is to be replayed", compute.ErrInvalidSpec)
	}
	if err := r.checkSupported(&spec); err != nil {
		return nil, err
	}
	if err := checkFiles(spec); err != nil {
		return nil, err
	}
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	img, hash, held, err := r.images.Ensure(ctx, spec.Program)
	if err != nil {
		return nil, err
	}
	command, err := img.Command(spec.Args)
	if err != nil {
		held.Close()
		return nil, err
	}
	return &prepared{r: r, spec: spec, image: img, hash: hash, command: command, held: held}, nil
}

func checkFiles(spec compute.Spec) error {
	info, err := os.Stat(spec.Program)
	switch {
	case err != nil:
		return fmt.Errorf("%w: image: %w", compute.ErrInvalidSpec, err)
	case !info.Mode().IsRegular() && !info.IsDir():
		return fmt.Errorf("%w: not an image: %s is neither a file nor a folder", compute.ErrBadProgram, filepath.Base(spec.Program))
	}
	if err := spec.CheckInputs(); err != nil {
		return err
	}
	for _, v := range spec.Volumes {
		if info, err := os.Stat(v.File); err != nil || !info.Mode().IsRegular() {
			return fmt.Errorf("%w: the volume for %s was never made", compute.ErrInvalidSpec, v.At)
		}
	}
	if err := os.MkdirAll(spec.Dir, 0o700); err != nil {
		return unavailable("task directory", err)
	}
	return nil
}

// Spec implements compute.Prepared.
func (p *prepared) Spec() compute.Spec { return p.spec }

// Close implements compute.Prepared: the image may go when its last task has.
func (p *prepared) Close() error {
	p.once.Do(func() { p.held.Close() })
	return nil
}

// version names the engines for a person.
func (r *Runtime) version(ctx context.Context) (string, error) {
	client, err := r.engine.connect(ctx)
	if err != nil {
		return "", err
	}
	v, err := client.Version(ctx)
	if err != nil {
		return "", failed(ctx, "ask for its version", err)
	}
	said, err := exec.CommandContext(ctx, r.oci.Path, "--version").Output()
	if err != nil {
		return "", failed(ctx, "ask "+r.oci.Path+" for its version", err)
	}
	first, _, _ := strings.Cut(string(said), "\n")
	return "containerd " + v.Version + ", " + strings.Replace(first, " version", "", 1), nil
}

var errNotOurs = errors.New("it was not prepared by this runtime")

// job is the supervisor's part of a task.
func (p *prepared) job(run compute.Run, id string, base uint32) supervise.Job {
	limits := &p.spec.Limits
	inputs := make([]string, len(p.spec.Inputs))
	for i, in := range p.spec.Inputs {
		inputs[i] = in.Path
	}
	volumes := make([]string, len(p.spec.Volumes))
	for i, v := range p.spec.Volumes {
		volumes[i] = v.File
	}
	job := supervise.Job{
		ID: id, Dir: run.Dir, OCI: p.r.oci,
		ImageLock: p.r.images.Lock(p.hash), TaskLock: p.r.engine.lock(id),
		Lowers: p.image.Kept.Lowers, Inputs: inputs, Volumes: volumes, Stdin: run.Stdin,
		UIDBase: base, IDs: idsPerContainer, UID: int(base + p.image.User.UID), GID: int(base + p.image.User.GID),
		MemoryBytes: limits.MemoryBytes, OverheadBytes: p.r.overhead(), Pids: limits.Pids, OutputBytes: limits.OutputBytes, OutputFiles: limits.OutputFiles,
		LogBytes: limits.LogBytes, TruncateLogs: limits.TruncateLogs, Timeout: limits.Timeout,
	}
	if p.spec.Egress != nil {
		job.OCI.Uplinked = true
		nobody := int(base + idsPerContainer - 1) // no user of an image has that number
		job.Egress = &uplink.Job{
			Gateway: p.r.config.Gateway, UID: nobody, GID: nobody, Egress: *p.spec.Egress, Task: run.ID,
			Counter: filepath.Join(run.Dir, supervise.EgressFile),
		}
	}
	return job
}

// checkSupported refuses what this machine cannot give.
//
// Errors: compute.ErrInvalidSpec for devices with gVisor, compute.ErrUnavailable.
func (r *Runtime) checkSupported(spec *compute.Spec) error {
	if len(spec.Devices) > 0 && r.oci.GVisor() {
		return fmt.Errorf("%w: devices are not supported at the tier %s yet", compute.ErrInvalidSpec, r.config.Tier)
	}
	if spec.Egress == nil {
		return nil
	}
	e := *spec.Egress // the caller's stays as it is
	e.EnsureDefaults()
	spec.Egress = &e
	if r.config.Gateway == "" {
		return fmt.Errorf("%w: egress needs moyai-egress, which is not installed: put it beside this program (make build does)", compute.ErrUnavailable)
	}
	if _, err := os.Stat("/dev/net/tun"); err != nil {
		return fmt.Errorf("%w: egress needs TUN devices (modprobe tun): %w", compute.ErrUnavailable, err)
	}
	return nil
}
