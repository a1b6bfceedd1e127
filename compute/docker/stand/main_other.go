//go:build !linux

package stand

import (
	"fmt"
	"os"
)

// Main says that there is nothing to stand over here.
func Main() int {
	fmt.Fprintln(os.Stderr, "moyai-docker: Docker is driven on Linux only (on Windows, in WSL 2)")
	return 64
}
