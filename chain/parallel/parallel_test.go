package parallel_test

import (
	"runtime"
	"sync/atomic"
	"testing"

	"github.com/moyai-network/moyai/chain/parallel"
)

func TestEachCallsOnce(t *testing.T) {
	for _, n := range []int{0, 1, 2, 1000} {
		calls := make([]atomic.Int32, n)
		parallel.Each(n, func(i int) { calls[i].Add(1) })
		for i := range calls {
			if got := calls[i].Load(); got != 1 {
				t.Fatalf("n %d: call %d was made %d times", n, i, got)
			}
		}
	}
}

// TestPanicReachesTheCaller: a panic on another goroutine would end the node.
func TestPanicReachesTheCaller(t *testing.T) {
	previous := runtime.GOMAXPROCS(4)
	defer runtime.GOMAXPROCS(previous)
	var others atomic.Int32
	defer func() {
		if got := recover(); got != "seven" {
			t.Fatalf("recovered %v", got)
		}
		if others.Load() != 9 {
			t.Fatalf("%d of the 9 others were called", others.Load())
		}
	}()
	parallel.Each(10, func(i int) {
		if i == 7 {
			panic("seven")
		}
		others.Add(1)
	})
	t.Fatal("did not panic")
}
