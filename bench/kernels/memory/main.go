// Command memory is the memory-bound kernel: it follows a random cycle through
// 64 MiB, so that nearly every step misses the caches. Its argument is how many
// thousand steps.
package main

import (
	"os"
	"strconv"
)

func main() {
	n, err := strconv.ParseUint(os.Args[1], 10, 64)
	if err != nil {
		os.Exit(2)
	}
	_, _ = os.Stdout.WriteString("start\n")
	const cells = 16 << 20
	next := make([]uint32, cells)
	for i := range next {
		next[i] = uint32(i)
	}
	// Sattolo's algorithm makes one cycle of all cells.
	seed := uint64(0x9e3779b97f4a7c15)
	for i := uint32(cells - 1); i > 0; i-- {
		seed ^= seed << 13
		seed ^= seed >> 7
		seed ^= seed << 17
		j := uint32(seed % uint64(i))
		next[i], next[j] = next[j], next[i]
	}
	at := uint32(0)
	for range n * 1000 {
		at = next[at]
	}
	_, _ = os.Stdout.WriteString(strconv.FormatUint(uint64(at), 10) + "\n")
}
