package docker

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"sync"
	"unicode/utf8"

	"github.com/containerd/errdefs"
	"github.com/moby/moby/client"

	"github.com/moyai-network/moyai/compute"
	"github.com/moyai-network/moyai/compute/docker/stand"
	"github.com/moyai-network/moyai/compute/image/archive"
	"github.com/moyai-network/moyai/compute/image/launch"
	"github.com/moyai-network/moyai/compute/image/unpacked"
	"github.com/moyai-network/moyai/compute/internal/filelock"
)

// Runtime implements compute.Runtime.
type Runtime struct {
	config Config
	engine *engine
	images *unpacked.Store[kept]

	mu    sync.Mutex
	tasks map[string]*task // running, by directory
}

var _ compute.Runtime = (*Runtime)(nil)

// New finds Docker and checks it, prepares the folders, and ends containers of ours
// that nobody stands over any more.
//
// Errors: compute.ErrUnavailable, with what to do.
func New(config Config) (*Runtime, error) {
	config.EnsureDefaults()
	if config.Home == "" {
		return nil, fmt.Errorf("%w: no folder given for images", compute.ErrUnavailable)
	}
	if err := config.find(); err != nil {
		return nil, err
	}
	e, err := connect(context.Background(), config.Socket)
	if err != nil {
		return nil, err
	}
	for _, dir := range []string{"images", "scratch", "tasks"} {
		if err := os.MkdirAll(filepath.Join(config.Home, dir), 0o700); err != nil {
			return nil, errors.Join(unavailable("home", err), e.Close())
		}
	}
	e.repository = repository(config.Home)
	r := &Runtime{config: config, engine: e, tasks: map[string]*task{}}
	r.images = unpacked.New(unpacked.Config{
		Dir: filepath.Join(config.Home, "images"), Scratch: filepath.Join(config.Home, "scratch"), Architecture: architecture, CacheBytes: config.CacheBytes,
		Limits: archive.Limits{UnpackedBytes: config.ImageBytes, Entries: config.ImageEntries, Layers: config.ImageLayers},
	}, e)
	r.sweep()
	return r, nil
}

// Missing says what this machine lacks for containers by way of Docker. It makes and
// starts nothing.
//
// Errors: compute.ErrUnavailable.
func Missing(ctx context.Context, config Config) error {
	if err := config.find(); err != nil {
		return err
	}
	e, err := connect(ctx, config.Socket)
	if err != nil {
		return err
	}
	return e.Close()
}

// find fills in the executables.
func (c *Config) find() error {
	var err error
	if c.Home, err = filepath.Abs(c.Home); err != nil {
		return unavailable("home", err)
	}
	for _, p := range []struct {
		path *string
		name string
	}{{&c.Supervisor, "moyai-docker"}, {&c.Worker, "moyai-worker"}} {
		if *p.path != "" {
			continue
		}
		if *p.path, err = lookPath(p.name); err != nil {
			return fmt.Errorf("%w: %s is not installed: put it beside this program (make build does)", compute.ErrUnavailable, p.name)
		}
	}
	return nil
}

// lookPath looks beside this program, then in PATH.
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
	return exec.LookPath(name)
}

// Name implements compute.Runtime.
func (r *Runtime) Name() string { return Name }

// Tier implements compute.Runtime.
func (r *Runtime) Tier() compute.Tier { return compute.TierContainer }

// Close implements compute.Runtime.
func (r *Runtime) Close() error { return r.engine.Close() }

// lock is what the supervisor of a container holds while it stands over it.
func (r *Runtime) lock(name string) string {
	return filepath.Join(r.config.Home, "tasks", name+".lock")
}

// sweep ends containers whose supervisor was killed while nobody was there to see it:
// without one their limits do not hold.
func (r *Runtime) sweep() {
	ctx, cancel := context.WithTimeout(context.Background(), r.config.StartTimeout)
	defer cancel()
	list, err := r.engine.ContainerList(ctx, client.ContainerListOptions{All: true, Filters: make(client.Filters).Add("label", stand.LabelHome+"="+r.config.Home)})
	if err != nil {
		return // the next one will
	}
	for _, c := range list.Items {
		path := c.Labels[stand.LabelLock]
		if filepath.Dir(path) != filepath.Join(r.config.Home, "tasks") {
			continue
		}
		if _, err := os.Stat(path); err == nil {
			held := filelock.Try(path)
			if held == nil {
				continue // somebody stands over it
			}
			defer held.Close()
		}
		if r.engine.remove(ctx, c.ID) == nil {
			os.Remove(path)
		}
	}
}

// remove ends a container and takes it away, if it is there.
func (e *engine) remove(ctx context.Context, name string) error {
	_, err := e.ContainerRemove(ctx, name, client.ContainerRemoveOptions{Force: true, RemoveVolumes: true})
	if notFound(err) {
		return nil
	}
	return err
}

func notFound(err error) bool { return err != nil && errdefs.IsNotFound(err) }

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
	if err := checkSupported(&spec); err != nil {
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
	if err == nil && !r.engine.ownUser {
		for _, in := range spec.Inputs {
			err = errors.Join(err, readable(in))
		}
	}
	if err != nil {
		held.Close()
		return nil, err
	}
	return &prepared{r: r, spec: spec, image: img, hash: hash, command: command, held: held}, nil
}

// checkSupported refuses by name what Docker, or what we do with it, cannot give.
func checkSupported(spec *compute.Spec) error {
	refuse := func(format string, args ...any) error {
		return fmt.Errorf("%w: %s", compute.ErrInvalidSpec, fmt.Sprintf(format, args...))
	}
	l := &spec.Limits
	switch {
	case l.MemoryBytes < leastMemory || l.Pids < leastPids:
		return refuse("a container needs at least %d MiB of memory and %d processes", leastMemory>>20, leastPids)
	case spec.Deterministic:
		return refuse("a container cannot be made deterministic: use the wasm runtime for work that is to be replayed")
	case len(spec.Volumes) > 0:
		return refuse("volumes are not supported by way of Docker yet")
	case len(spec.Devices) > 0:
		return refuse("devices are not supported by way of Docker yet")
	case spec.Egress != nil:
		return refuse("egress is not supported by way of Docker yet")
	case !isText(spec.Args, spec.Env):
		return refuse("an argument or a variable is not UTF-8, and Docker takes no other")
	}
	return nil
}

// isText reports that JSON, in which Docker is told everything, does not change a word.
func isText(lists ...[]string) bool {
	return !slices.ContainsFunc(slices.Concat(lists...), func(s string) bool { return !utf8.ValidString(s) })
}

func checkFiles(spec compute.Spec) error {
	info, err := os.Stat(spec.Program)
	switch {
	case err != nil:
		return fmt.Errorf("%w: image: %w", compute.ErrInvalidSpec, err)
	case !info.Mode().IsRegular() && !info.IsDir():
		return launch.Bad("%s is neither a file nor a folder", filepath.Base(spec.Program))
	}
	if err := spec.CheckInputs(); err != nil {
		return err
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
