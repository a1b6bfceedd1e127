// Command integer is the integer kernel: a Collatz search. Its argument is how
// many numbers to try.
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
	longest := 0
	for i := uint64(1); i <= n; i++ {
		steps := 0
		for x := i; x != 1; steps++ {
			if x&1 == 0 {
				x >>= 1
			} else {
				x = 3*x + 1
			}
		}
		longest = max(longest, steps)
	}
	_, _ = os.Stdout.WriteString(strconv.Itoa(longest) + "\n")
}
