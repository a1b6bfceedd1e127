// Command moyai-docker stands over one container that Docker runs for a tenant, and
// holds it to its limits while nobody else looks. It is started by moyai, reads its
// work from standard input, and is of no use by hand. It is apart from moyai-worker
// because Docker's client is large, and that one starts with every task.
package main

import (
	"os"

	"github.com/moyai-network/moyai/compute/docker/stand"
)

func main() { os.Exit(stand.Main()) }
