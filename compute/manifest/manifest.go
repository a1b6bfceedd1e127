// Package manifest describes a program to run: which runtime, which module,
// with which arguments, environment, inputs and limits. A tenant writes one per
// job, puts the hash of its bytes into the order, and hands the bytes to the
// provider it chose; so it stays private and still binds both.
//
// It is data only: it moves no bytes, opens no files and knows neither peers
// nor money. Whoever decodes one has it from a stranger, and every field is
// bounded before it is looked at; what the names and numbers are worth on a
// given machine is for package compute to say.
package manifest

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/moyai-network/moyai/compute/egress"
	"github.com/moyai-network/moyai/wire/canonical"
)

// Version1 is the only version today.
const Version1 = 1

// Runtimes, as providers name them in the attribute "runtime" of their nodes.
const (
	RuntimeWasm      = "wasm"      // WASI preview 1 modules
	RuntimeContainer = "container" // OCI and docker image archives
)

// Bounds, in bytes unless said otherwise.
const (
	MaxBytes     = 64 << 10 // a manifest's encoding
	MaxRuntime   = 32
	MaxArgs      = 256 // entries
	MaxArg       = 8 << 10
	MaxEnv       = 256 // entries
	MaxEnvKey    = 128
	MaxEnvValue  = 8 << 10
	MaxArgsEnv   = 32 << 10 // all arguments, keys, values and names of secrets together
	MaxInputs    = 128      // entries
	MaxInputName = 128
	MaxContent   = 1 << 50 // one module or input, or the output, as files
	MaxMemory    = 1 << 46
	MaxVolumes   = 8  // entries
	MaxSecrets   = 64 // entries
	MaxReference = 512
	MaxPlatform  = 64
	MaxPath      = 256 // of a place inside
	MaxTimeoutMS = 366 * 24 * 3600 * 1000
	MaxEgress    = 4 << 10 // all egress rules together

	// CIDSize is the length of a binary CIDv1 of SHA-256, the only form used.
	CIDSize = 36
	MaxGPUs = 64
)

// ErrInvalid is wrapped by every refusal that concerns a field. Refusals of the
// bytes wrap canonical.ErrTooLarge or canonical.ErrNotCanonical.
var ErrInvalid = errors.New("invalid manifest")

// Manifest is one program with all that it needs. Every task of an array job
// runs the same manifest and learns its part from the environment variable
// MOYAI_INDEX.
type Manifest struct {
	Version        uint64   `cbor:"1,keyasint"`
	Runtime        string   `cbor:"2,keyasint"`  // such as RuntimeWasm
	Module         []byte   `cbor:"3,keyasint"`  // CID of the program, CIDSize bytes; empty if Image says what to run
	ModuleBytes    uint64   `cbor:"4,keyasint"`  // its length as a file, or of all that the image's registry sends; a fetch stops there
	Args           []string `cbor:"5,keyasint"`  // after the program's own name
	Env            []Var    `cbor:"6,keyasint"`  // sorted by Key, unique; none begins with MOYAI_
	Inputs         []Input  `cbor:"7,keyasint"`  // sorted by Name, unique
	MemoryBytes    uint64   `cbor:"8,keyasint"`  // the program's own memory
	OutputBytesMax uint64   `cbor:"9,keyasint"`  // files under /out, of one task
	LogBytesMax    uint64   `cbor:"10,keyasint"` // stdout and stderr, of one task
	TaskTimeoutMS  uint64   `cbor:"11,keyasint"` // wall clock of one task
	Array          bool     `cbor:"12,keyasint"` // tasks are dealt one by one
	Image          Image    `cbor:"13,keyasint"` // in place of Module: what the provider pulls
	Volumes        []Volume `cbor:"14,keyasint"` // sorted by Name, unique
	Secrets        []string `cbor:"15,keyasint"` // names of what comes sealed after opening, sorted, unique
	ShmBytes       uint64   `cbor:"16,keyasint"` // /dev/shm, part of MemoryBytes; zero: the runtime's default
	GPUs           uint64   `cbor:"17,keyasint"` // graphics processors, whole or slices as ordered
	Egress         Egress   `cbor:"18,keyasint"` // its way to the internet; the zero value is none
	KeepResultsMS  uint64   `cbor:"19,keyasint"` // how long what it leaves is kept after the end; zero: the provider's choice
}

// Egress is what a program asks for of the internet. It gets what its rules and
// the provider's both let through.
type Egress struct {
	_     struct{} `cbor:",toarray"`
	Rules []string // as package egress writes them; sorted, unique
	Bytes uint64   // both directions, of all tasks together
}

// Wanted reports that there is any.
func (e Egress) Wanted() bool { return len(e.Rules) > 0 }

// Policy is the rules, of a valid manifest.
func (e Egress) Policy() (egress.Policy, error) {
	var p egress.Policy
	for _, text := range e.Rules { // one by one: a text is one rule here
		r, err := egress.ParseRule(text)
		if err != nil {
			return nil, err
		}
		p = append(p, r)
	}
	return p, nil
}

// Var is an environment variable.
type Var struct {
	_     struct{} `cbor:",toarray"`
	Key   string
	Value string
}

// Input is a file or folder that the program sees, read-only, as /in/Name.
type Input struct {
	_     struct{} `cbor:",toarray"`
	Name  string
	CID   []byte // CIDSize bytes
	Bytes uint64 // of all its files together; a fetch stops there
}

// Image is a container image in a registry.
type Image struct {
	_         struct{} `cbor:",toarray"`
	Reference string   // host/repository:tag, host and tag always given; empty: there is none
	Digest    []byte   // SHA-256 of its manifest or index; empty: the provider pins what it finds and says so
	Platform  string   // "linux/amd64"; empty: the provider's own
}

// IsZero reports that there is no image.
func (i Image) IsZero() bool { return i.Reference == "" && len(i.Digest) == 0 && i.Platform == "" }

// Volume is a named folder of fixed size that outlives the lease. It belongs to
// the order's payer at one provider.
type Volume struct {
	_      struct{} `cbor:",toarray"`
	Name   string
	Path   string // where the program sees it
	Bytes  uint64 // its size, if it is not there yet; the most that may be in it
	KeepMS uint64 // how long it is kept after the lease's end
}

// Encode validates m and returns its canonical bytes.
func Encode(m Manifest) ([]byte, error) {
	if err := m.Validate(); err != nil {
		return nil, err
	}
	b, err := canonical.Marshal(&m)
	if err != nil {
		return nil, fmt.Errorf("manifest: %w", err)
	}
	if len(b) > MaxBytes {
		return nil, fmt.Errorf("manifest: %w: %d bytes where %d are allowed", canonical.ErrTooLarge, len(b), MaxBytes)
	}
	return b, nil
}

// Decode reads a manifest, accepting only what Encode produces. The result
// shares no memory with b.
func Decode(b []byte) (Manifest, error) {
	var m Manifest
	if err := canonical.Unmarshal(b, MaxBytes, &m); err != nil {
		return Manifest{}, fmt.Errorf("manifest: %w", err)
	}
	if err := m.Validate(); err != nil {
		return Manifest{}, err
	}
	return m, nil
}

// SpecHash is what orders and Ready name a manifest by: SHA-256 of its bytes.
func SpecHash(b []byte) [32]byte { return sha256.Sum256(b) }

// Sort puts the environment and the inputs into the order that Validate asks
// for. It changes m's slices.
func (m *Manifest) Sort() {
	slices.SortStableFunc(m.Env, func(a, b Var) int { return strings.Compare(a.Key, b.Key) })
	slices.SortStableFunc(m.Inputs, func(a, b Input) int { return strings.Compare(a.Name, b.Name) })
	slices.SortStableFunc(m.Volumes, func(a, b Volume) int { return strings.Compare(a.Name, b.Name) })
	slices.Sort(m.Secrets)
}

// InputBytes is the length of all inputs together. It cannot overflow for a
// valid manifest.
func (m Manifest) InputBytes() uint64 {
	var n uint64
	for _, in := range m.Inputs {
		n += in.Bytes
	}
	return n
}

// VolumeBytes is the size of all volumes together. It cannot overflow for a
// valid manifest.
func (m Manifest) VolumeBytes() uint64 {
	var n uint64
	for _, v := range m.Volumes {
		n += v.Bytes
	}
	return n
}

// Environ returns the environment as KEY=VALUE pairs.
func (m Manifest) Environ() []string {
	out := make([]string, len(m.Env))
	for i, v := range m.Env {
		out[i] = v.Key + "=" + v.Value
	}
	return out
}

// Validate reports the first field that is out of its bounds.
func (m Manifest) Validate() error {
	if m.Version != Version1 {
		return invalid("version %d where %d is known", m.Version, Version1)
	}
	if err := validateRuntime(m.Runtime); err != nil {
		return err
	}
	if err := m.validateProgram(); err != nil {
		return err
	}
	for _, f := range []struct {
		name    string
		n, most uint64
	}{
		{"module bytes", m.ModuleBytes, MaxContent},
		{"memory bytes", m.MemoryBytes, MaxMemory},
		{"output bytes", m.OutputBytesMax, MaxContent},
		{"log bytes", m.LogBytesMax, MaxContent},
		{"task timeout", m.TaskTimeoutMS, MaxTimeoutMS},
	} {
		if f.n < 1 || f.n > f.most {
			return invalid("%s is %d, outside 1 to %d", f.name, f.n, f.most)
		}
	}
	if err := m.validateArgsEnv(); err != nil {
		return err
	}
	if err := m.validateInputs(); err != nil {
		return err
	}
	if m.GPUs > MaxGPUs {
		return invalid("%d graphics processors, at most %d", m.GPUs, MaxGPUs)
	}
	if m.KeepResultsMS > MaxTimeoutMS {
		return invalid("results kept for %d ms where %d are allowed", m.KeepResultsMS, uint64(MaxTimeoutMS))
	}
	if m.ShmBytes > m.MemoryBytes {
		return invalid("%d bytes of shared memory are more than the %d bytes of memory they are part of", m.ShmBytes, m.MemoryBytes)
	}
	if err := m.validateVolumes(); err != nil {
		return err
	}
	if err := m.validateSecrets(); err != nil {
		return err
	}
	return m.validateEgress()
}

func (m Manifest) validateEgress() error {
	e := m.Egress
	if len(e.Rules) > egress.MaxRules {
		return invalid("%d egress rules where %d are allowed", len(e.Rules), egress.MaxRules)
	}
	total := 0
	for i, text := range e.Rules {
		total += len(text)
		r, err := egress.ParseRule(text)
		if err != nil {
			return invalid("%w", err)
		}
		if r.String() != text {
			return invalid("egress rule %q is written %q", text, r)
		}
		if i > 0 && e.Rules[i-1] >= text {
			return invalid("egress rules are not sorted and unique at %q", text)
		}
	}
	switch {
	case total > MaxEgress:
		return invalid("egress rules of %d bytes together where %d are allowed; a prefix may say the same", total, MaxEgress)
	case !e.Wanted() && e.Bytes > 0:
		return invalid("egress of %d bytes to nowhere: no rule says where to", e.Bytes)
	case !e.Wanted():
		return nil
	case e.Bytes < 1 || e.Bytes > MaxContent:
		return invalid("egress bytes is %d, outside 1 to %d", e.Bytes, uint64(MaxContent))
	case m.Runtime == RuntimeWasm:
		return invalid("egress: runtime %s has no network; images have one", RuntimeWasm)
	}
	return nil
}

func validateRuntime(s string) error {
	if len(s) < 1 || len(s) > MaxRuntime {
		return invalid("runtime of %d bytes, outside 1 to %d", len(s), MaxRuntime)
	}
	for i := range len(s) {
		if c := s[i]; (c < 'a' || c > 'z') && (i == 0 || (c < '0' || c > '9') && c != '-') {
			return invalid("runtime %q is not a short lower-case name", s)
		}
	}
	return nil
}

// validateCID accepts CIDv1 with codec raw or dag-pb and a SHA-256 multihash:
// what UnixFS trees have as roots.
func validateCID(field string, b []byte) error {
	const version, raw, dagPB, sha2, hashLen = 0x01, 0x55, 0x70, 0x12, 0x20
	if len(b) != CIDSize || b[0] != version || b[1] != raw && b[1] != dagPB || b[2] != sha2 || b[3] != hashLen {
		return invalid("%s is not a cid of version 1, codec raw or dag-pb, hash sha2-256", field)
	}
	return nil
}

func (m Manifest) validateArgsEnv() error {
	if len(m.Args) > MaxArgs {
		return invalid("%d arguments where %d are allowed", len(m.Args), MaxArgs)
	}
	if len(m.Env) > MaxEnv {
		return invalid("%d environment variables where %d are allowed", len(m.Env), MaxEnv)
	}
	total := 0
	for i, a := range m.Args {
		if err := validateText(fmt.Sprintf("argument %d", i+1), a, MaxArg); err != nil {
			return err
		}
		total += len(a)
	}
	for i, v := range m.Env {
		if err := v.validate(); err != nil {
			return err
		}
		if i > 0 && m.Env[i-1].Key >= v.Key {
			return invalid("environment is not sorted and unique at %q", v.Key)
		}
		total += len(v.Key) + len(v.Value)
	}
	for _, name := range m.Secrets {
		total += len(name)
	}
	if total > MaxArgsEnv {
		return invalid("arguments, environment and names of secrets of %d bytes together where %d are allowed; pass large data as an input", total, MaxArgsEnv)
	}
	return nil
}

func (v Var) validate() error {
	if len(v.Key) < 1 || len(v.Key) > MaxEnvKey {
		return invalid("environment name of %d bytes, outside 1 to %d", len(v.Key), MaxEnvKey)
	}
	for i := range len(v.Key) {
		c := v.Key[i]
		letter := c >= 'A' && c <= 'Z' || c >= 'a' && c <= 'z' || c == '_'
		if !letter && (i == 0 || c < '0' || c > '9') {
			return invalid("environment name %q is not letters, digits and '_'", v.Key)
		}
	}
	if strings.HasPrefix(v.Key, "MOYAI_") {
		return invalid("environment name %q: names beginning with MOYAI_ are set by the network", v.Key)
	}
	return validateText("environment variable "+v.Key, v.Value, MaxEnvValue)
}

func (m Manifest) validateInputs() error {
	if len(m.Inputs) > MaxInputs {
		return invalid("%d inputs where %d are allowed; put files into a folder", len(m.Inputs), MaxInputs)
	}
	for i, in := range m.Inputs {
		if err := ValidateInputName(in.Name); err != nil {
			return err
		}
		if i > 0 && m.Inputs[i-1].Name >= in.Name {
			return invalid("inputs are not sorted and unique at %q", in.Name)
		}
		if err := validateCID(fmt.Sprintf("input %q", in.Name), in.CID); err != nil {
			return err
		}
		if in.Bytes > MaxContent {
			return invalid("input %q of %d bytes where %d are allowed", in.Name, in.Bytes, uint64(MaxContent))
		}
	}
	return nil
}

// ValidateInputName accepts one path element: 1 to MaxInputName bytes of
// printable UTF-8 without '/' or '\', and not only dots.
func ValidateInputName(name string) error {
	if len(name) < 1 || len(name) > MaxInputName {
		return invalid("input name of %d bytes, outside 1 to %d", len(name), MaxInputName)
	}
	if !utf8.ValidString(name) {
		return invalid("input name %q is not utf-8", name)
	}
	if strings.ContainsAny(name, `/\`) {
		return invalid("input name %q holds a path separator; a name is one element under /in", name)
	}
	if strings.Trim(name, ".") == "" {
		return invalid("input name %q is only dots", name)
	}
	for _, r := range name {
		if !unicode.IsPrint(r) {
			return invalid("input name %q has a character that cannot be printed", name)
		}
	}
	return nil
}

// validateText accepts UTF-8 without a zero byte, which would end the string
// early in the program's own view.
func validateText(field, s string, most int) error {
	switch {
	case len(s) > most:
		return invalid("%s of %d bytes where %d are allowed", field, len(s), most)
	case !utf8.ValidString(s):
		return invalid("%s is not utf-8", field)
	case strings.IndexByte(s, 0) >= 0:
		return invalid("%s holds a zero byte", field)
	}
	return nil
}

func invalid(format string, args ...any) error {
	return fmt.Errorf("%w: %w", ErrInvalid, fmt.Errorf(format, args...))
}
