//go:build !linux

package machine

import (
	"strings"

	"github.com/shirou/gopsutil/v4/cpu"
	"github.com/shirou/gopsutil/v4/mem"
)

// system asks the operating system for what Linux has in files.
func system() (model string, m Memory) {
	if v, err := mem.VirtualMemory(); err == nil {
		m = Memory{Total: v.Total, Available: v.Available}
	}
	if c, err := cpu.Info(); err == nil && len(c) > 0 {
		model = strings.TrimSpace(c[0].ModelName)
	}
	return model, m
}
