package devnet

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"syscall"
	"time"
)

// tenantGrace is what a tenant gets to let go of its leases in order.
const tenantGrace = 15 * time.Second

// Do runs a command as the network's tenant and returns when it has ended. When
// ctx ends first, it and everything it started are interrupted as by Ctrl-C, and
// killed if that does not help. It needs a network of Processes.
//
// Errors: ctx's, exec.ExitError, and that it cannot be started.
func (n *Network) Do(ctx context.Context, cmd *exec.Cmd) error {
	if n.spawner == nil {
		return errors.New("a devnet inside one process starts no commands")
	}
	if cmd.Env == nil {
		cmd.Env = os.Environ()
	}
	cmd.Env = append(cmd.Env, n.Env()...)
	cmd.SysProcAttr = childAttr()
	if err := n.spawner.start(cmd); err != nil {
		return fmt.Errorf("start %s: %w", cmd.Path, err)
	}
	var exit error // once ended is closed
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		exit = cmd.Wait()
	}()
	for _, sig := range []syscall.Signal{syscall.SIGINT, syscall.SIGKILL} {
		select {
		case <-ended:
			return exit
		case <-ctx.Done():
		}
		_ = signalGroup(cmd.Process, sig)
		select {
		case <-ended:
			return ctx.Err()
		case <-time.After(tenantGrace):
		}
	}
	<-ended
	return ctx.Err()
}
