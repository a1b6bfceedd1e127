package provider

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"sync/atomic"
	"time"

	"github.com/moyai-network/moyai/mechanism/lease"
	"github.com/moyai-network/moyai/mechanism/match"
	"github.com/moyai-network/moyai/provider/leasing"
	"github.com/moyai-network/moyai/provider/machine"
)

// diskGuard keeps room for the journal. Below the reserve no new work is taken;
// below half of it running work is stopped, because a journal that cannot be
// written would lose every lease, not one.
//
// A program can fill a disk between two looks. So the guard carries ballast, a
// file that is thrown overboard when nothing else is left: that much the
// journal has in any case.
type diskGuard struct {
	home    string
	reserve uint64
	full    atomic.Bool
	free    func(path string) (uint64, error)
	aboard  bool // the ballast lies in home; look's alone
}

// maxBallast is room for a journal's transactions, and no burden on a disk.
const maxBallast = 16 << 20

func newDiskGuard(home string, reserve uint64) *diskGuard {
	g := &diskGuard{home: home, reserve: reserve, free: freeBytes}
	_, err := os.Stat(g.ballast())
	g.aboard = err == nil // of an earlier run
	return g
}

func (g *diskGuard) ballast() string { return filepath.Join(g.home, "ballast") }
func (g *diskGuard) weight() uint64  { return min(g.reserve/2, maxBallast) }

// trim takes ballast aboard while there is plenty of room, and throws it
// overboard when there is none.
func (g *diskGuard) trim(free uint64) error {
	switch {
	case !g.aboard && free >= g.reserve+g.weight():
		// Not zeros: a file system that compresses would take no room for them.
		noise := io.LimitReader(rand.NewChaCha8([32]byte{}), int64(g.weight()))
		f, err := os.OpenFile(g.ballast(), os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
		if err == nil {
			_, err = io.Copy(f, noise)
			err = errors.Join(err, f.Close())
		}
		if err != nil {
			return errors.Join(err, os.Remove(g.ballast()))
		}
		g.aboard = true
	case g.aboard && free < g.weight()/2:
		g.aboard = false
		return os.Remove(g.ballast())
	}
	return nil
}

func freeBytes(path string) (uint64, error) {
	v, err := machine.Host().Volume(path)
	return v.Free, err
}

const diskEvery = 2 * time.Second

func (g *diskGuard) run(ctx context.Context, d *desk) error {
	ticker := time.NewTicker(diskEvery)
	defer ticker.Stop()
	for {
		g.look(d)
		select {
		case <-ctx.Done():
			return nil
		case <-ticker.C:
		}
	}
}

func (g *diskGuard) look(d *desk) {
	free, err := g.free(g.home)
	if err != nil {
		d.log.Warn("cannot tell how much disk is free", "err", err)
		return
	}
	if err := g.trim(free); err != nil {
		d.log.Warn("ballast", "err", err)
	}
	full := free < g.reserve
	if full && !g.full.Swap(full) {
		d.alert("disk", "error", fmt.Sprintf("only %s of disk are free, %s are kept back: no new work is taken; make room in %s",
			match.Bytes(free), match.Bytes(g.reserve), g.home))
	}
	g.full.Store(full)
	if free >= g.reserve/2 {
		return
	}
	for _, a := range d.all() {
		if a.snapshot().Work == leasing.WorkRunning {
			a.post(leasing.StopAsked{
				Reason: lease.ReasonProviderStopped, Text: errDisk.Error(), Elapsed: a.meter.elapsed(), Now: d.now(),
			})
		}
	}
}
