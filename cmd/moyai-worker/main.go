// Command moyai-worker is the small child beside a tenant's program. Without
// arguments it runs one WebAssembly task in a process of its own; with a mode as
// its first argument it stands over one container. It is started by moyai, reads
// its work from standard input, and is of no use by hand. It is small on purpose:
// its start-up is in front of every task.
package main

import (
	"os"

	"github.com/moyai-network/moyai/compute/container/supervise"
	"github.com/moyai-network/moyai/compute/wasm/worker"
)

func main() {
	if len(os.Args) > 1 {
		os.Exit(supervise.Main(os.Args[1:]))
	}
	os.Exit(worker.Main())
}
