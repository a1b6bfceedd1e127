//go:build !linux

package gateway

import (
	"fmt"
	"os"
)

// Main says that there are no gateways here.
func Main() int {
	fmt.Fprintln(os.Stderr, "moyai-egress: there is nothing for it to do but on Linux")
	return 1
}
