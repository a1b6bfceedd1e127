// Package volume is a folder of fixed size that outlives the containers that see
// it: a file that holds an ext4 file system, mounted through a loop device.
//
// The kernel keeps the size: what does not fit fails inside with ENOSPC, and the
// file never grows. Its room is taken when it is made, so that a disk which fills
// up later takes nothing away from it.
//
// Who owns a volume and how long it is kept is not known here.
package volume

import (
	"errors"
	"fmt"

	"github.com/moyai-network/moyai/compute"
)

// MinBytes is the least size of a volume: below it a file system is mostly its
// own bookkeeping.
const MinBytes = 8 << 20

// ErrInUse: another container sees the volume, or has not quite ended yet.
var ErrInUse = errors.New("volume is in use")

func unavailable(what string, err error) error {
	return fmt.Errorf("%w: volume: %s: %w", compute.ErrUnavailable, what, err)
}
