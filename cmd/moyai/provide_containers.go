package main

import (
	"context"
	"errors"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/moyai-network/moyai/compute"
	"github.com/moyai-network/moyai/compute/container"
	"github.com/moyai-network/moyai/provider/probe"
)

// containersAll is what --containers means without a value.
const containersAll = "all"

// containerTiers are those that --containers can name, the strongest first.
var containerTiers = []compute.Tier{compute.TierGVisor, compute.TierContainer}

// imageGrace is how long the loading of images may take: some are a hundred times
// larger than any module.
const imageGrace = 10 * time.Minute

// tiers reads --containers: nil if no images are run, and whether each of them
// must hold.
func (f *provideFlags) tiers() (tiers []compute.Tier, named bool, err error) {
	switch f.containers {
	case "":
		return nil, false, nil
	case containersAll:
		return containerTiers, false, nil
	}
	for name := range strings.SplitSeq(f.containers, ",") {
		t := compute.Tier(name)
		if !slices.Contains(containerTiers, t) {
			return nil, false, usagef("--containers %q: use gvisor, container, or both with a comma", f.containers)
		}
		tiers = append(tiers, t)
	}
	return tiers, true, nil
}

// programFolder is that of compiled modules.
func (f *provideFlags) programFolder(home string) string {
	if f.cache == "" {
		return filepath.Join(home, "cache")
	}
	return f.cache
}

// imageFolder is that of unpacked images.
func (f *provideFlags) imageFolder(home string) string {
	if f.cache == "" {
		return filepath.Join(home, "containers")
	}
	return filepath.Join(f.cache, "containers")
}

// boxes are what runs container images here.
type boxes struct {
	runtimes []compute.Runtime
	volumes  bool           // a volume's size held at every tier
	egress   []compute.Tier // at which a container can have a way to the internet
	missing  []string       // what did not hold, and why
}

// boxes makes what runs container images, and has each run one. What was not asked
// for by name is left out where it does not hold; nothing at all is a failure.
func (f *provideFlags) boxes(ctx context.Context, home string) (b boxes, _ error) {
	tiers, named, err := f.tiers()
	if err != nil || tiers == nil {
		return b, err
	}
	b.volumes = true
	var failed error
	for _, t := range tiers {
		c, err := container.New(container.Config{Home: f.imageFolder(home), Worker: f.worker, Tier: t})
		if err == nil {
			var found compute.Capabilities
			if found, err = c.Probe(ctx); err == nil {
				b.add(c, found)
				continue
			}
		}
		failed = errors.Join(failed, err)
		if named {
			break
		}
	}
	if failed != nil && (named || len(b.runtimes) == 0) {
		return boxes{}, withHint(errors.Join(failed, stopEngines(b.runtimes)), "`moyai provide doctor` tells what is missing; without --containers WebAssembly is lent alone")
	}
	return b, nil
}

// add takes in a runtime that ran an image, and what it found to hold.
func (b *boxes) add(r compute.Runtime, found compute.Capabilities) {
	b.runtimes = append(b.runtimes, r)
	b.volumes = b.volumes && slices.Contains(found.Enforced, container.Volumes)
	b.missing = append(b.missing, found.Missing...)
	if slices.Contains(found.Enforced, container.Egress) {
		b.egress = append(b.egress, r.Tier())
	}
}

// stopEngines ends the containerds that were started here. Containers run on, held
// by their supervisors; the next start finds them.
func stopEngines(runtimes []compute.Runtime) (err error) {
	for _, r := range runtimes {
		if c, ok := r.(*container.Runtime); ok {
			err = errors.Join(err, c.StopEngine())
		}
	}
	return err
}

// offers reports that --containers takes a runtime's work.
func offers(tiers []compute.Tier, r probe.Runtime) bool {
	return (r.Name == probe.Containerd || r.Name == probe.Runsc) && slices.Contains(tiers, r.Tier)
}
