package machine

import (
	"fmt"
	"strconv"
	"strings"
)

// GPU is one card: a graphics processor, an accelerator, or an adapter that only
// drives a screen.
type GPU struct {
	PCI    string `json:"pci,omitempty"` // bus id, such as 0000:01:00.0
	IDs    string `json:"ids,omitempty"` // vendor:device in hex, such as 10de:2684
	Vendor string `json:"vendor"`
	Model  string `json:"model"`
	Use    Use    `json:"use"`
	// Driver is the kernel module that holds the card; empty: none does.
	Driver        string `json:"driver,omitempty"`
	DriverVersion string `json:"driver_version,omitempty"`
	// MemoryBytes is zero if nothing tells it. Integrated processors share the
	// machine's.
	MemoryBytes uint64 `json:"memory_bytes,omitempty"`
	UUID        string `json:"uuid,omitempty"`
	Capability  string `json:"compute_capability,omitempty"` // NVIDIA's, such as 9.0
	Link        string `json:"link,omitempty"`               // such as PCIe 4.0 x16
	NVLinks     int    `json:"nvlinks,omitempty"`            // active ones
	NUMA        string `json:"numa_node,omitempty"`
	// MIG says whether the card is (or can be) cut into instances; Slices are
	// those there are.
	MIG    string  `json:"mig,omitempty"` // "on", "off" or empty: not possible
	Slices []Slice `json:"slices,omitempty"`
	// Problem says why the card cannot compute as it is, and Fix what to do.
	Problem string `json:"problem,omitempty"`
	Fix     string `json:"fix,omitempty"`
}

// Use is what a card is for.
type Use string

// Uses.
const (
	UseCompute Use = "compute" // by its driver, it can run a tenant's work
	UseDisplay Use = "display" // screens only: a server's console, a virtual adapter
)

// Slice is one MIG instance: a part of a card with memory of its own.
type Slice struct {
	UUID        string `json:"uuid"`
	Model       string `json:"model"`
	MemoryBytes uint64 `json:"memory_bytes"`
}

// PCI base classes (pciutils' pci.ids, "List of known device classes").
const (
	classDisplay     = 0x03
	classAccelerator = 0x12
)

// cards lists every display controller and processing accelerator on the bus, of
// whatever vendor.
func (t tree) cards() []GPU {
	const bus = "sys/bus/pci/devices"
	var out []GPU
	names := t.names()
	for _, slot := range t.list(bus) {
		dir := bus + "/" + slot + "/"
		class, ok := hex(t.word(dir + "class"))
		if base := class >> 16; !ok || base != classDisplay && base != classAccelerator {
			continue
		}
		vendor, okV := hex(t.word(dir + "vendor"))
		device, okD := hex(t.word(dir + "device"))
		if !okV || !okD || vendor > 0xffff || device > 0xffff {
			continue
		}
		g := GPU{
			PCI: slot, IDs: fmt.Sprintf("%04x:%04x", vendor, device), Use: UseCompute,
			Driver: field(t.read(dir+"uevent", smallFile), "DRIVER", "="),
			Link:   t.pcie(dir),
		}
		g.Vendor, g.Model = names.of(uint16(vendor), uint16(device))
		if displayOnly[uint16(vendor)] {
			g.Use = UseDisplay
		}
		if node := t.word(dir + "numa_node"); node != "" && !strings.HasPrefix(node, "-") {
			g.NUMA = node
		}
		g.MemoryBytes, _ = t.number(dir + "mem_info_vram_total") // amdgpu tells
		g.DriverVersion = t.word("sys/module/" + g.Driver + "/version")
		g.judge()
		out = append(out, g)
	}
	return out
}

func hex(s string) (uint64, bool) {
	n, err := strconv.ParseUint(strings.TrimPrefix(s, "0x"), 16, 32)
	return n, err == nil
}

// pcieGenerations are line rates as sysfs writes them.
var pcieGenerations = map[string]string{"2.5": "1.0", "5.0": "2.0", "5": "2.0", "8.0": "3.0", "8": "3.0", "16.0": "4.0", "32.0": "5.0", "64.0": "6.0"}

// pcie is the fastest the card's link can be: an idle card lowers its speed, so
// the present one misleads; the present width is what the slot gives.
func (t tree) pcie(dir string) string {
	rate, _, _ := strings.Cut(t.word(dir+"max_link_speed"), " ")
	width, ok := t.number(dir + "current_link_width")
	if gen := pcieGenerations[rate]; gen != "" && ok && width > 0 && width <= 32 {
		return fmt.Sprintf("PCIe %s x%d", gen, width)
	}
	return ""
}

// computing are the kernel drivers through which a vendor's cards compute, and
// how to get one that is missing.
var computing = map[string]struct{ drivers, fix string }{
	"NVIDIA": {"nvidia", "install NVIDIA's driver, such as `apt install nvidia-driver` on Debian or `ubuntu-drivers install` on Ubuntu, and restart"},
	"AMD":    {"amdgpu", "run `modprobe amdgpu`; if the card is not known to it, install a newer kernel"},
	"Intel":  {"i915 xe habanalabs", "run `modprobe i915` (newer cards: `modprobe xe`); if the card is not known to them, install a newer kernel"},
}

// judge says what is wrong as far as the bus can tell.
func (g *GPU) judge() {
	if g.Use == UseDisplay {
		return
	}
	want, known := computing[g.Vendor]
	switch {
	case g.Driver == "":
		g.Problem, g.Fix = "no driver holds the card", "install its vendor's driver and restart"
		if known {
			g.Fix = want.fix
		}
	case g.Driver == "vfio-pci" || g.Driver == "pci-stub":
		g.Problem = "it is set aside for virtual machines (" + g.Driver + ")"
		g.Fix = fmt.Sprintf("give it back with `echo %s > /sys/bus/pci/drivers/%s/unbind` and load its driver", g.PCI, g.Driver)
	case known && !strings.Contains(" "+want.drivers+" ", " "+g.Driver+" "):
		g.Problem, g.Fix = "the driver "+g.Driver+" shows pictures but cannot compute", want.fix
	}
}
