// Package meter is the clock that money runs on.
//
// Meter time counts milliseconds and advances once per block by the block time
// difference, but by no more than a governed step, so a chain that stood still
// for a day neither bills the day nor dries every stream in its first block.
//
// It is not the clock of signatures and expiries (those use block time), nor
// of beacons and audits (those use heights). The three are never mixed.
package meter

// Clock is the meter clock as the chain stores it. The zero value is a clock
// that has seen no block.
type Clock struct {
	NowMS       uint64 // meter time
	LastBlockMS int64  // block time, unix milliseconds, of the block it last advanced on; 0 before the first
}

// Advance returns the clock after a block at blockMS (unix milliseconds),
// moved by the time since the last block but by at most maxStepMS. The first
// block only sets the start, and a block time that does not grow moves
// nothing: meter time never goes back.
func (c Clock) Advance(blockMS int64, maxStepMS uint64) Clock {
	if c.LastBlockMS == 0 {
		c.LastBlockMS = blockMS
		return c
	}
	if blockMS <= c.LastBlockMS {
		return c
	}
	// The difference of two int64 in order always fits uint64.
	step := min(uint64(blockMS)-uint64(c.LastBlockMS), maxStepMS)
	if c.NowMS+step < c.NowMS {
		return c // 584 million years; standing still is the safe end
	}
	c.NowMS += step
	c.LastBlockMS = blockMS
	return c
}
