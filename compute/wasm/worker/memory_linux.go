package worker

import "golang.org/x/sys/unix"

const noReserve = unix.MAP_NORESERVE

// adviseHuge: fewer page faults and TLB misses for large guests; advice only.
func adviseHuge(region []byte) { _ = unix.Madvise(region, unix.MADV_HUGEPAGE) }
