// Package job is what a runtime and its worker process say to each other, and
// what they leave in a task's directory for a runtime that comes later. It is
// data only, and imports nothing but the standard library, so that the worker
// stays small.
//
// The conversation, one JSON line each, over the worker's stdin and stdout:
//
//	runtime: Load   worker: Reply   (the module is decoded and compiled)
//	runtime: Exec   worker: Reply   (the program's first instruction follows)
//
// After that the pipe is closed and either side may die alone: the worker holds
// its own deadline and writes its own Final.
package job

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"time"
)

// MaxLine bounds one message: arguments and environment (compute.MaxArgBytes,
// which JSON may inflate sixfold) and paths.
const MaxLine = 4 << 20

// CacheVersion names a layout and an engine. Compiled code of another version
// is never looked at.
const CacheVersion = "2-wazero-1.12.0"

// Load makes a worker ready for one module.
type Load struct {
	Module string // host path; read only to compile
	Cache  string // directory of this module's compiled code
	// Compile lets the worker write Cache and makes it end after its Reply.
	Compile bool
	Dir     string   // tasks' directories lie below it
	Inputs  []Input  // readable from now on
	Memory  uint64   // bytes of linear memory, at most
	Process uint64   // bytes the process may have beside it
	CPUs    int      // compiler threads
	Timeout Duration // the worker's own end, if it hears nothing more
}

// Input mirrors compute.Input.
type Input struct{ Name, Path string }

// Exec runs the loaded module once.
type Exec struct {
	Dir           string // the task's directory
	Stdin         string
	Name          string // argv[0]
	Args, Env     []string
	Inputs        []Input
	OutputBytes   uint64
	OutputFiles   uint64
	LogBytes      uint64
	TruncateLogs  bool
	Deadline      Duration // from now
	Deterministic bool
	Seed          uint64
}

// Code classifies a Reply.
type Code string

// The codes.
const (
	CodeOK         Code = ""
	CodeBadProgram Code = "bad-program" // the tenant's fault
	CodeCache      Code = "cache"       // compiled code is missing or damaged
	CodeFailed     Code = "failed"      // the provider's fault
)

// Reply answers a Load or an Exec.
type Reply struct {
	Code    Code
	Message string
	Walls   []string // sandbox layers that hold, after Load
	Missing []string // and those that do not, with why
}

// Duration is a time.Duration; the name says that JSON carries nanoseconds.
type Duration = time.Duration

// Final is a worker's own account of how its program ended. It is written once,
// whole, just before the worker ends.
type Final struct {
	Reason        string // compute.Reason's name
	ExitCode      int
	Message       string
	LogsTruncated bool
	OutputBytes   uint64
	LogBytes      uint64
	CPU           Duration
	MemoryPeak    uint64
	Done          bool // last field: a torn write cannot have it
}

// FinalRoom is how many spaces, which JSON ignores, the file of the Final holds
// from the start: a worker whose program has filled the disk writes over them
// and can still say so.
const FinalRoom = 8 << 10

// Counters is the size of the file of shared counters, laid out as
// guestfs.Counters.
const Counters = 24

// Names within a task's directory.
const (
	StateFile    = "task.json"
	FinalFile    = "final.json"
	CountersFile = "counters"
	WorkerLog    = "worker.log"
)

// Write sends one message.
func Write(w io.Writer, v any) error {
	b, err := json.Marshal(v)
	if err != nil {
		return err
	}
	if len(b) >= MaxLine {
		return fmt.Errorf("message of %d bytes exceeds %d", len(b), MaxLine)
	}
	_, err = w.Write(append(b, '\n'))
	return err
}

// NewReader returns a reader fit for Read.
func NewReader(r io.Reader) *bufio.Reader { return bufio.NewReaderSize(r, 32<<10) }

// Read receives one message of at most MaxLine bytes.
func Read(r *bufio.Reader, v any) error {
	var line []byte
	for {
		part, err := r.ReadSlice('\n')
		if len(line)+len(part) > MaxLine {
			return fmt.Errorf("message exceeds %d bytes", MaxLine)
		}
		line = append(line, part...)
		if err == nil {
			return json.Unmarshal(line, v)
		}
		if !errors.Is(err, bufio.ErrBufferFull) {
			return err
		}
	}
}
