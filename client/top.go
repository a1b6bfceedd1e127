package client

import (
	"context"
	"errors"
	"io"
	"time"

	"github.com/moyai-network/moyai/p2p/enter"
)

// Top is what runs inside a task at one moment.
type Top struct {
	Lease     string        `json:"lease"`
	Time      time.Time     `json:"time"`
	Processes []ProcessInfo `json:"processes"` // the task's own first
	CPUMS     uint64        `json:"cpu_ms"`    // of the task so far
	WallMS    uint64        `json:"wall_ms"`
	// CPU is the share of one core used since the listing before, in thousandths; of
	// the first listing, since the start.
	CPU         uint64 `json:"cpu_milli"`
	CPULimit    uint64 `json:"cpu_limit_milli,omitempty"`
	MemoryPeak  uint64 `json:"memory_peak_bytes"`
	MemoryLimit uint64 `json:"memory_limit_bytes,omitempty"`
	OutputBytes uint64 `json:"output_bytes"`
}

// ProcessInfo is one process inside.
type ProcessInfo struct {
	PID         uint64 `json:"pid"` // as the task counts
	Command     string `json:"command"`
	CPUMS       uint64 `json:"cpu_ms"`
	CPU         uint64 `json:"cpu_milli"` // as Top.CPU
	MemoryBytes uint64 `json:"memory_bytes"`
	Threads     uint64 `json:"threads"`
	SinceMS     uint64 `json:"since_ms"`
}

// Top lists the processes of a running task: once, or with every (half a second to a
// minute) again and again until ctx ends (which is no error) or the task does
// (ErrEnded). It ends with fn's first error, too.
func (c *Client) Top(ctx context.Context, lease string, every time.Duration, fn func(Top) error) error {
	r, err := c.residence(ctx, lease)
	if err != nil {
		return err
	}
	return c.top(ctx, r, every, fn)
}

func (c *Client) top(ctx context.Context, r *residence, every time.Duration, fn func(Top) error) error {
	ask := &enter.Top{}
	if every > 0 {
		ask.EveryMS = uint64(min(max(every.Milliseconds(), enter.MinEveryMS), enter.MaxEveryMS))
	}
	e, err := c.enter(ctx, r, enter.Request{Top: ask})
	if err != nil {
		return err
	}
	defer e.Close()
	defer context.AfterFunc(ctx, func() { _ = e.Close() })()
	var before *enter.Listing
	for {
		l, err := e.Listing()
		switch {
		case ctx.Err() != nil:
			return nil
		case errors.Is(err, io.EOF) && before != nil && every == 0:
			return nil
		case errors.Is(err, io.EOF):
			return &enterError{ErrEnded, "lease " + r.name() + ": its program has ended"}
		case err != nil:
			return err
		}
		if err := fn(topOf(r.name(), before, &l)); err != nil {
			return err
		}
		before = &l
	}
}

func topOf(lease string, before, now *enter.Listing) Top {
	t := Top{
		Lease: lease, Time: time.Now(), CPUMS: now.CPUMS, WallMS: now.WallMS, MemoryPeak: now.MemoryPeak, OutputBytes: now.Output,
		CPULimit: now.CPUMilli, MemoryLimit: now.MemoryBytes, Processes: []ProcessInfo{},
	}
	if before == nil {
		before = &enter.Listing{}
	}
	t.CPU = share(now.CPUMS, before.CPUMS, now.WallMS, before.WallMS)
	was := map[uint64]enter.Process{}
	for _, p := range before.Processes {
		was[p.PID] = p
	}
	for _, p := range now.Processes {
		old := was[p.PID]
		if old.SinceMS > p.SinceMS {
			old = enter.Process{} // another process under an old number
		}
		t.Processes = append(t.Processes, ProcessInfo{
			PID: p.PID, Command: p.Command, CPUMS: p.CPUMS, CPU: share(p.CPUMS, old.CPUMS, p.SinceMS, old.SinceMS),
			MemoryBytes: p.Memory, Threads: p.Threads, SinceMS: p.SinceMS,
		})
	}
	return t
}

// share is how much of one core was used, in thousandths.
func share(used, usedBefore, time, timeBefore uint64) uint64 {
	if used <= usedBefore || time <= timeBefore {
		return 0
	}
	return (used - usedBefore) * 1000 / (time - timeBefore)
}
