package compute

import (
	"errors"
	"fmt"
	"os"
	"path"
	"path/filepath"
	"strings"
	"time"
)

// Sentinels of Runtime's methods. Texts wrapped around them are for people.
var (
	// ErrInvalidSpec: a Spec or Run the caller should not have sent.
	ErrInvalidSpec = errors.New("invalid spec")
	// ErrBadProgram: the program itself cannot run here; the tenant must fix it.
	ErrBadProgram = errors.New("bad program")
	// ErrUnavailable: this machine cannot do it now; the tenant did no wrong.
	ErrUnavailable = errors.New("runtime unavailable")
	// ErrExists: the directory already holds a task.
	ErrExists = errors.New("task already exists")
	// ErrVolumeInUse: a task has the volume.
	ErrVolumeInUse = errors.New("volume is in use")
	// ErrNotFound: no such task was ever started.
	ErrNotFound = errors.New("no such task")
)

// Bounds of a Spec and a Run, checked before anything is done with them.
const (
	MaxArgs     = 1024    // arguments
	MaxEnv      = 1024    // environment variables
	MaxArgBytes = 1 << 17 // bytes of arguments and environment together
	MaxInputs   = 256     // inputs
	MaxVolumes  = 64      // volumes
	MaxDevices  = 64      // devices
	MaxName     = 128     // bytes of an Input.Name
	MaxID       = 128     // bytes of a Run.ID
	MaxKey      = 64      // bytes of a Spec.ProgramKey
)

// Limits bound one task. Zero means the default, which EnsureDefaults fills in;
// there is no "unlimited".
type Limits struct {
	MemoryBytes  uint64        // the program's own memory
	OutputBytes  uint64        // apparent sizes of all files under /out, plus logs kept
	OutputFiles  uint64        // files and directories under /out
	LogBytes     uint64        // stdout and stderr together
	TruncateLogs bool          // at LogBytes drop further logs instead of ending the task
	Timeout      time.Duration // wall clock from Start

	// What follows is for runtimes whose programs have processes (containers);
	// the others hold one thread anyway.
	CPUMilli uint64 // thousandths of a core; zero: as many as the machine has
	Pids     uint64 // processes and threads
	ShmBytes uint64 // /dev/shm, part of MemoryBytes
}

// Defaults of Limits.
const (
	DefaultMemoryBytes = 512 << 20
	DefaultOutputBytes = 1 << 30
	DefaultOutputFiles = 65536
	DefaultLogBytes    = 16 << 20
	DefaultTimeout     = 10 * time.Minute
	DefaultPids        = 1024
)

// Bounds of Limits.
const (
	MaxCPUMilli = 1 << 20
	MaxPids     = 1 << 16
)

// EnsureDefaults fills in what was left zero.
func (l *Limits) EnsureDefaults() {
	setDefault(&l.MemoryBytes, DefaultMemoryBytes)
	setDefault(&l.OutputBytes, DefaultOutputBytes)
	setDefault(&l.OutputFiles, DefaultOutputFiles)
	setDefault(&l.LogBytes, DefaultLogBytes)
	setDefault(&l.Timeout, DefaultTimeout)
	setDefault(&l.Pids, DefaultPids)
	setDefault(&l.ShmBytes, l.MemoryBytes/2)
}

func (l *Limits) validate() error {
	switch {
	case l.Timeout < 0:
		return invalid("timeout %v is negative", l.Timeout)
	case l.CPUMilli > MaxCPUMilli:
		return invalid("%d thousandths of a core, at most %d are allowed", l.CPUMilli, MaxCPUMilli)
	case l.Pids > MaxPids:
		return invalid("%d processes, at most %d are allowed", l.Pids, MaxPids)
	case l.MemoryBytes > 0 && l.ShmBytes > l.MemoryBytes:
		return invalid("%d bytes of shared memory are more than the %d bytes of memory they are part of", l.ShmBytes, l.MemoryBytes)
	}
	return nil
}

func setDefault[T comparable](v *T, def T) {
	var zero T
	if *v == zero {
		*v = def
	}
}

// Validate checks a Spec's form. It touches no file: whether paths exist is for
// Prepare to find.
//
// Errors: ErrInvalidSpec.
func (s *Spec) Validate() error {
	if err := absolute("dir", s.Dir); err != nil {
		return err
	}
	if err := absolute("program", s.Program); err != nil {
		return err
	}
	if len(s.ProgramKey) > MaxKey {
		return invalid("program key has %d bytes, at most %d are allowed", len(s.ProgramKey), MaxKey)
	}
	if err := validEnv(s.Env); err != nil {
		return err
	}
	if err := validWords(s.Args, s.Env); err != nil {
		return err
	}
	if err := s.Limits.validate(); err != nil {
		return err
	}
	if err := s.Egress.validate(); err != nil {
		return err
	}
	if err := validInputs(s.Inputs); err != nil {
		return err
	}
	if err := validDevices(s.Devices); err != nil {
		return err
	}
	return validVolumes(s.Volumes)
}

// CheckInputs reports the first input that is not there or is no file or folder.
// Unlike Validate it looks at the disk.
//
// Errors: ErrInvalidSpec.
func (s *Spec) CheckInputs() error {
	for _, in := range s.Inputs {
		info, err := os.Stat(in.Path)
		if err != nil {
			return fmt.Errorf("%w: input %s is missing: %w", ErrInvalidSpec, in.Name, err)
		}
		if !info.IsDir() && !info.Mode().IsRegular() {
			return fmt.Errorf("%w: input %s is neither a file nor a directory", ErrInvalidSpec, in.Name)
		}
	}
	return nil
}

// reserved are places inside that a volume must not hide.
var reserved = []string{"/", "/dev", "/in", "/out", "/proc", "/sys"}

func validDevices(devices []string) error {
	if len(devices) > MaxDevices {
		return invalid("%d devices, at most %d are allowed", len(devices), MaxDevices)
	}
	for _, d := range devices {
		kind, name, ok := strings.Cut(d, "=")
		if vendor, class, whole := strings.Cut(kind, "/"); !ok || !whole || vendor == "" || class == "" || name == "" || len(d) > MaxName {
			return invalid("device %.140q is not named like vendor.com/class=name", d)
		}
	}
	return nil
}

func validVolumes(volumes []Volume) error {
	if len(volumes) > MaxVolumes {
		return invalid("%d volumes, at most %d are allowed", len(volumes), MaxVolumes)
	}
	files, places := map[string]bool{}, map[string]bool{}
	for _, v := range volumes {
		if err := absolute("volume", v.File); err != nil {
			return err
		}
		if !path.IsAbs(v.At) || path.Clean(v.At) != v.At || strings.IndexByte(v.At, 0) >= 0 {
			return invalid("volume at %q: use an absolute path without '.' and '..'", v.At)
		}
		for _, r := range reserved {
			if v.At == r || r != "/" && strings.HasPrefix(v.At, r+"/") {
				return invalid("volume at %q: that place is the runtime's own", v.At)
			}
		}
		if files[v.File] || places[v.At] {
			return invalid("volume at %q is given twice", v.At)
		}
		files[v.File], places[v.At] = true, true
	}
	return nil
}

// validWords bounds arguments, and the environment together with them.
func validWords(args, env []string) error {
	if len(args) > MaxArgs {
		return invalid("%d arguments, at most %d are allowed", len(args), MaxArgs)
	}
	size := 0
	for i, a := range args {
		if strings.IndexByte(a, 0) >= 0 {
			return invalid("argument %d contains a zero byte", i+1)
		}
		size += len(a)
	}
	for _, e := range env {
		size += len(e)
	}
	if size > MaxArgBytes {
		return invalid("arguments and environment are %d bytes, at most %d are allowed", size, MaxArgBytes)
	}
	return nil
}

func validInputs(inputs []Input) error {
	if len(inputs) > MaxInputs {
		return invalid("%d inputs, at most %d are allowed", len(inputs), MaxInputs)
	}
	seen := make(map[string]bool, len(inputs))
	for _, in := range inputs {
		if !ValidName(in.Name) {
			return invalid("input name %q: use one path element of at most %d bytes", in.Name, MaxName)
		}
		if seen[in.Name] {
			return invalid("input name %q is used twice", in.Name)
		}
		seen[in.Name] = true
		if err := absolute("input "+in.Name, in.Path); err != nil {
			return err
		}
	}
	return nil
}

// ValidName reports whether name may be an Input.Name: a single path element
// that is the same on every system.
func ValidName(name string) bool {
	return name != "" && name != "." && name != ".." && len(name) <= MaxName &&
		!strings.ContainsAny(name, "/\\\x00")
}

// Validate checks a Run's form against the Spec it belongs to.
//
// Errors: ErrInvalidSpec.
func (r *Run) Validate(s *Spec) error {
	if r.ID == "" || len(r.ID) > MaxID {
		return invalid("task id must have 1 to %d bytes, has %d", MaxID, len(r.ID))
	}
	if err := absolute("task directory", r.Dir); err != nil {
		return err
	}
	if !below(s.Dir, r.Dir) {
		return invalid("task directory %s is not below %s", r.Dir, s.Dir)
	}
	if r.Stdin != "" && !below(s.Dir, r.Stdin) {
		return invalid("stdin %s is not below %s", r.Stdin, s.Dir)
	}
	return validEnv(r.Env)
}

func validEnv(env []string) error {
	if len(env) > MaxEnv {
		return invalid("%d environment variables, at most %d are allowed", len(env), MaxEnv)
	}
	for _, e := range env {
		if i := strings.IndexByte(e, '='); i <= 0 {
			return invalid("environment entry %q is not KEY=VALUE", e)
		}
		if strings.IndexByte(e, 0) >= 0 {
			return invalid("environment entry %q contains a zero byte", e)
		}
	}
	return nil
}

func absolute(what, path string) error {
	if !filepath.IsAbs(path) {
		return invalid("%s: path %q is not absolute", what, path)
	}
	return nil
}

// below reports whether path lies strictly below dir, by name alone.
func below(dir, path string) bool {
	rel, err := filepath.Rel(dir, path)
	return err == nil && rel != "." && filepath.IsLocal(rel)
}

func invalid(format string, args ...any) error {
	return fmt.Errorf("%w: %s", ErrInvalidSpec, fmt.Sprintf(format, args...))
}

// MergeEnv is base with the entries of over added, later ones winning, in first
// appearance order.
func MergeEnv(base, over []string) []string {
	at := make(map[string]int, len(base)+len(over))
	merged := make([]string, 0, len(base)+len(over))
	for _, list := range [][]string{base, over} {
		for _, e := range list {
			key, _, _ := strings.Cut(e, "=")
			if i, ok := at[key]; ok {
				merged[i] = e
				continue
			}
			at[key] = len(merged)
			merged = append(merged, e)
		}
	}
	return merged
}
