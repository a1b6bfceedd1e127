package tool

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"

	"github.com/pkg/sftp"

	"github.com/moyai-network/moyai/compute"
	"github.com/moyai-network/moyai/compute/container/internal/switchboard"
	"github.com/moyai-network/moyai/compute/container/supervise"
)

// Main runs the tool that args name and returns the process's exit code.
func Main(args []string) int {
	if len(args) > 1 && args[0] == supervise.ToolTerminal {
		return onTerminal(args[1:])
	}
	// A file larger than the container may write is an error, not the end.
	signal.Ignore(syscall.SIGXFSZ)
	if err := run(args, os.Stdin, os.Stdout, os.Stderr); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 0
}

func run(args []string, in io.Reader, out io.WriteCloser, complain io.Writer) error {
	if len(args) == 0 {
		return errors.New("no tool is named")
	}
	tool, args := compute.Tool(args[0]), args[1:]
	switch {
	case tool == compute.ToolSFTP && len(args) == 0:
		return serveSFTP(in, out)
	case tool == compute.ToolTarOut && len(args) == 1:
		return tarOut(args[0], out, complain)
	case tool == compute.ToolTarIn && len(args) == 1:
		return tarIn(args[0], in, complain)
	case tool == supervise.ToolDial && len(args) == 0:
		return switchboard.Serve(in, out, connect)
	}
	return fmt.Errorf("there is no tool %q with %d arguments", tool, len(args))
}

// stdio is both directions of a client's connection.
type stdio struct {
	io.Reader
	io.WriteCloser
}

// serveSFTP serves the whole file system, as far as this process may reach, from
// the working directory on.
func serveSFTP(in io.Reader, out io.WriteCloser) error {
	dir, err := os.Getwd()
	if err != nil {
		return err
	}
	server, err := sftp.NewServer(stdio{in, out}, sftp.WithServerWorkingDirectory(dir))
	if err != nil {
		return err
	}
	if err := server.Serve(); err != nil && !errors.Is(err, io.EOF) {
		return err
	}
	return nil
}
