// Command hashing is the hashing kernel: SHA-256 of its own output. Its argument
// is how many KiB to hash.
package main

import (
	"crypto/sha256"
	"encoding/hex"
	"os"
	"strconv"
)

func main() {
	n, err := strconv.ParseUint(os.Args[1], 10, 64)
	if err != nil {
		os.Exit(2)
	}
	_, _ = os.Stdout.WriteString("start\n")
	block := make([]byte, 1024)
	for range n {
		sum := sha256.Sum256(block)
		copy(block, sum[:])
	}
	_, _ = os.Stdout.WriteString(hex.EncodeToString(block[:32]) + "\n")
}
