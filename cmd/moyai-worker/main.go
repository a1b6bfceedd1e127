// Command moyai-worker is the small child beside a tenant's program. Without
// arguments it runs one WebAssembly task in a process of its own; with a mode as
// its first argument it stands over one container, or is a tool inside one. It is
// started by moyai, reads its work from standard input, and is of no use by hand.
// It is small on purpose: its start-up is in front of every task.
package main

import (
	"os"

	"github.com/moyai-network/moyai/compute/container/supervise"
	"github.com/moyai-network/moyai/compute/container/tool"
	"github.com/moyai-network/moyai/compute/wasm/worker"
)

func main() {
	switch {
	case len(os.Args) < 2:
		os.Exit(worker.Main())
	case os.Args[1] == supervise.ToolMode:
		os.Exit(tool.Main(os.Args[2:]))
	default:
		os.Exit(supervise.Main(os.Args[1:]))
	}
}
