package provider

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/moyai-network/moyai/compute"
	"github.com/moyai-network/moyai/compute/manifest"
	"github.com/moyai-network/moyai/mechanism/match"
	"github.com/moyai-network/moyai/p2p"
	"github.com/moyai-network/moyai/provider/journal"
	"github.com/moyai-network/moyai/provider/leasing"
	"github.com/moyai-network/moyai/wire"
)

// AttrVolumeKeep is the attribute of nodes that take volumes: for how many hours
// at most they keep one after its lease.
const AttrVolumeKeep = "volume.keep.hours"

// minVolume is the smallest volume that makes sense to bid on.
const minVolume = 8 << 20

// errVolume: a volume is not what the manifest takes it for; the tenant must
// change something.
var errVolume = errors.New("volume cannot be had")

// attic is where tenants' volumes lie. A volume belongs to the payer of the order
// that made it; one lease at a time has it; it is kept for a while after. Its row
// is written before its file is made and dropped before the file is removed, so a
// file without a row is nobody's.
//
// A nil attic takes none.
type attic struct {
	d      *desk
	dir    string
	keeper compute.VolumeKeeper
	policy VolumePolicy

	mu sync.Mutex // one change at a time
}

// keeper is the runtime that can make volumes, if the owner takes any.
func keeper(c *Config) compute.VolumeKeeper {
	if c.Volumes.Bytes == 0 {
		return nil
	}
	for _, r := range c.Runtimes {
		if k, ok := r.(compute.VolumeKeeper); ok {
			return k
		}
	}
	return nil
}

func openAttic(d *desk, c *Config) (*attic, error) {
	k := keeper(c)
	if k == nil {
		return nil, nil
	}
	dir := filepath.Join(c.Home, "volumes")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("folder of volumes: %w", err)
	}
	return &attic{d: d, dir: dir, keeper: k, policy: c.Volumes}, nil
}

// suits is desk.suits for volumes: what could not be given must not be promised.
func (t *attic) suits(ctx context.Context, m manifest.Manifest, o wire.Order) (p2p.Refusal, bool) {
	if len(m.Volumes) == 0 {
		return p2p.Refusal{}, false
	}
	if t == nil || m.Runtime != t.keeper.Name() {
		return p2p.Refusal{Subject: "volumes", Have: "none are taken here", Hint: "require " + AttrVolumeKeep}, true
	}
	if _, ok := quantities(o.Quantities)[DimStorage]; !ok {
		return p2p.Refusal{Subject: DimStorage, Need: match.Bytes(m.VolumeBytes()) + " for volumes", Have: "none was ordered"}, true
	}
	for _, v := range m.Volumes {
		if v.Bytes < minVolume {
			return p2p.Refusal{Subject: "volumes", Need: match.Bytes(v.Bytes), Hint: "a volume has at least " + match.Bytes(minVolume)}, true
		}
		if keep := time.Duration(v.KeepMS) * time.Millisecond; keep > t.policy.MaxKeep {
			return p2p.Refusal{Subject: "volumes", Need: "kept for " + keep.String(), Have: "at most " + t.policy.MaxKeep.String()}, true
		}
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if _, err := t.plan(ctx, o.Payer, m.Volumes); err != nil {
		return p2p.Refusal{Subject: "volumes", Hint: p2p.Printable(err.Error(), p2p.MaxText, false)}, true
	}
	return p2p.Refusal{}, false
}

// plan finds a payer's volumes, nil for those to be made, and checks that they
// fit. The lock is held.
func (t *attic) plan(ctx context.Context, payer []byte, wanted []manifest.Volume) ([]*journal.Volume, error) {
	all, err := t.d.journal.Volumes(ctx)
	if err != nil {
		return nil, err
	}
	var used, more uint64
	found := make([]*journal.Volume, len(wanted))
	for i := range all {
		used += all[i].Bytes
		for k, w := range wanted {
			if string(all[i].Payer) == string(payer) && all[i].Name == w.Name {
				found[k] = &all[i]
			}
		}
	}
	for k, w := range wanted {
		switch v := found[k]; {
		case v == nil:
			more += w.Bytes
		case v.Bytes < w.Bytes:
			return nil, fmt.Errorf("%w: %s has %s here, and making it larger is not supported yet: leave the size out, or export it and begin another", errVolume, w.Name, match.Bytes(v.Bytes))
		}
	}
	if more > t.policy.Bytes || used > t.policy.Bytes-more {
		return nil, fmt.Errorf("%w: %s of the %s set aside for volumes are taken", compute.ErrUnavailable, match.Bytes(used), match.Bytes(t.policy.Bytes))
	}
	return found, nil
}

// open gives a lease its volumes, making those that are not there.
func (t *attic) open(ctx context.Context, a *agreement) ([]compute.Volume, error) {
	if len(a.man.Volumes) == 0 {
		return nil, nil
	}
	if t == nil {
		return nil, fmt.Errorf("%w: no volumes are taken here", compute.ErrUnavailable)
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	found, err := t.plan(ctx, a.order.Payer, a.man.Volumes)
	if err != nil {
		return nil, err
	}
	out := make([]compute.Volume, len(found))
	for i, w := range a.man.Volumes {
		v, fresh := found[i], found[i] == nil
		if fresh {
			v = &journal.Volume{Payer: a.order.Payer, Name: w.Name, File: newName(), Bytes: w.Bytes}
		} else if v.KeepUntil == 0 && v.Lease != a.row.ID && t.d.holds(v.Lease) {
			return nil, fmt.Errorf("%w: %s is in use by lease %x", errVolume, w.Name, v.Lease)
		}
		v.Lease, v.OrderHash, v.ReceiptKey, v.KeepMS, v.KeepUntil = a.row.ID, a.row.OrderHash, a.order.Terms.ReceiptKey, w.KeepMS, 0
		if err := t.d.journal.SetVolume(ctx, *v); err != nil {
			return nil, err
		}
		file := filepath.Join(t.dir, v.File)
		// Also what a kill left without its file is made now.
		if err := t.keeper.MakeVolume(ctx, file, v.Bytes); err != nil {
			if fresh {
				err = errors.Join(err, t.d.journal.DropVolume(context.WithoutCancel(ctx), v.Payer, v.Name))
			}
			return nil, err
		}
		out[i] = compute.Volume{File: file, At: w.Path}
	}
	return out, nil
}

func newName() string {
	var b [16]byte
	_, _ = rand.Read(b[:]) // never fails: it aborts the program instead
	return hex.EncodeToString(b[:])
}

// holds reports that a lease may still run something.
func (d *desk) holds(id journal.ID) bool {
	a := d.find(id)
	return a != nil && a.snapshot().NeedsSlot()
}

// letGo ends a lease's hold on what outlives it, and forgets its secrets.
func (a *agreement) letGo(ctx context.Context) {
	if len(a.man.Secrets) > 0 {
		if err := a.d.journal.DropSecrets(ctx, a.row.ID); err != nil {
			a.log.Warn("secrets not dropped yet", "err", err)
		}
		a.job.mu.Lock()
		a.job.sealed = nil
		a.job.mu.Unlock()
	}
	if len(a.man.Volumes) > 0 && a.d.attic != nil {
		if err := a.d.attic.release(ctx, func(v journal.Volume) bool { return v.Lease == a.row.ID }); err != nil {
			a.log.Warn("volumes not released yet", "err", err)
		}
	}
}

// release lets the time of keeping begin for the volumes that which picks.
func (t *attic) release(ctx context.Context, which func(journal.Volume) bool) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	all, err := t.d.journal.Volumes(ctx)
	for _, v := range all {
		if v.KeepUntil == 0 && which(v) {
			v.KeepUntil = t.d.now() + int64(v.KeepMS)
			err = errors.Join(err, t.d.journal.SetVolume(ctx, v))
		}
	}
	return err
}

// reconcile does what a kill may have prevented: it releases what leases that are
// over still hold, and removes files that no row names.
func (t *attic) reconcile(ctx context.Context, live []journal.Lease) error {
	if t == nil {
		return nil
	}
	needed := map[journal.ID]bool{}
	for _, l := range live {
		needed[l.ID] = l.State.Work < leasing.WorkEnded && l.State.NeedsSlot()
	}
	if err := t.release(ctx, func(v journal.Volume) bool { return !needed[v.Lease] }); err != nil {
		return err
	}
	all, err := t.d.journal.Volumes(ctx)
	if err != nil {
		return err
	}
	named := map[string]bool{}
	for _, v := range all {
		named[v.File] = true
	}
	entries, err := os.ReadDir(t.dir)
	for _, e := range entries {
		if !named[e.Name()] {
			err = errors.Join(err, os.Remove(filepath.Join(t.dir, e.Name())))
		}
	}
	return err
}

// sweep deletes what was kept long enough.
func (t *attic) sweep(ctx context.Context, now time.Time) {
	t.mu.Lock()
	defer t.mu.Unlock()
	all, err := t.d.journal.Volumes(ctx)
	for _, v := range all {
		if v.KeepUntil != 0 && v.KeepUntil <= now.UnixMilli() {
			err = errors.Join(err, t.drop(ctx, v))
		}
	}
	if err != nil && ctx.Err() == nil {
		t.d.log.Warn("volumes not swept", "err", err)
	}
}

func (t *attic) drop(ctx context.Context, v journal.Volume) error {
	if err := t.d.journal.DropVolume(ctx, v.Payer, v.Name); err != nil {
		return err
	}
	if err := os.Remove(filepath.Join(t.dir, v.File)); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	t.d.log.Info("volume deleted", "name", v.Name, "bytes", v.Bytes)
	return nil
}

const sweepEvery = 5 * time.Second

// serveVolumes answers tenants about the volumes they left, and clears away.
func (p *Provider) serveVolumes(ctx context.Context) error {
	t := p.desk.attic
	defer p.host.HandleVolumes(t.serve)()
	for {
		t.sweep(ctx, t.d.clock())
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(sweepEvery):
		}
	}
}

func (t *attic) serve(ctx context.Context, from peer.ID, req p2p.VolumeRequest) (p2p.VolumeReply, func(io.Writer) error) {
	refuse := func(format string, args ...any) (p2p.VolumeReply, func(io.Writer) error) {
		return p2p.VolumeReply{Refusal: &p2p.Refusal{Subject: "volume", Hint: p2p.Printable(fmt.Sprintf(format, args...), p2p.MaxText, false)}}, nil
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	all, err := t.d.journal.Volumes(ctx)
	if err != nil {
		return refuse("the provider cannot look now: try again")
	}
	for _, v := range all {
		if v.Name != req.Name || string(v.OrderHash[:]) != string(req.Order) {
			continue
		}
		if err := p2p.VerifyAccess(t.d.chainID, req.Access, v.OrderHash, v.ReceiptKey, from, t.d.clock()); err != nil {
			break // a stranger learns nothing
		}
		reply := p2p.VolumeReply{Bytes: v.Bytes, KeepUntilMS: v.KeepUntil}
		busy := v.KeepUntil == 0 && t.d.holds(v.Lease)
		switch req.Op {
		case p2p.VolumeExport:
			if busy {
				return refuse("%s is in use by lease %x: wait for its end, or use `moyai cp`", v.Name, v.Lease)
			}
			return reply, func(w io.Writer) error { return t.keeper.ExportVolume(ctx, filepath.Join(t.dir, v.File), w) }
		case p2p.VolumeRemove:
			if busy {
				return refuse("%s is in use by lease %x: stop it first", v.Name, v.Lease)
			}
			if err := t.drop(ctx, v); err != nil {
				return refuse("the provider could not delete it: try again")
			}
		}
		return reply, nil
	}
	return refuse("no volume %s of this order is here; it may have been kept long enough", req.Name)
}
