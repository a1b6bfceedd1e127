package provider

import (
	"errors"
	"fmt"

	"github.com/moyai-network/moyai/provider/machine"
)

// Lend is the part of a machine that is offered: what its owner chose, and for
// each zero in chosen, all cores, three quarters of the memory that is available
// and half of the free disk.
func Lend(m machine.Machine, chosen Capacity) (Capacity, error) {
	setDefault(&chosen.CPUMilli, m.CPU.Milli)
	setDefault(&chosen.MemoryBytes, m.Memory.Available/4*3)
	setDefault(&chosen.StorageBytes, m.Disk.Free/2)
	switch {
	case chosen.MemoryBytes == 0:
		return chosen, errors.New("cannot tell how much memory there is: say it with --memory, such as --memory 4Gi")
	case chosen.StorageBytes == 0:
		return chosen, fmt.Errorf("cannot tell how much disk there is in %s: say it with --disk, such as --disk 20Gi", m.Disk.Path)
	}
	return chosen, chosen.validate()
}
