//go:build !linux

package supervise

import (
	"fmt"
	"os"
)

// Main says that there are no containers here.
func Main([]string) int {
	fmt.Fprintln(os.Stderr, "supervise: containers need Linux")
	return 1
}
