//go:build unix

package main

import (
	"os"
	"os/signal"
	"syscall"

	"github.com/moyai-network/moyai/client"
)

// watch tells every new size of the terminal.
func (k keyboard) watch() (sizes <-chan client.TerminalSize, stop func()) {
	out, changed, over := make(chan client.TerminalSize), make(chan os.Signal, 1), make(chan struct{})
	signal.Notify(changed, syscall.SIGWINCH)
	go func() {
		for {
			select {
			case <-over:
				return
			case <-changed:
			}
			select {
			case <-over:
				return
			case out <- k.size():
			}
		}
	}()
	return out, func() {
		signal.Stop(changed)
		close(over)
	}
}
