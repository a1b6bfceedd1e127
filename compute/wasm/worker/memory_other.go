//go:build !linux

package worker

import "context"

// linearMemory leaves memory to wazero, whose own limit then holds; which
// refusal made a program fail is not known here.
type linearMemory struct {
	limit   uint64
	refused uint64
}

func (m *linearMemory) attach(ctx context.Context) context.Context { return ctx }

// wazeroPages is the limit given to wazero.
func wazeroPages(limit uint64) uint32 { return uint32(min(limit/wasmPage, 1<<16)) }
