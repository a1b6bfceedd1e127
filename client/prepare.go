package client

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"sort"
	"strings"
	"time"

	"github.com/moyai-network/moyai/compute/egress"
	"github.com/moyai-network/moyai/compute/manifest"
	"github.com/moyai-network/moyai/mechanism/amount"
	"github.com/moyai-network/moyai/p2p/content"
)

// Bounds of a job, beyond those of the manifest.
const (
	maxTasks    = 1 << 20
	maxParallel = 64
	minUnacked  = 2 * time.Second
)

// EnsureDefaults fills what was left zero.
func (j *Job) EnsureDefaults() {
	setDefault(&j.CPUMilli, 1000)
	setDefault(&j.MemoryBytes, 256<<20)
	setDefault(&j.OutputBytesMax, 1<<30)
	setDefault(&j.LogBytesMax, 16<<20)
	setDefault(&j.TaskTimeout, j.Timeout)
	if j.Image != "" { // a hundred times larger than any module
		setDefault(&j.MaxGrace, 10*time.Minute)
	}
	setDefault(&j.MaxGrace, 2*time.Minute)
	setDefault(&j.KeepResults, time.Hour)
	setDefault(&j.MaxUnacked, 10*time.Second)
	setDefault(&j.ImageBytesMax, 8<<30)
	j.Volumes = slices.Clone(j.Volumes)
	for i := range j.Volumes {
		setDefault(&j.Volumes[i].Keep, 24*time.Hour)
	}
	if len(j.Egress) > 0 {
		setDefault(&j.EgressBytes, 1<<30)
	}
	if j.Array != nil {
		a := *j.Array // the caller's value stays as it is
		setDefault(&a.Parallel, 4)
		setDefault(&a.MaxAttempts, 3)
		if a.Last >= a.First && uint64(a.Parallel) > a.Tasks() {
			a.Parallel = int(a.Tasks())
		}
		j.Array = &a
	}
}

func setDefault[T comparable](field *T, value T) {
	var zero T
	if *field == zero {
		*field = value
	}
}

// Validate finds what is wrong with the job itself. It touches neither the
// network nor the files, except to see that they are there.
func (j *Job) Validate() error {
	bad := func(format string, args ...any) error {
		return fmt.Errorf("%w: "+format, append([]any{ErrBadJob}, args...)...)
	}
	switch {
	case j.Module == "" && j.Image == "":
		return bad("no module given: name a .wasm file, an image archive or an image")
	case j.Module != "" && j.Image != "":
		return bad("both a module and an image: one says what to run")
	case len(j.Volumes) > 0 && j.Array != nil && j.Array.Parallel > 1:
		return bad("a volume is had by one lease at a time: run the array with --parallel 1")
	case j.Timeout < time.Millisecond:
		return bad("no timeout given: say how long the lease may last, for example 10m")
	case j.KeepResults < time.Millisecond:
		return bad("results kept for %s: say how long, such as 1h", j.KeepResults)
	case j.MaxUnacked < minUnacked:
		return bad("max unacked %s: receipts come every second, so it must be at least %s", j.MaxUnacked, minUnacked)
	case j.MaxPrice.Denom == "" || j.MaxPrice.PerSeconds == 0:
		return bad("no price ceiling given: say what you would pay at most, for example 0.05MOY/h")
	case j.TaskTimeout > j.Timeout:
		return bad("a task may take %s, but the lease ends after %s: raise the timeout", j.TaskTimeout, j.Timeout)
	case j.Array != nil && j.Array.Last < j.Array.First:
		return bad("the array goes from %d down to %d", j.Array.First, j.Array.Last)
	case j.Array != nil && j.Array.Tasks()-1 >= maxTasks:
		return bad("the array has %d tasks, at most %d", j.Array.Tasks(), maxTasks)
	case j.Array != nil && (j.Array.Parallel < 1 || j.Array.Parallel > maxParallel):
		return bad("%d leases at once, must be 1 to %d", j.Array.Parallel, maxParallel)
	case j.Array != nil && j.Stdin != nil:
		return bad("an array job has no standard input: use an input file")
	}
	return j.validateInputs(bad)
}

func (j *Job) validateInputs(bad func(string, ...any) error) error {
	seen := map[string]bool{}
	for _, in := range j.Inputs {
		switch {
		case in.Name == "" || in.Name == "." || in.Name == ".." || strings.ContainsAny(in.Name, "/\\\x00"):
			return bad("input name %q: it becomes /in/NAME, so give a plain name: --input NAME=PATH", in.Name)
		case seen[in.Name]:
			return bad("two inputs are named %q", in.Name)
		}
		seen[in.Name] = true
		if _, err := os.Stat(in.Path); err != nil {
			return bad("input %s: %w", in.Name, err)
		}
	}
	for k := range j.Env {
		if strings.HasPrefix(k, "MOYAI_") {
			return bad("environment variable %s: names beginning with MOYAI_ are reserved", k)
		}
	}
	return nil
}

// checkOutput makes sure that results can be put where they shall go, by
// putting something there.
func (j *Job) checkOutput() error {
	if j.Output == "" {
		return nil
	}
	fail := func(err error) error { return fmt.Errorf("%w: %s: %w", ErrOutput, j.Output, err) }
	if err := os.MkdirAll(j.Output, 0o755); err != nil {
		return fail(err)
	}
	entries, err := os.ReadDir(j.Output)
	if err != nil {
		return fail(err)
	}
	if len(entries) > 0 && !j.Overwrite {
		return fail(fmt.Errorf("it is not empty (%s is there): choose another or allow overwriting", entries[0].Name()))
	}
	f, err := os.CreateTemp(j.Output, ".moyai-*")
	if err != nil {
		return fail(err)
	}
	_, werr := f.Write([]byte("x"))
	if err := errors.Join(werr, f.Close(), os.Remove(f.Name())); err != nil {
		return fail(err)
	}
	return nil
}

// program is a job made ready to be sent: hashed, described, priced.
type program struct {
	manifest []byte
	specHash [32]byte
	decoded  manifest.Manifest
	sources  []*content.Source
	bytes    uint64 // module and inputs together
	ceiling  amount.Rate
}

// prepare hashes the files and writes the manifest.
func prepare(ctx context.Context, j *Job) (*program, error) {
	ceiling, err := j.MaxPrice.Rate()
	if err != nil {
		return nil, fmt.Errorf("%w: price ceiling: %w", ErrBadJob, err)
	}
	p := &program{ceiling: ceiling}
	m := manifest.Manifest{
		Version: manifest.Version1, Secrets: slices.Clone(j.SecretNames),
		Args: j.Args, MemoryBytes: j.MemoryBytes, OutputBytesMax: j.OutputBytesMax, LogBytesMax: j.LogBytesMax,
		TaskTimeoutMS: uint64(j.TaskTimeout.Milliseconds()), Array: j.Array != nil, ShmBytes: j.ShmBytes, GPUs: j.GPUs + j.GPUSlices,
		KeepResultsMS: uint64(j.KeepResults.Milliseconds()),
	}
	if err := p.addProgram(ctx, j, &m); err != nil {
		return nil, err
	}
	for _, v := range j.Volumes {
		m.Volumes = append(m.Volumes, manifest.Volume{Name: v.Name, Path: v.Path, Bytes: v.Bytes, KeepMS: uint64(v.Keep.Milliseconds())})
	}
	policy, err := egress.ParsePolicy(j.Egress)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrBadJob, err)
	}
	if len(policy) > 0 {
		m.Egress = manifest.Egress{Rules: policy.Texts(), Bytes: j.EgressBytes}
	}
	for k, v := range j.Env {
		m.Env = append(m.Env, manifest.Var{Key: k, Value: v})
	}
	for _, in := range j.Inputs {
		src, err := content.Build(ctx, in.Path)
		if err != nil {
			return nil, fmt.Errorf("%w: input %s (%s): %w", ErrBadJob, in.Name, in.Path, err)
		}
		p.add(src)
		m.Inputs = append(m.Inputs, manifest.Input{Name: in.Name, CID: src.Root().Bytes(), Bytes: src.Size()})
	}
	m.Sort()
	if p.manifest, err = manifest.Encode(m); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrBadJob, err)
	}
	p.specHash, p.decoded = manifest.SpecHash(p.manifest), m
	return p, nil
}

// addProgram describes what runs: a file of this machine, or an image that the
// provider pulls.
func (p *program) addProgram(ctx context.Context, j *Job, m *manifest.Manifest) error {
	if j.Image != "" {
		r := j.Resolved
		m.Runtime, m.ModuleBytes = manifest.RuntimeContainer, r.Bytes
		m.Image = manifest.Image{Reference: r.Reference, Digest: r.Digest, Platform: j.Platform}
		p.bytes += r.Bytes
		return nil
	}
	runtime, err := checkModule(j.Module)
	if err != nil {
		return err
	}
	module, err := content.Build(ctx, j.Module)
	if err != nil {
		return fmt.Errorf("%w: module %s: %w", ErrBadJob, j.Module, err)
	}
	p.add(module)
	m.Runtime, m.Module, m.ModuleBytes = runtime, module.Root().Bytes(), module.Size()
	return nil
}

func (p *program) add(src *content.Source) {
	p.sources = append(p.sources, src)
	p.bytes += src.Size()
}

// candidates is how many providers are shown the manifest before opening. Each
// may begin to fetch at once, so large contents go to few.
func (p *program) candidates() int {
	switch {
	case p.bytes <= 1<<20:
		return 4
	case p.bytes <= 16<<20:
		return 2
	}
	return 1
}

// absolute makes the job's paths absolute: another process, with another working
// directory, may go on with it.
func absolute(j *Job) error {
	fix := func(p *string) (err error) {
		if *p != "" {
			*p, err = filepath.Abs(*p)
		}
		return err
	}
	err := errors.Join(fix(&j.Module), fix(&j.Output))
	j.Inputs = append([]Input(nil), j.Inputs...)
	for i := range j.Inputs {
		err = errors.Join(err, fix(&j.Inputs[i].Path))
	}
	sort.Slice(j.Inputs, func(a, b int) bool { return j.Inputs[a].Name < j.Inputs[b].Name })
	return err
}
