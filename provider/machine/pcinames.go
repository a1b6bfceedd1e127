package machine

import (
	"fmt"
	"strings"
)

const nvidiaName = "NVIDIA"

// vendors are makers of cards, by PCI vendor id.
var vendors = map[uint16]string{
	0x10de: nvidiaName, 0x1002: "AMD", 0x8086: "Intel", 0x1da3: "Habana Labs", 0x1e52: "Tenstorrent",
	0x1d0f: "Amazon", 0x1ed5: "Moore Threads", 0x19e5: "Huawei", 0x1e36: "Enflame", 0x1d95: "Graphcore",
	0x1a03: "ASPEED", 0x102b: "Matrox", 0x1234: "QEMU", 0x1af4: "Virtio", 0x1b36: "QXL", 0x15ad: "VMware",
	0x1013: "Cirrus Logic", 0x80ee: "VirtualBox", 0x1414: "Hyper-V",
}

// displayOnly are vendors whose adapters drive a screen, a server's console or
// a virtual machine's window, and compute nothing.
var displayOnly = map[uint16]bool{
	0x1a03: true, 0x102b: true, 0x1234: true, 0x1af4: true, 0x1b36: true, 0x15ad: true, 0x1013: true, 0x80ee: true, 0x1414: true,
}

// models are cards that many people have, for machines without a pci.ids.
// Source: pci.ids 2023.04.11, https://pci-ids.ucw.cz.
var models = map[uint32]string{
	0x10de_1b06: "GeForce GTX 1080 Ti", 0x10de_1b80: "GeForce GTX 1080", 0x10de_1e04: "GeForce RTX 2080 Ti", 0x10de_1e07: "GeForce RTX 2080 Ti",
	0x10de_1f08: "GeForce RTX 2060", 0x10de_2204: "GeForce RTX 3090", 0x10de_2206: "GeForce RTX 3080", 0x10de_2208: "GeForce RTX 3080 Ti",
	0x10de_2484: "GeForce RTX 3070", 0x10de_2488: "GeForce RTX 3070", 0x10de_2487: "GeForce RTX 3060", 0x10de_2503: "GeForce RTX 3060",
	0x10de_2504: "GeForce RTX 3060", 0x10de_2684: "GeForce RTX 4090", 0x10de_2704: "GeForce RTX 4080", 0x10de_2782: "GeForce RTX 4070 Ti",
	0x10de_2786: "GeForce RTX 4070", 0x10de_2803: "GeForce RTX 4060 Ti",
	0x10de_1db1: "Tesla V100 SXM2 16GB", 0x10de_1db4: "Tesla V100 PCIe 16GB", 0x10de_1db5: "Tesla V100 SXM2 32GB", 0x10de_1db6: "Tesla V100 PCIe 32GB",
	0x10de_1eb8: "Tesla T4", 0x10de_20b0: "A100 SXM4 40GB", 0x10de_20b2: "A100 SXM4 80GB", 0x10de_20b5: "A100 PCIe 80GB", 0x10de_20f1: "A100 PCIe 40GB",
	0x10de_2230: "RTX A6000", 0x10de_2235: "A40", 0x10de_2236: "A10", 0x10de_2237: "A10G", 0x10de_2330: "H100 SXM5 80GB", 0x10de_2331: "H100 PCIe",
	0x10de_26b1: "RTX 6000 Ada Generation", 0x10de_26b5: "L40", 0x10de_27b8: "L4",
	0x1002_66af: "Radeon VII", 0x1002_738c: "Instinct MI100", 0x1002_7408: "Instinct MI250X", 0x1002_740c: "Instinct MI250X/MI250", 0x1002_740f: "Instinct MI210",
	0x1002_73a5: "Radeon RX 6950 XT", 0x1002_73bf: "Radeon RX 6800/6800 XT/6900 XT", 0x1002_73df: "Radeon RX 6700/6700 XT/6750 XT",
	0x1002_744c: "Radeon RX 7900 XT/7900 XTX", 0x1002_7480: "Radeon RX 7600S/7700S", 0x1002_1638: "Radeon Vega (Cezanne)", 0x1002_164e: "Radeon (Raphael)",
	0x1002_15bf: "Radeon (Phoenix)",
	0x8086_3e92: "UHD Graphics 630", 0x8086_3e9b: "UHD Graphics 630", 0x8086_5917: "UHD Graphics 620", 0x8086_9a49: "Iris Xe Graphics", 0x8086_9a60: "UHD Graphics",
	0x8086_46a6: "Alder Lake-P graphics", 0x8086_46a8: "Iris Xe Graphics", 0x8086_4680: "Alder Lake-S graphics", 0x8086_a780: "UHD Graphics 770", 0x8086_a7a0: "Iris Xe Graphics",
	0x8086_56a0: "Arc A770", 0x8086_56a1: "Arc A750", 0x8086_56a5: "Arc A380", 0x8086_56c0: "Data Center GPU Flex 170", 0x8086_56c1: "Data Center GPU Flex 140",
	0x8086_0bd5: "Data Center GPU Max 1550", 0x8086_0bda: "Data Center GPU Max 1100",
	0x1da3_1000: "Gaudi", 0x1da3_1020: "Gaudi2",
}

// pciNames are vendors' and devices' names: this machine's own list, which is
// newer or knows more, before the one above.
type pciNames struct{ list string }

// maxNames is some times the size of the list in 2023.
const maxNames = 8 << 20

func (t tree) names() *pciNames {
	for _, path := range []string{"usr/share/misc/pci.ids", "usr/share/hwdata/pci.ids"} {
		if list := t.read(path, maxNames); list != "" {
			return &pciNames{list}
		}
	}
	return &pciNames{}
}

// of names a card. What nobody knows is named by its ids.
func (n *pciNames) of(vendor, device uint16) (maker, model string) {
	maker, model = vendors[vendor], models[uint32(vendor)<<16|uint32(device)]
	if maker == "" || model == "" {
		listedMaker, listedModel := n.search(vendor, device)
		maker, model = or(maker, listedMaker), or(model, listedModel)
	}
	return or(maker, fmt.Sprintf("vendor %04x", vendor)), or(model, fmt.Sprintf("device %04x", device))
}

func or(s, fallback string) string {
	if s != "" {
		return s
	}
	return fallback
}

// search reads pci.ids: "vvvv  Vendor" lines, each followed by its "\tdddd
// Chip [Product]" lines.
func (n *pciNames) search(vendor, device uint16) (maker, model string) {
	v, d := fmt.Sprintf("%04x  ", vendor), fmt.Sprintf("\t%04x  ", device)
	inside := false
	for line := range strings.Lines(n.list) {
		switch {
		case strings.HasPrefix(line, v):
			maker, inside = printed(line[len(v):]), true
		case inside && strings.HasPrefix(line, d):
			model = printed(line[len(d):])
			if open := strings.LastIndexByte(model, '['); open >= 0 && strings.HasSuffix(model, "]") {
				model = model[open+1 : len(model)-1] // the name on the box
			}
			return maker, model
		case inside && line[0] != '\t' && line[0] != '#':
			return maker, ""
		}
	}
	return maker, model
}

// printed bounds a name that somebody else wrote.
func printed(s string) string {
	s = strings.TrimSpace(s)
	return s[:min(len(s), 120)]
}
