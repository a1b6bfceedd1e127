package worker

import (
	"context"

	"github.com/tetratelabs/wazero/experimental"
)

// linearMemory is a guest's memory: address space reserved once, made usable as
// it grows. Growing then copies nothing and the garbage collector never sees
// it, and the limit is a comparison here.
type linearMemory struct {
	limit   uint64
	refused uint64 // the size last asked for in vain
	region  []byte
	usable  uint64
}

// attach makes the next instantiation under the returned context use m.
func (m *linearMemory) attach(ctx context.Context) context.Context {
	return experimental.WithMemoryAllocator(ctx, experimental.MemoryAllocatorFunc(m.allocate))
}

func (m *linearMemory) allocate(_, maximum uint64) experimental.LinearMemory {
	reserve := min(maximum, m.limit)
	if reserve == 0 {
		return m
	}
	region, err := reserveMemory(int(reserve))
	if err != nil {
		m.limit = 0 // Reallocate then refuses
		return m
	}
	m.region = region
	return m
}

// Reallocate implements experimental.LinearMemory.
func (m *linearMemory) Reallocate(want uint64) []byte {
	if want > uint64(len(m.region)) {
		m.refused = want
		return nil
	}
	if want > m.usable {
		if err := useMemory(m.region[m.usable:want]); err != nil {
			m.refused = want
			return nil
		}
		m.usable = want
	}
	if want == 0 {
		return []byte{}
	}
	return m.region[:want:want]
}

// Free implements experimental.LinearMemory. The process ends with its guest,
// so there is nothing to give back early.
func (m *linearMemory) Free() {}

// wazeroPages is the limit given to wazero: none of its own, so that every
// refusal is seen here.
func wazeroPages(uint64) uint32 { return 1 << 16 }
