// Command moyai-worker runs one WebAssembly task in a process of its own. It is
// started by moyai, reads its work from standard input, and is of no use by
// hand. It is small on purpose: its start-up is in front of every task.
package main

import (
	"os"

	"github.com/moyai-network/moyai/compute/wasm/worker"
)

func main() { os.Exit(worker.Main()) }
