//go:build !linux

package docker

import (
	"context"
	"fmt"

	"github.com/moyai-network/moyai/compute"
)

// Runtime is never made here: New says why.
type Runtime struct{}

var _ compute.Runtime = (*Runtime)(nil)

var errNoLinux = fmt.Errorf("%w: Docker is driven from Linux only as yet (on Windows, run the provider and dockerd in WSL 2)", compute.ErrUnavailable)

// New says that there are no containers here.
//
// Errors: compute.ErrUnavailable.
func New(Config) (*Runtime, error) { return nil, errNoLinux }

// Missing says that there are no containers here.
//
// Errors: compute.ErrUnavailable.
func Missing(context.Context, Config) error { return errNoLinux }

// Name implements compute.Runtime.
func (*Runtime) Name() string { return Name }

// Tier implements compute.Runtime.
func (*Runtime) Tier() compute.Tier { return compute.TierContainer }

// Probe implements compute.Runtime.
func (*Runtime) Probe(context.Context) (compute.Capabilities, error) {
	return compute.Capabilities{}, errNoLinux
}

// Prepare implements compute.Runtime.
func (*Runtime) Prepare(context.Context, compute.Spec) (compute.Prepared, error) {
	return nil, errNoLinux
}

// Start implements compute.Runtime.
func (*Runtime) Start(context.Context, compute.Prepared, compute.Run) (compute.Task, error) {
	return nil, errNoLinux
}

// Recover implements compute.Runtime.
func (*Runtime) Recover(context.Context, compute.Run) (compute.Task, error) { return nil, errNoLinux }

// Close implements compute.Runtime.
func (*Runtime) Close() error { return nil }
