//go:build cgo && linux

package machine

import (
	"os"
	"path/filepath"
	"testing"
)

func TestGPUUse(t *testing.T) {
	empty := Sources{Root: t.TempDir()}
	if n, ok := GPUUse(t.Context(), empty); ok {
		t.Errorf("no card, yet %d%%", n)
	}
	amd := Sources{Root: t.TempDir()}
	for slot, text := range map[string]string{"0000:03:00.0": "37\n", "0000:04:00.0": "12\n", "0000:05:00.0": "broken"} {
		dir := filepath.Join(amd.Root, "sys/bus/pci/devices", slot)
		if err := os.MkdirAll(dir, 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, "gpu_busy_percent"), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if n, ok := GPUUse(t.Context(), amd); !ok || n != 37 {
		t.Errorf("amd: %d%%, %v", n, ok)
	}
	amd.NVML = build(t, append([]string{"-DBUSY=90"}, h100...)...)
	if n, ok := GPUUse(t.Context(), amd); !ok || n != 90 {
		t.Errorf("with nvidia's busiest: %d%%, %v", n, ok)
	}
	old := Sources{Root: t.TempDir(), NVML: library(filepath.Join(t.TempDir(), "absent.so"))}
	if n, ok := GPUUse(t.Context(), old); ok {
		t.Errorf("no library, yet %d%%", n)
	}
}
