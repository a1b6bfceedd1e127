//go:build cgo && linux

package machine

import (
	"errors"
	"fmt"
	"strings"
	"sync"

	"github.com/NVIDIA/go-nvml/pkg/nvml"
)

const libraryFix = "install libnvidia-ml.so.1 of the same driver version, such as `apt install libnvidia-ml1`"

// nvidia is the real library. The binding keeps function pointers in package
// variables, so one reader at a time.
type nvidia struct{ path string }

var reading sync.Mutex

// library is NVML at a path; empty: libnvidia-ml.so.1 where the linker finds it.
func library(path string) NVML { return nvidia{path} }

// nvmlFunctions are called without a look at whether they are there: a driver of
// the last ten years has them all. The binding would end the process if one was
// missing, so an older one is refused.
var nvmlFunctions = []string{
	"nvmlInit_v2", "nvmlShutdown", "nvmlErrorString", "nvmlSystemGetDriverVersion", "nvmlDeviceGetCount_v2",
	"nvmlDeviceGetHandleByIndex_v2", "nvmlDeviceGetName", "nvmlDeviceGetUUID", "nvmlDeviceGetMemoryInfo",
}

// Read implements NVML.
func (n nvidia) Read() (d Driver, err error) {
	err = n.with(nvmlFunctions, func(s session) error {
		d, err = s.driver()
		return err
	})
	return d, err
}

// Use implements NVML.
func (n nvidia) Use() (shares []uint, err error) {
	needed := []string{"nvmlInit_v2", "nvmlShutdown", "nvmlErrorString", "nvmlDeviceGetCount_v2", "nvmlDeviceGetHandleByIndex_v2", "nvmlDeviceGetUtilizationRates"}
	err = n.with(needed, func(s session) error {
		count, ret := s.lib.DeviceGetCount()
		if ret != nvml.SUCCESS {
			return fmt.Errorf("count the cards: %s", nvml.ErrorString(ret))
		}
		for i := range min(count, maxCards) {
			device, ret := s.lib.DeviceGetHandleByIndex(i)
			if ret != nvml.SUCCESS {
				continue
			}
			if use, ret := device.GetUtilizationRates(); ret == nvml.SUCCESS {
				shares = append(shares, uint(use.Gpu))
			}
		}
		return nil
	})
	return shares, err
}

// with opens the library, if it has the functions needed, for one piece of work.
func (n nvidia) with(needed []string, work func(session) error) (err error) {
	reading.Lock()
	defer reading.Unlock()
	var opts []nvml.LibraryOption
	if n.path != "" {
		opts = append(opts, nvml.WithLibraryPath(n.path))
	}
	s := session{nvml.New(opts...)}
	// A library that cannot be opened is absent; one that opens and refuses has a
	// driver behind it that is in trouble.
	switch ret := s.lib.Init(); {
	case ret == nvml.ERROR_LIBRARY_NOT_FOUND:
		return fmt.Errorf("%w: libnvidia-ml.so.1 is not installed", ErrNoNVML)
	case ret != nvml.SUCCESS:
		return fmt.Errorf("start NVML: %s", nvml.ErrorString(ret))
	}
	defer func() {
		if ret := s.lib.Shutdown(); ret != nvml.SUCCESS && err == nil {
			err = fmt.Errorf("end NVML: %s", nvml.ErrorString(ret))
		}
	}()
	for _, f := range needed {
		if !s.has(f) {
			return fmt.Errorf("the driver is too old: its library has no %s", f)
		}
	}
	return work(s)
}

type session struct{ lib nvml.Interface }

// has guards calls that came later than the oldest driver in use.
func (s session) has(function string) bool { return s.lib.Extensions().LookupSymbol(function) == nil }

// maxCards bounds what a library may claim.
const maxCards = 256

func (s session) driver() (Driver, error) {
	var d Driver
	version, ret := s.lib.SystemGetDriverVersion()
	if ret != nvml.SUCCESS {
		return d, fmt.Errorf("ask for the driver's version: %s", nvml.ErrorString(ret))
	}
	d.Version = printed(version)
	if s.has("nvmlSystemGetCudaDriverVersion") {
		if v, ret := s.lib.SystemGetCudaDriverVersion(); ret == nvml.SUCCESS {
			d.CUDA = fmt.Sprintf("%d.%d", v/1000, v%1000/10)
		}
	}
	count, ret := s.lib.DeviceGetCount()
	if ret != nvml.SUCCESS {
		return d, fmt.Errorf("count the cards: %s", nvml.ErrorString(ret))
	}
	for i := range min(count, maxCards) {
		device, ret := s.lib.DeviceGetHandleByIndex(i)
		if ret != nvml.SUCCESS {
			continue // the bus shows it, and says that the driver does not
		}
		d.Cards = append(d.Cards, s.card(device))
	}
	return d, nil
}

func (s session) card(device nvml.Device) Card {
	var c Card
	c.Model, c.UUID, c.MemoryBytes, c.Lost = s.basics(device)
	if !s.has("nvmlDeviceGetPciInfo_v3") {
		return c
	}
	if pci, ret := device.GetPciInfo(); ret == nvml.SUCCESS {
		c.PCI = busID(text(pci.BusId[:]))
	}
	if s.has("nvmlDeviceGetCudaComputeCapability") {
		if major, minor, ret := device.GetCudaComputeCapability(); ret == nvml.SUCCESS {
			c.Capability = fmt.Sprintf("%d.%d", major, minor)
		}
	}
	if s.has("nvmlDeviceGetMaxPcieLinkGeneration") && s.has("nvmlDeviceGetCurrPcieLinkWidth") {
		gen, ret1 := device.GetMaxPcieLinkGeneration()
		width, ret2 := device.GetCurrPcieLinkWidth()
		if ret1 == nvml.SUCCESS && ret2 == nvml.SUCCESS && gen > 0 && width > 0 {
			c.Link = fmt.Sprintf("PCIe %d.0 x%d", gen, width)
		}
	}
	if s.has("nvmlDeviceGetNvLinkState") {
		for link := range int(nvml.NVLINK_MAX_LINKS) {
			if state, ret := device.GetNvLinkState(link); ret == nvml.SUCCESS && state == nvml.FEATURE_ENABLED {
				c.NVLinks++
			}
		}
	}
	s.slices(device, &c)
	return c
}

func (s session) basics(device nvml.Device) (model, uuid string, memory uint64, lost string) {
	name, ret1 := device.GetName()
	uuid, ret2 := device.GetUUID()
	mem, ret3 := device.GetMemoryInfo()
	for _, ret := range []nvml.Return{ret1, ret2, ret3} {
		// Some cards share the machine's memory and have none to tell of.
		if ret != nvml.SUCCESS && ret != nvml.ERROR_NOT_SUPPORTED {
			lost = nvml.ErrorString(ret)
		}
	}
	return printed(name), printed(uuid), mem.Total, lost
}

// slices reads how the card is cut.
func (s session) slices(device nvml.Device, c *Card) {
	if !s.has("nvmlDeviceGetMigMode") || !s.has("nvmlDeviceGetMaxMigDeviceCount") || !s.has("nvmlDeviceGetMigDeviceHandleByIndex") {
		return
	}
	now, _, ret := device.GetMigMode()
	if ret != nvml.SUCCESS {
		return // the card cannot be cut
	}
	c.MIG = "off"
	if now != nvml.DEVICE_MIG_ENABLE {
		return
	}
	c.MIG = "on"
	most, ret := device.GetMaxMigDeviceCount()
	if ret != nvml.SUCCESS {
		return
	}
	for i := range min(most, maxCards) {
		part, ret := device.GetMigDeviceHandleByIndex(i)
		if errors.Is(ret, nvml.ERROR_NOT_FOUND) {
			continue // fewer instances than there could be
		}
		if ret != nvml.SUCCESS {
			return
		}
		var slice Slice
		slice.Model, slice.UUID, slice.MemoryBytes, _ = s.basics(part)
		c.Slices = append(c.Slices, slice)
	}
}

// text is a C string.
func text[T int8 | uint8](raw []T) string {
	var b strings.Builder
	for _, ch := range raw {
		if ch == 0 {
			break
		}
		b.WriteByte(byte(ch))
	}
	return b.String()
}
