package client

import (
	"archive/tar"
	"bytes"
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/moyai-network/moyai/client/journal"
	"github.com/moyai-network/moyai/compute/manifest"
	"github.com/moyai-network/moyai/p2p"
	"github.com/moyai-network/moyai/wire"
)

// ErrVolume: a volume is not where it should be.
var ErrVolume = errors.New("volume")

const (
	defaultVolume = 1 << 30
	volumeTimeout = 10 * time.Second
)

// placeVolumes finds out where a job's volumes are. All that exist must be at one
// machine, which then is the only one that can run the job.
func (c *Client) placeVolumes(ctx context.Context, j *Job) error {
	for i := range j.Volumes {
		v := &j.Volumes[i]
		if err := errors.Join(manifest.ValidateVolumeName(v.Name), manifest.ValidateVolumePath(v.Path)); err != nil {
			return fmt.Errorf("%w: %w", ErrBadJob, err)
		}
		row, err := c.journal.Volume(ctx, v.Name)
		if errors.Is(err, journal.ErrNone) {
			setDefault(&v.Bytes, defaultVolume)
			continue
		}
		if err != nil {
			return err
		}
		reply, _, err := c.askVolume(ctx, row, p2p.VolumeInfo)
		if refused := new(p2p.RefusedError); errors.As(err, &refused) {
			c.log.Info("a volume is gone", "volume", v.Name, "why", err)
			if err := c.journal.DropVolume(ctx, v.Name); err != nil {
				return err
			}
			setDefault(&v.Bytes, defaultVolume)
			continue
		}
		if err != nil {
			return fmt.Errorf("%w %s is at %s, which does not answer (%w): wait for it, or begin anew after `moyai volume rm --forget %s`", ErrVolume, v.Name, row.Moniker, err, v.Name)
		}
		setDefault(&v.Bytes, reply.Bytes)
		if v.Bytes > reply.Bytes {
			return fmt.Errorf("%w: volume %s has %d bytes at %s, and making it larger is not supported yet: leave the size out, or export it and begin another", ErrBadJob, v.Name, reply.Bytes, row.Moniker)
		}
		if j.Place == nil {
			j.Place = &Place{Node: row.Node, Name: row.Moniker}
		}
		if !bytes.Equal(j.Place.Node, row.Node) {
			return fmt.Errorf("%w: volume %s is at %s, but %s is at %s: no machine has both", ErrBadJob, v.Name, row.Moniker, j.Place.Volumes[0], j.Place.Name)
		}
		j.Place.Volumes = append(j.Place.Volumes, "volume "+v.Name)
	}
	return nil
}

// placeAgain finds out where a job's volumes are after it has lost a lease. One that
// was new may have been written to there, and an empty one elsewhere would pass for it.
func (c *Client) placeAgain(ctx context.Context, j *Job) error {
	j.Volumes, j.Place = slices.Clone(j.Volumes), nil
	return c.placeVolumes(ctx, j)
}

// rememberVolumes writes down where a lease has its volumes.
func (r *run) rememberVolumes(t *tenancy) {
	for _, v := range r.job.Volumes {
		err := r.c.journal.SetVolume(context.WithoutCancel(r.ctx), journal.Volume{
			Name: v.Name, OrderHash: t.row.OrderHash, ReceiptSeed: t.row.ReceiptSeed, Provider: t.row.Provider, Moniker: t.row.Moniker,
			Node: t.row.Node, Addrs: t.row.Addrs, Bytes: v.Bytes, Used: time.Now(),
		})
		if err != nil {
			t.warn(err.Error())
		}
	}
}

// askVolume asks the provider that has a volume. The order's receipt key, which is
// in the journal, gives access.
func (c *Client) askVolume(ctx context.Context, row journal.Volume, op p2p.VolumeOp) (p2p.VolumeReply, io.ReadCloser, error) {
	if err := c.Connect(); err != nil {
		return p2p.VolumeReply{}, nil, err
	}
	key, err := wire.NewEd25519Signer(row.ReceiptSeed)
	if err != nil {
		return p2p.VolumeReply{}, nil, fmt.Errorf("journal: receipt key of volume %s: %w", row.Name, err)
	}
	access, err := wire.Seal(wire.Access{
		Version: wire.Version1, ChainID: c.chain.ChainID(), OrderHash: row.OrderHash,
		Peer: []byte(c.host.ID()), ExpiresAt: time.Now().Add(time.Hour).UnixMilli(),
	}, key)
	if err != nil {
		return p2p.VolumeReply{}, nil, err
	}
	id, err := p2p.PeerIDFromNode(row.Node)
	if err != nil {
		return p2p.VolumeReply{}, nil, err
	}
	info, err := p2p.ParseAddrInfo(id, row.Addrs)
	if err != nil {
		info = peer.AddrInfo{ID: id}
	}
	c.peers.ready(ctx) // where it is now
	if op != p2p.VolumeExport {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, volumeTimeout)
		defer cancel()
	}
	return c.host.Volume(ctx, c.located(info), p2p.VolumeRequest{Order: row.OrderHash, Access: access.Bytes(), Name: row.Name, Op: op})
}

// VolumeReport is a volume and where it is.
type VolumeReport struct {
	Name      string    `json:"name"`
	Provider  string    `json:"provider"`
	Moniker   string    `json:"moniker,omitempty"`
	Node      string    `json:"node"` // hex
	Bytes     uint64    `json:"bytes"`
	Used      time.Time `json:"used"`
	KeepUntil time.Time `json:"keep_until,omitzero"` // zero while a lease has it
	Problem   string    `json:"problem,omitempty"`   // why its provider did not say more
}

// Volumes lists this home's volumes, each as its provider knows it.
func (c *Client) Volumes(ctx context.Context) ([]VolumeReport, error) {
	rows, err := c.journal.Volumes(ctx)
	if err != nil {
		return nil, err
	}
	out := make([]VolumeReport, len(rows))
	for i, row := range rows {
		out[i] = VolumeReport{Name: row.Name, Provider: row.Provider, Moniker: row.Moniker, Node: hex.EncodeToString(row.Node), Bytes: row.Bytes, Used: row.Used}
		reply, _, err := c.askVolume(ctx, row, p2p.VolumeInfo)
		if err != nil {
			out[i].Problem = err.Error()
			continue
		}
		out[i].Bytes = reply.Bytes
		if reply.KeepUntilMS != 0 {
			out[i].KeepUntil = time.UnixMilli(reply.KeepUntilMS)
		}
	}
	return out, nil
}

// RemoveVolume deletes a volume at its provider, or with forget only here.
func (c *Client) RemoveVolume(ctx context.Context, name string, forget bool) error {
	row, err := c.volume(ctx, name)
	if err != nil {
		return err
	}
	if !forget {
		if _, _, err := c.askVolume(ctx, row, p2p.VolumeRemove); err != nil {
			return fmt.Errorf("%w %s: %w", ErrVolume, name, err)
		}
	}
	return c.journal.DropVolume(ctx, name)
}

func (c *Client) volume(ctx context.Context, name string) (journal.Volume, error) {
	row, err := c.journal.Volume(ctx, name)
	if errors.Is(err, journal.ErrNone) {
		err = fmt.Errorf("%w %s is not known in this home: `moyai volume ls` lists those that are", ErrVolume, name)
	}
	return row, err
}

// ExportVolume brings what a volume holds into a folder, which must be absent or
// empty. It returns how many files came, and how many entries were left out
// because they would lead out of the folder.
func (c *Client) ExportVolume(ctx context.Context, name, dir string) (files, skipped int, err error) {
	row, err := c.volume(ctx, name)
	if err != nil {
		return 0, 0, err
	}
	if entries, err := os.ReadDir(dir); err == nil && len(entries) > 0 {
		return 0, 0, fmt.Errorf("%w: %s: it is not empty: choose another", ErrOutput, dir)
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return 0, 0, fmt.Errorf("%w: %w", ErrOutput, err)
	}
	_, from, err := c.askVolume(ctx, row, p2p.VolumeExport)
	if err != nil {
		return 0, 0, fmt.Errorf("%w %s: %w", ErrVolume, name, err)
	}
	defer from.Close()
	// What it may bring is what may be in it, and the tar's own bookkeeping.
	files, skipped, err = untar(io.LimitReader(from, int64(row.Bytes+row.Bytes/8+64<<20)), dir)
	if err != nil {
		return files, skipped, fmt.Errorf("%w %s is not all here: %w", ErrVolume, name, err)
	}
	return files, skipped, nil
}

// untar unpacks a stranger's tar below dir and nowhere else.
func untar(r io.Reader, dir string) (files, skipped int, err error) {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return 0, 0, err
	}
	defer root.Close()
	for tr := tar.NewReader(r); ; {
		h, err := tr.Next()
		if errors.Is(err, io.EOF) {
			return files, skipped, nil
		}
		if err != nil {
			return files, skipped, err
		}
		name := filepath.FromSlash(h.Name)
		if !filepath.IsLocal(name) || throughLink(root, filepath.Clean(name)) {
			skipped++
			continue
		}
		switch h.Typeflag {
		case tar.TypeDir:
			err = root.MkdirAll(name, 0o755)
		case tar.TypeSymlink:
			if leadsOutside(name, h.Linkname) {
				skipped++
				continue
			}
			err = root.Symlink(h.Linkname, name)
		case tar.TypeReg:
			files++
			err = writeEntry(root, name, os.FileMode(h.Mode&0o777|0o600), tr)
		default:
			skipped++
		}
		if err != nil {
			return files, skipped, err
		}
	}
}

func writeEntry(root *os.Root, name string, mode os.FileMode, from io.Reader) error {
	if err := root.MkdirAll(filepath.Dir(name), 0o755); err != nil {
		return err
	}
	f, err := root.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, mode)
	if err != nil {
		return err
	}
	_, err = io.Copy(f, from)
	return errors.Join(err, f.Close())
}
