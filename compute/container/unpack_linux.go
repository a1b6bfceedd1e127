package container

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"syscall"
	"time"

	"github.com/containerd/containerd/v2/core/content"
	"github.com/containerd/containerd/v2/core/leases"
	"github.com/containerd/containerd/v2/core/mount"
	"github.com/containerd/containerd/v2/core/snapshots"
	"github.com/containerd/containerd/v2/pkg/namespaces"
	"github.com/containerd/containerd/v2/pkg/rootfs"
	"github.com/containerd/errdefs"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/moyai-network/moyai/compute"
	"github.com/moyai-network/moyai/compute/image/archive"
	"github.com/moyai-network/moyai/compute/image/launch"
	"github.com/moyai-network/moyai/compute/image/unpacked"
)

// snapshotter is the only one whose layers a supervisor can show with shifted
// owners.
const snapshotter = "overlayfs"

// gcRoot is the label by which containerd's garbage collector spares a thing and
// all that it stands on.
const gcRoot = "containerd.io/gc.root"

// layers are where containerd has an unpacked image.
type layers struct {
	Lowers []string // folders of its layers, topmost first
	View   string   // the snapshot that keeps them
}

// image is an unpacked image and how to run it.
type image = unpacked.Image[layers]

// Present implements unpacked.Engine.
func (e *engine) Present(_ context.Context, l layers) bool {
	for _, dir := range l.Lowers {
		if info, err := os.Stat(dir); err != nil || !info.IsDir() {
			return false
		}
	}
	return len(l.Lowers) > 0
}

// Unpack implements unpacked.Engine: it gives verified layers to containerd. The
// packed ones are held by a lease only while this runs; afterwards the collector
// takes them.
func (e *engine) Unpack(ctx context.Context, hash string, img *archive.Image) (layers, error) {
	view, lowers, err := e.unpack(ctx, hash, img.Layers)
	return layers{lowers, view}, err
}

// unpack returns the snapshot that keeps the layers, and their folders, topmost
// first.
//
// Errors: compute.ErrBadProgram, compute.ErrUnavailable, ctx's.
func (e *engine) unpack(ctx context.Context, hash string, layers []archive.Layer) (view string, lowers []string, err error) {
	client, err := e.connect(ctx)
	if err != nil {
		return "", nil, err
	}
	ctx = namespaces.WithNamespace(ctx, namespace)
	manager := client.LeasesService()
	lease, err := manager.Create(ctx, leases.WithRandomID(), leases.WithExpiration(24*time.Hour))
	if err != nil {
		return "", nil, failed(ctx, "take a lease", err)
	}
	ctx = leases.WithLease(ctx, lease.ID)
	defer func() {
		// Synchronous, so that what is no longer needed takes no room.
		if doneErr := manager.Delete(context.WithoutCancel(ctx), lease, leases.SynchronousDelete); doneErr != nil && err == nil {
			err = failed(ctx, "give a lease back", doneErr)
		}
	}()
	var chain []rootfs.Layer
	for i := range layers {
		l := &layers[i]
		blob := ocispec.Descriptor{MediaType: l.MediaType, Digest: l.Digest, Size: l.Size}
		if err := content.WriteBlob(ctx, client.ContentStore(), "moyai-"+l.Digest.String(), l.Open(), blob); err != nil {
			return "", nil, failed(ctx, "store a layer", err)
		}
		chain = append(chain, rootfs.Layer{Blob: blob, Diff: ocispec.Descriptor{MediaType: ocispec.MediaTypeImageLayer, Digest: l.DiffID}})
	}
	sn := client.SnapshotService(snapshotter)
	top, err := rootfs.ApplyLayers(ctx, chain, sn, client.DiffService())
	if err != nil {
		return "", nil, whoseFault(ctx, err)
	}
	view = "moyai-image-" + hash
	label := snapshots.WithLabels(map[string]string{gcRoot: time.Now().UTC().Format(time.RFC3339)})
	mounts, err := sn.View(ctx, view, top.String(), label)
	if errdefs.IsAlreadyExists(err) {
		mounts, err = sn.Mounts(ctx, view) // the record was lost, not the layers
	}
	if err != nil {
		return "", nil, failed(ctx, "keep the layers", err)
	}
	lowers, err = folders(mounts)
	if err != nil {
		return "", nil, errors.Join(err, sn.Remove(ctx, view))
	}
	return view, lowers, nil
}

// Discard implements unpacked.Engine.
func (e *engine) Discard(ctx context.Context, l layers) error {
	client, err := e.connect(ctx)
	if err != nil {
		return err
	}
	ctx = namespaces.WithNamespace(ctx, namespace)
	if err := client.SnapshotService(snapshotter).Remove(ctx, l.View); err != nil && !errdefs.IsNotFound(err) {
		return err
	}
	// Deleting a lease synchronously is how a client asks for a collection.
	lease, err := client.LeasesService().Create(ctx, leases.WithRandomID())
	if err != nil {
		return err
	}
	return client.LeasesService().Delete(ctx, lease, leases.SynchronousDelete)
}

// folders reads the layers out of how a snapshot would be mounted.
func folders(mounts []mount.Mount) ([]string, error) {
	if len(mounts) != 1 {
		return nil, fmt.Errorf("%w: a snapshot has %d mounts, expected one", compute.ErrUnavailable, len(mounts))
	}
	m := mounts[0]
	if m.Type == "bind" {
		return []string{m.Source}, nil
	}
	for _, option := range m.Options {
		if list, ok := strings.CutPrefix(option, "lowerdir="); ok && m.Type == "overlay" {
			return strings.Split(list, ":"), nil
		}
	}
	return nil, fmt.Errorf("%w: containerd's snapshots are of type %s, overlay is needed: put its root on ext4 or xfs", compute.ErrUnavailable, m.Type)
}

// whoseFault tells an image that cannot be unpacked (its links lead in circles,
// a file stands where a folder must be) from a machine that cannot unpack.
func whoseFault(ctx context.Context, err error) error {
	text := err.Error()
	ours := errdefs.IsUnavailable(err) || errdefs.IsDeadlineExceeded(err) || !strings.Contains(text, "failed to extract layer")
	for _, words := range []string{"no space left", "input/output error", "read-only file system", "quota exceeded", "operation not permitted", "cannot allocate memory"} {
		ours = ours || strings.Contains(text, words)
	}
	if ours || ctx.Err() != nil {
		return failed(ctx, "unpack the layers", err)
	}
	const most = 300 // some of it is the image's own words
	if len(text) > most {
		text = text[:most/3] + " … " + text[len(text)-most/3:]
	}
	return launch.Bad("its layers cannot be unpacked: %s", text)
}

func failed(ctx context.Context, what string, err error) error {
	if cause := ctx.Err(); cause != nil {
		return cause
	}
	// Over its socket errors are words, with the owner's paths in them.
	for words, errno := range map[string]error{"no space left": syscall.ENOSPC, "quota exceeded": syscall.EDQUOT} {
		if strings.Contains(err.Error(), words) {
			return unavailable("containerd: "+what, errno)
		}
	}
	return unavailable("containerd: "+what, err)
}
