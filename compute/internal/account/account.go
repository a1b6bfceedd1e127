// Package account is the word that whoever stands over a task leaves about its end,
// and the wishes that a caller leaves to bring the end about: files in the task's
// directory, so that either side may be killed and come back.
//
// It watches nothing and kills nothing.
package account

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/moyai-network/moyai/compute"
	"github.com/moyai-network/moyai/internal/steady"
)

// File is the account in a task's directory, written after the last instruction.
const File = "final.json"

// Room is how many spaces File holds from the start, so that an account can be
// given when the container has filled the disk.
const Room = 8 << 10

// stopPrefix begins the names of wishes to end a container.
const stopPrefix = "stop."

// Final is the account of how a container ended, written whole, once.
type Final struct {
	Reason        string // compute.Reason's name
	ExitCode      int
	Message       string
	LogsTruncated bool
	Wall, CPU     time.Duration
	MemoryPeak    uint64
	OutputBytes   uint64
	LogBytes      uint64
	EgressBytes   uint64
	Done          bool // last field: a torn write cannot have it
}

// Result is what a task's Wait says.
func (f Final) Result() compute.Result {
	return compute.Result{
		Reason: compute.ParseReason(f.Reason), ExitCode: f.ExitCode, Message: f.Message, LogsTruncated: f.LogsTruncated,
		Usage: compute.Usage{Wall: f.Wall, CPU: f.CPU, MemoryPeak: f.MemoryPeak, OutputBytes: f.OutputBytes, LogBytes: f.LogBytes, EgressBytes: f.EgressBytes},
	}
}

// Read returns the account in dir, if there is a whole one.
func Read(dir string) (Final, bool) {
	var f Final
	b, err := os.ReadFile(filepath.Join(dir, File))
	if err != nil || json.Unmarshal(b, &f) != nil {
		return Final{}, false
	}
	return f, f.Done
}

// Write writes the account over the room that was left for it. An account that is
// already whole is kept: the first word is the true one.
func Write(dir string, f Final) error {
	if _, ok := Read(dir); ok {
		return nil
	}
	const longest = Room / 2 // JSON may double a message
	if len(f.Message) > longest/2 {
		f.Message = f.Message[:longest/2]
	}
	f.Done = true
	b, err := json.Marshal(f)
	if err != nil {
		return err
	}
	file, err := os.OpenFile(filepath.Join(dir, File), os.O_WRONLY|os.O_CREATE, 0o600)
	if err != nil {
		return err
	}
	if _, err = file.WriteAt(b, 0); err == nil {
		err = file.Sync()
	}
	return errors.Join(err, file.Close())
}

// AskToStop leaves a wish in dir: that the container end, by itself if it can
// within grace. A wish is a file without content, named after how long the machine
// will have been up by then, so several callers cannot undo each other's: the soonest one stands.
func AskToStop(dir string, grace time.Duration) error {
	by := steady.Up() + max(grace, 0)
	return os.WriteFile(filepath.Join(dir, stopPrefix+strconv.FormatInt(int64(by), 10)), nil, 0o600)
}

// GraceLeft is the time until the soonest wish in dir. None that can be read is
// none: somebody wanted an end.
func GraceLeft(dir string) time.Duration {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return 0
	}
	var soonest int64
	for _, e := range entries {
		if digits, ok := strings.CutPrefix(e.Name(), stopPrefix); ok {
			if by, err := strconv.ParseInt(digits, 10, 64); err == nil && (soonest == 0 || by < soonest) {
				soonest = by
			}
		}
	}
	return time.Duration(soonest) - steady.Up()
}

// Size writes n bytes as people read them.
func Size(n uint64) string {
	for _, unit := range []struct {
		shift uint
		name  string
	}{{30, "GiB"}, {20, "MiB"}, {10, "KiB"}} {
		if n >= 1<<unit.shift && n%(1<<unit.shift) == 0 {
			return fmt.Sprintf("%d %s", n>>unit.shift, unit.name)
		}
	}
	return fmt.Sprintf("%d bytes", n)
}
