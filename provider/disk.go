package provider

import (
	"context"
	"fmt"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/moyai-network/moyai/mechanism/lease"
	"github.com/moyai-network/moyai/mechanism/match"
	"github.com/moyai-network/moyai/provider/leasing"
)

// diskGuard keeps room for the journal. Below the reserve no new work is taken;
// below half of it running work is stopped, because a journal that cannot be
// written would lose every lease, not one.
type diskGuard struct {
	home    string
	reserve uint64
	full    atomic.Bool
	free    func(path string) (uint64, error)
}

func newDiskGuard(home string, reserve uint64) *diskGuard {
	return &diskGuard{home: home, reserve: reserve, free: freeBytes}
}

func freeBytes(path string) (uint64, error) {
	var st syscall.Statfs_t
	if err := syscall.Statfs(path, &st); err != nil {
		return 0, fmt.Errorf("free space of %s: %w", path, err)
	}
	return st.Bavail * uint64(st.Bsize), nil
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
				Reason: lease.ReasonProviderStopped, Text: errDisk.Error(), Elapsed: a.meter.elapsed(), Now: unixMS(time.Now()),
			})
		}
	}
}
