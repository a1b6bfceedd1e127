// Command moyai-egress is the gateway beside a container that may speak to the
// internet: it ends the container's connections in a network stack of its own and
// makes those that the policies let through. It is started by moyai-worker, reads
// its order from standard input, and is of no use by hand. It is a program of its
// own because its stack is larger than everything else that stands beside a task.
package main

import (
	"os"

	"github.com/moyai-network/moyai/compute/egress/gateway"
)

func main() { os.Exit(gateway.Main()) }
