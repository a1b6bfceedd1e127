package main

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/moyai-network/moyai/compute"
	"github.com/moyai-network/moyai/compute/container"
	dockerbox "github.com/moyai-network/moyai/compute/docker"
	"github.com/moyai-network/moyai/provider/probe"
)

// What --containers means without a value, and how to be left without any.
const (
	containersAll  = "all"
	containersNone = "none"
)

// box is a way to run container images, by the name that --containers knows.
type box string

const (
	boxGVisor    box = "gvisor"    // gVisor over containerd's images
	boxContainer box = "container" // runc over containerd's images
	boxDocker    box = "docker"    // a Docker that is there already
)

// allBoxes are in the order in which they are tried.
var allBoxes = []box{boxGVisor, boxContainer, boxDocker}

// imageGrace is how long the loading of images may take: some are a hundred times
// larger than any module.
const imageGrace = 10 * time.Minute

// wanted reads --containers: nil if no images are run, and whether each of them
// must hold. Unasked, images run only where they do not share the owner's kernel.
func (f *provideFlags) wanted() (boxes []box, named bool, err error) {
	switch f.containers {
	case "":
		return []box{boxGVisor}, false, nil
	case containersNone:
		return nil, false, nil
	case containersAll:
		return allBoxes, false, nil
	}
	for name := range strings.SplitSeq(f.containers, ",") {
		b := box(name)
		if !slices.Contains(allBoxes, b) {
			return nil, false, usagef("--containers %q: use gvisor, container or docker, several with a comma, or none", f.containers)
		}
		boxes = append(boxes, b)
	}
	if slices.Contains(boxes, boxContainer) && slices.Contains(boxes, boxDocker) {
		return nil, false, usagef("--containers %q: container and docker are two ways to the same isolation, use one", f.containers)
	}
	return boxes, true, nil
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
	devices  bool           // one of them can hand out graphics cards
	volumes  bool           // a volume's size held at every tier
	egress   []compute.Tier // at which a container can have a way to the internet
	missing  []string       // what did not hold, and why
	without  error          // why there are none, where none were asked for
}

// boxes makes what runs container images, and has each run one. What was not asked
// for by name is left out where it does not hold; nothing at all is a failure if
// anything was asked for.
func (f *provideFlags) boxes(ctx context.Context, home string) (b boxes, _ error) {
	wanted, named, err := f.wanted()
	if err != nil || wanted == nil {
		return b, err
	}
	b.volumes = true
	var failed error
	for _, w := range wanted {
		if !named && w == boxDocker && slices.ContainsFunc(b.runtimes, func(r compute.Runtime) bool { return r.Tier() == compute.TierContainer }) {
			continue // containerd can do more
		}
		c, err := f.open(w, home)
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
	if failed != nil && f.containers == "" {
		return boxes{without: failed}, nil
	}
	if failed != nil && (named || len(b.runtimes) == 0) {
		return boxes{}, withHint(errors.Join(failed, stopEngines(b.runtimes)), "`moyai provide doctor` tells what is missing; without --containers WebAssembly is lent alone")
	}
	return b, nil
}

// open makes what runs images in one of the ways.
func (f *provideFlags) open(b box, home string) (compute.Runtime, error) {
	if b == boxDocker {
		r, err := dockerbox.New(dockerbox.Config{Home: f.imageFolder(home) + "-docker", Worker: f.worker})
		if err != nil {
			return nil, err // not r: a nil *Runtime would be a non-nil interface
		}
		return r, nil
	}
	r, err := container.New(container.Config{Home: f.imageFolder(home), Worker: f.worker, Tier: compute.Tier(b)})
	if err != nil {
		return nil, err
	}
	return r, nil
}

// add takes in a runtime that ran an image, and what it found to hold.
func (b *boxes) add(r compute.Runtime, found compute.Capabilities) {
	b.runtimes = append(b.runtimes, r)
	if _, ok := r.(*container.Runtime); ok && r.Tier() == compute.TierContainer {
		b.devices = true
	}
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

// check has a runtime that was found say what it lacks to run images, as far as that
// can be told without running one.
func (b box) check(ctx context.Context, r *probe.Runtime, worker string) {
	if !r.Found || b == "" {
		return
	}
	var err error
	if b == boxDocker {
		err = dockerbox.Missing(ctx, dockerbox.Config{Worker: worker, Socket: r.Where})
	} else {
		err = container.Missing(container.Config{Worker: worker, Tier: compute.Tier(b)})
	}
	if err != nil {
		r.Found, r.Why, r.Fix = false, strings.TrimPrefix(err.Error(), compute.ErrUnavailable.Error()+": "), ""
		return
	}
	if b == boxDocker && os.Geteuid() > 0 {
		r.Why = "own-user: programs run under your own user number (run as root, each has one that nobody else has)"
	}
}

// wallsFor are the walls around containers, whoever would make them.
func wallsFor(ctx context.Context, found []probe.Runtime) []probe.Wall {
	walls := probe.Walls(ctx)
	has := func(b box) bool {
		return slices.ContainsFunc(found, func(r probe.Runtime) bool { return r.Found && boxOf(r) == b })
	}
	if has(boxDocker) && !has(boxContainer) {
		return probe.ByDocker(walls)
	}
	return walls
}

// boxOf is the way that a runtime which was found runs images, or none.
func boxOf(r probe.Runtime) box {
	switch r.Name {
	case probe.Containerd:
		return boxContainer
	case probe.Runsc:
		return boxGVisor
	case probe.Docker:
		return boxDocker
	}
	return ""
}
