//go:build !linux

package tool

import (
	"fmt"
	"os"
)

// Main says that there are no containers here.
func Main([]string) int {
	fmt.Fprintln(os.Stderr, "moyai tool: containers need Linux")
	return 1
}
