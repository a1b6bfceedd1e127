// Command moyai is the one binary of the network: it rents and lends machines,
// runs validators, and brings up a whole network on one machine.
//
// Each verb is a thin file here: it reads flags, calls a role's package and
// prints. What a verb does is not decided in this package.
package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"
)

// version is set by the linker (see Makefile).
var version = "unknown"

func main() {
	os.Exit(Main())
}

// Main runs the program and returns its exit code: 0 for success, 1 for
// failure, 2 for a command line that makes no sense; `moyai run` passes its
// program's own code through. The command-line tests call it too.
func Main() int {
	// SIGTERM ends every verb in an orderly way. Ctrl-C does too, except where a
	// verb gives it a meaning of its own (run detaches).
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGHUP)
	defer stop()
	a := newApp(os.Stdin, os.Stdout, os.Stderr)
	return a.run(ctx, os.Args[1:])
}
