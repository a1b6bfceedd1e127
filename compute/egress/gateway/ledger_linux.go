package gateway

import (
	"fmt"
	"os"
	"sync/atomic"
	"unsafe"

	"golang.org/x/sys/unix"
)

// ledger counts bytes in a file that others see and may count in, too.
type ledger struct{ n *atomic.Uint64 }

func openLedger(file *os.File) (ledger, error) {
	b, err := unix.Mmap(int(file.Fd()), 0, 8, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	if err != nil {
		return ledger{}, fmt.Errorf("map the ledger: %w", err)
	}
	return ledger{(*atomic.Uint64)(unsafe.Pointer(&b[0]))}, nil //nolint:gosec // one aligned word, as compute.EgressLedgerSize says
}

// take spends up to n bytes of a budget and says how many there were.
func (l ledger) take(n, budget uint64) uint64 {
	for {
		spent := l.n.Load()
		if spent >= budget {
			return 0
		}
		got := min(n, budget-spent)
		if l.n.CompareAndSwap(spent, spent+got) {
			return got
		}
	}
}

func (l ledger) spent(budget uint64) bool { return l.n.Load() >= budget }
