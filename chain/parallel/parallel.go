// Package parallel does pure work of one transaction on several cores: the
// results are the same on any number of them. It is not for anything that
// reads or writes state, whose order is part of consensus.
package parallel

import (
	"runtime"
	"sync"
	"sync/atomic"
)

// Each calls do(0) … do(n-1), each once, and returns when all have. A call that
// panics is repeated on the caller's goroutine, one after another, so that what
// recovers from panics there (the application, for a transaction) does so here.
func Each(n int, do func(i int)) {
	returned := make([]bool, n)
	try := func(i int) {
		defer func() { _ = recover() }() // returned[i] stays false
		do(i)
		returned[i] = true
	}
	if workers := min(runtime.GOMAXPROCS(0), n); workers > 1 {
		var next atomic.Int64
		var wg sync.WaitGroup
		for range workers {
			wg.Go(func() {
				for i := int(next.Add(1)) - 1; i < n; i = int(next.Add(1)) - 1 {
					try(i)
				}
			})
		}
		wg.Wait()
	}
	for i, ok := range returned {
		if !ok {
			do(i)
		}
	}
}
