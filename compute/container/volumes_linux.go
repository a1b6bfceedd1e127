package container

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"syscall"

	"github.com/moyai-network/moyai/compute"
	"github.com/moyai-network/moyai/compute/container/internal/volume"
	"github.com/moyai-network/moyai/compute/container/supervise"
)

var _ compute.VolumeKeeper = (*Runtime)(nil)

// MakeVolume implements compute.VolumeKeeper.
func (r *Runtime) MakeVolume(ctx context.Context, file string, size uint64) error {
	return volume.Make(ctx, file, size)
}

// ExportVolume implements compute.VolumeKeeper. The volume is shown to a process
// of its own in a mount namespace of its own, so nothing is left mounted whoever
// is killed.
func (r *Runtime) ExportVolume(ctx context.Context, file string, w io.Writer) error {
	cmd := exec.CommandContext(ctx, r.config.Worker, supervise.Export, file)
	to := &fallible{w: w}
	var said bytes.Buffer
	cmd.Stdout, cmd.Stderr, cmd.Dir, cmd.Env = to, &said, "/", []string{"GOMAXPROCS=2"}
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNS}
	err := cmd.Run()
	exit := new(exec.ExitError)
	switch {
	case err == nil:
		return nil
	case ctx.Err() != nil:
		return ctx.Err()
	case to.err != nil:
		return to.err
	case errors.As(err, &exit) && exit.ExitCode() == supervise.ExitInUse:
		return compute.ErrVolumeInUse
	}
	return unavailable("export a volume", fmt.Errorf("%w: %s", err, bytes.TrimSpace(said.Bytes()[:min(said.Len(), 500)])))
}

// fallible remembers the error of a writer.
type fallible struct {
	w   io.Writer
	err error
}

func (f *fallible) Write(p []byte) (int, error) {
	n, err := f.w.Write(p)
	if err != nil {
		f.err = err
	}
	return n, err
}
