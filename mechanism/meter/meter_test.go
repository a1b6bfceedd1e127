package meter

import (
	"math"
	"testing"
)

func TestAdvance(t *testing.T) {
	const step = 30_000
	tests := []struct {
		name  string
		clock Clock
		block int64
		want  Clock
	}{
		{"first block", Clock{}, 1_800_000_000_000, Clock{0, 1_800_000_000_000}},
		{"ordinary block", Clock{100, 1000}, 1050, Clock{150, 1050}},
		{"largest step", Clock{100, 1000}, 31_000, Clock{30_100, 31_000}},
		{"after a halt of a day", Clock{100, 1000}, 86_401_000, Clock{30_100, 86_401_000}},
		{"same time", Clock{100, 1000}, 1000, Clock{100, 1000}},
		{"earlier block time", Clock{100, 1000}, 900, Clock{100, 1000}},
		{"before 1970", Clock{100, math.MinInt64}, math.MaxInt64, Clock{30_100, math.MaxInt64}},
		{"end of time", Clock{math.MaxUint64 - 5, 1000}, 2000, Clock{math.MaxUint64 - 5, 1000}},
	}
	for _, test := range tests {
		if got := test.clock.Advance(test.block, step); got != test.want {
			t.Errorf("%s: %+v, want %+v", test.name, got, test.want)
		}
	}
}

// FuzzAdvance: whatever block times come, the clock never goes back nor by more
// than a step, and a difference it did not count once is never counted later.
func FuzzAdvance(f *testing.F) {
	f.Add(int64(1), int64(2), int64(3), uint64(30_000))
	f.Add(int64(math.MinInt64), int64(math.MaxInt64), int64(0), uint64(math.MaxUint64))
	f.Fuzz(func(t *testing.T, a, b, c int64, step uint64) {
		var clock Clock
		for _, block := range []int64{a, b, c} {
			next := clock.Advance(block, step)
			if next.NowMS < clock.NowMS || next.NowMS-clock.NowMS > step {
				t.Errorf("%+v at %d became %+v, step %d", clock, block, next, step)
			}
			if clock.LastBlockMS != 0 && next.LastBlockMS < clock.LastBlockMS {
				t.Errorf("%+v at %d became %+v", clock, block, next)
			}
			clock = next
		}
	})
}
