package supervise

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"github.com/moyai-network/moyai/compute/container/internal/volume"
)

// export shows a volume to this process alone and writes it out.
func export(args []string) int {
	if len(args) != 1 {
		fmt.Fprintln(os.Stderr, "moyai-worker: export needs a volume's path")
		return 64
	}
	err := exportTo(args[0])
	if errors.Is(err, volume.ErrInUse) {
		fmt.Fprintln(os.Stderr, err)
		return ExitInUse
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "export:", err)
		return 1
	}
	return 0
}

func exportTo(path string) error {
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_SLAVE, ""); err != nil {
		return fmt.Errorf("make a mount namespace of our own: %w", err)
	}
	if err := os.MkdirAll(Box, 0o755); err != nil {
		return err
	}
	// Writable, or a journal that a power cut left could not be played back.
	held, err := volume.Mount(path, Box, false)
	if err != nil {
		return err
	}
	defer held.Close()
	out := bufio.NewWriterSize(os.Stdout, 1<<20)
	return errors.Join(volume.WriteTar(filepath.Join(Box, volume.Data), out), out.Flush())
}
