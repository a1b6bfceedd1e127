package container

import (
	"fmt"
	"strings"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"tags.cncf.io/container-device-interface/pkg/cdi"

	"github.com/moyai-network/moyai/compute"
)

// handOut gives a container the devices of a spec: their files, what of their
// driver must be the host's own, and what has to be done for it, as whoever
// installed the driver has described it. It looks anew each time: a card can be
// gone since it was bid.
//
// Errors: compute.ErrUnavailable, naming what is not there.
func (r *Runtime) handOut(spec *specs.Spec, devices []string) error {
	if len(devices) == 0 {
		return nil
	}
	described, err := cdi.NewCache(cdi.WithSpecDirs(r.config.DeviceDirs...), cdi.WithAutoRefresh(false))
	if err != nil {
		return unavailable("read the descriptions of devices", err)
	}
	missing, err := described.InjectDevices(spec, devices...)
	switch {
	case len(missing) > 0:
		return fmt.Errorf("%w: %s is gone: nothing in %s describes it", compute.ErrUnavailable,
			strings.Join(missing, ", "), strings.Join(r.config.DeviceDirs, " or "))
	case err != nil:
		return unavailable("hand out "+strings.Join(devices, ", "), err)
	}
	return nil
}
