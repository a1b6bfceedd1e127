package machine

import (
	"context"
	"slices"
)

// GPUUse is how busy the busiest card is now, in percent: by NVIDIA's driver, and
// by the kernel's for AMD's cards. ok is false if none tells.
func GPUUse(ctx context.Context, s Sources) (percent uint, ok bool) {
	shares := tree(s.Root).cardUse()
	if s.NVML != nil {
		ctx, cancel := context.WithTimeout(ctx, nvmlPatience)
		defer cancel()
		heard := make(chan []uint, 1)
		go func() {
			use, _ := s.NVML.Use() // what cannot be asked is unknown
			heard <- use
		}()
		select {
		case use := <-heard:
			shares = append(shares, use...)
		case <-ctx.Done(): // a driver cannot be interrupted; it finishes by itself
		}
	}
	if len(shares) == 0 {
		return 0, false
	}
	return min(slices.Max(shares), 100), true
}

// cardUse reads what amdgpu tells of each card.
func (t tree) cardUse() (shares []uint) {
	const bus = "sys/bus/pci/devices"
	for _, slot := range t.list(bus) {
		if n, ok := t.number(bus + "/" + slot + "/gpu_busy_percent"); ok && n <= 100 {
			shares = append(shares, uint(n))
		}
	}
	return shares
}
