package worker

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	mathrand "math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/tetratelabs/wazero"
	"github.com/tetratelabs/wazero/experimental/sysfs"
	"github.com/tetratelabs/wazero/sys"

	"github.com/moyai-network/moyai/compute"
	"github.com/moyai-network/moyai/compute/wasm/internal/guestfs"
	"github.com/moyai-network/moyai/compute/wasm/internal/job"
	"github.com/moyai-network/moyai/internal/fifo"
	"github.com/moyai-network/moyai/internal/oserror"
)

// maxTrace bounds the text of a trap shown to the tenant.
const maxTrace = 2048

// task is one run and the files it keeps open from before the walls close in.
type task struct {
	exec   job.Exec
	memory uint64
	fs     *guestfs.FS
	quota  *guestfs.Quota
	stdin  *os.File // nil: end of file
	stdout *logWriter
	stderr *logWriter
	final  *os.File
	log    *os.File // takes this process's own last words
	loaded *loaded
}

// open takes hold of every file the run needs, then gives up the right to open
// any but the guest's own.
func open(load job.Load, exec job.Exec) (*task, error) {
	t := &task{exec: exec, memory: load.Memory}
	var err error
	open := func(name string, flag int) *os.File {
		if err != nil {
			return nil
		}
		var f *os.File
		f, err = os.OpenFile(name, flag, 0)
		return f
	}
	t.final = open(filepath.Join(exec.Dir, job.FinalFile), os.O_WRONLY)
	t.log = open(filepath.Join(exec.Dir, job.WorkerLog), os.O_WRONLY|os.O_APPEND)
	stdout := open(filepath.Join(exec.Dir, "stdout"), os.O_WRONLY|os.O_APPEND)
	stderr := open(filepath.Join(exec.Dir, "stderr"), os.O_WRONLY|os.O_APPEND)
	if exec.Stdin != "" && err == nil {
		t.stdin, err = fifo.Open(exec.Stdin)
	}
	if err != nil {
		return nil, err
	}
	counters, err := mapCounters(filepath.Join(exec.Dir, job.CountersFile))
	if err != nil {
		return nil, err
	}
	t.quota = &guestfs.Quota{
		MaxBytes: exec.OutputBytes, MaxFiles: exec.OutputFiles, Counters: counters, Exceeded: t.exceeded,
	}
	t.stdout = &logWriter{t: t, f: stdout}
	t.stderr = &logWriter{t: t, f: stderr}
	if t.fs, err = guestfs.New(exec.Dir, t.quota); err != nil {
		return nil, err
	}
	for _, in := range exec.Inputs {
		if err := t.fs.AddInput(in.Name, in.Path); err != nil {
			return nil, fmt.Errorf("input %s: %w", in.Name, err)
		}
	}
	return t, narrow(exec)
}

// run instantiates the module, lets it run and records how it ended. It does
// not return.
func (t *task) run(l *loaded) {
	t.loaded = l
	ctx := l.memory.attach(context.Background())
	m, err := l.runtime.InstantiateModule(ctx, l.module, t.config())
	if err == nil {
		_, err = m.ExportedFunction("_start").Call(ctx)
	}
	t.end(t.verdict(err))
}

func (t *task) config() wazero.ModuleConfig {
	config := wazero.NewModuleConfig().
		WithName("").
		WithStartFunctions(). // called by hand, so that a failure there is a trap like any other
		WithArgs(append([]string{t.exec.Name}, t.exec.Args...)...).
		WithStdout(t.stdout).
		WithStderr(t.stderr).
		WithFSConfig(wazero.NewFSConfig().(sysfs.FSConfig).WithSysFSMount(t.fs, "/"))
	if t.stdin != nil {
		config = config.WithStdin(t.stdin)
	}
	for _, e := range t.exec.Env {
		key, value, _ := strings.Cut(e, "=")
		config = config.WithEnv(key, value)
	}
	if t.exec.Deterministic {
		// wazero's own clocks are fake and depend on nothing.
		var seed [32]byte
		binary.LittleEndian.PutUint64(seed[:], t.exec.Seed)
		return config.WithRandSource(mathrand.NewChaCha8(seed))
	}
	return config.WithSysWalltime().WithSysNanotime().WithSysNanosleep().WithRandSource(rand.Reader)
}

// verdict turns the end of _start into a Final.
func (t *task) verdict(err error) job.Final {
	var exit *sys.ExitError
	final := job.Final{Reason: compute.ReasonExited.String()}
	switch {
	case err == nil:
	case errors.As(err, &exit):
		final.ExitCode = int(exit.ExitCode())
		if final.ExitCode != 0 {
			final.Message = fmt.Sprintf("the program exited with code %d", final.ExitCode)
		}
	default:
		final.Reason, final.ExitCode = compute.ReasonTrap.String(), -1
		final.Message = "the program trapped: " + clip(err.Error(), maxTrace)
	}
	if refused := t.loaded.memory.refused; refused != 0 && final.Message != "" {
		final.Reason = compute.ReasonMemory.String()
		final.Message = fmt.Sprintf("the program asked for %s of memory, its limit is %s, and failed: raise --memory (%s)",
			size(refused), size(t.memory), final.Message)
	}
	return final
}

// exceeded ends the run at a limit of the file system.
func (t *task) exceeded(limit guestfs.Limit) {
	final := job.Final{Reason: compute.ReasonOutputLimit.String(), ExitCode: -1}
	switch limit {
	case guestfs.LimitBytes:
		final.Message = fmt.Sprintf("the program wrote more than its output limit of %s: raise the limit or write less", size(t.exec.OutputBytes))
	case guestfs.LimitFiles:
		final.Message = fmt.Sprintf("the program made more than %d files: put results into fewer", t.exec.OutputFiles)
	case guestfs.LimitDisk:
		final.Reason = compute.ReasonDisk.String()
		final.Message = "the provider's disk is full: the task can be run again elsewhere"
	}
	t.end(final)
}

// end writes the Final and leaves, from wherever the guest was.
func (t *task) end(final job.Final) {
	t.quota.Recount()
	final.LogsTruncated = t.stdout.truncated || t.stderr.truncated
	final.OutputBytes = t.quota.Counters.OutputBytes.Load()
	final.LogBytes = t.quota.Counters.LogBytes.Load()
	final.CPU, final.MemoryPeak = usage()
	final.Done = true
	b, err := json.Marshal(final)
	if err == nil {
		_, err = t.final.Write(append(b, '\n'))
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "moyai-worker: record the end:", err)
		os.Exit(1)
	}
	os.Exit(0)
}

// logWriter is the guest's stdout or stderr.
type logWriter struct {
	t         *task
	f         *os.File
	truncated bool
}

func (w *logWriter) Write(p []byte) (int, error) {
	logged := &w.t.quota.Counters.LogBytes
	room := w.t.exec.LogBytes - min(w.t.exec.LogBytes, logged.Load())
	keep := p
	if uint64(len(p)) > room {
		keep = p[:room]
	}
	if n := uint64(len(keep)); !w.t.quota.Fits(n) {
		w.t.exceeded(guestfs.LimitBytes)
	}
	n, err := w.f.Write(keep)
	logged.Add(uint64(n))
	switch {
	case oserror.DiskFull(err):
		w.t.exceeded(guestfs.LimitDisk)
	case err != nil:
		return n, err
	case len(keep) == len(p):
		return n, nil
	case w.t.exec.TruncateLogs:
		w.truncated = true
		return len(p), nil
	}
	w.t.end(job.Final{
		Reason:   compute.ReasonLogLimit.String(),
		ExitCode: -1,
		Message:  fmt.Sprintf("the program logged more than %s to stdout and stderr: log less, or write to /out", size(w.t.exec.LogBytes)),
	})
	return 0, io.ErrShortWrite
}

func clip(s string, n int) string {
	if len(s) <= n {
		return s
	}
	return strings.ToValidUTF8(s[:n], "") + " …"
}

// until clamps a duration so that timers accept it.
func until(d time.Duration) time.Duration {
	return min(max(d, time.Millisecond), math.MaxInt64/2)
}
