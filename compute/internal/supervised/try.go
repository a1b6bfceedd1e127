package supervised

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"

	"github.com/moyai-network/moyai/compute"
	"github.com/moyai-network/moyai/compute/internal/taskrecord"
)

// Try has a runtime run a task to its end, as a probe does, and returns the beginning
// of what it said. The task's directory is below the spec's.
//
// Errors: the runtime's, compute.ErrUnavailable, ctx's.
func Try(ctx context.Context, r compute.Runtime, spec compute.Spec, id string) (compute.Result, []byte, error) {
	p, err := r.Prepare(ctx, spec)
	if err != nil {
		return compute.Result{}, nil, err
	}
	defer p.Close()
	run := compute.Run{ID: id, Dir: filepath.Join(spec.Dir, id)}
	t, err := r.Start(ctx, p, run)
	if err != nil {
		return compute.Result{}, nil, err
	}
	result, err := t.Wait(ctx)
	if err != nil {
		return result, nil, errors.Join(err, t.Stop(context.WithoutCancel(ctx), 0))
	}
	said, err := taskrecord.Bounded(run.Stdout(), 64<<10)
	if err != nil {
		return result, nil, fmt.Errorf("%w: probe: %w", compute.ErrUnavailable, err)
	}
	return result, said, nil
}
