package machine

import (
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"

	"tags.cncf.io/container-device-interface/pkg/cdi"
)

// Device is a card, or a slice of one, that can be handed to a container.
type Device struct {
	Name  string `json:"name"` // in the Container Device Interface: nvidia.com/gpu=0
	Slice bool   `json:"slice,omitempty"`
	// What tenants ask for.
	Vendor      string `json:"vendor"`
	Model       string `json:"model"`
	MemoryBytes uint64 `json:"memory_bytes,omitempty"`
	Driver      string `json:"driver,omitempty"` // with its version
	Link        string `json:"link,omitempty"`
	NVLinks     int    `json:"nvlinks,omitempty"`
	Capability  string `json:"compute_capability,omitempty"`
}

// Unlendable says why a card that computes cannot be handed out, and what to do.
type Unlendable struct {
	Card string `json:"card"`
	Why  string `json:"why"`
	Fix  string `json:"fix"`
}

// kinds are the names under which vendors' tools describe their cards.
var kinds = map[string]struct{ kind, fix string }{
	"NVIDIA": {"nvidia.com/gpu", "install nvidia-container-toolkit and run `nvidia-ctk cdi generate --output=/etc/cdi/nvidia.yaml`"},
	"AMD":    {"amd.com/gpu", "install amd-container-toolkit and run `amd-ctk cdi generate --output=/etc/cdi/amd.json`"},
	"Intel":  {"intel.com/gpu", "install Intel's CDI specs generator and run `intel-cdi-specs-generator gpu`"},
}

// Devices finds what of the cards can be handed out: what its vendor's tool has
// described in one of the folders, and what containers' users, who are nobody on
// this machine, may open.
func Devices(cards []GPU, dirs ...string) (lend []Device, not []Unlendable) {
	described, err := cdi.NewCache(cdi.WithSpecDirs(dirs...), cdi.WithAutoRefresh(false))
	nth := map[string]int{} // cards of a vendor so far
	for _, g := range cards {
		if g.Use != UseCompute || g.Problem != "" {
			continue
		}
		index := nth[g.Vendor]
		nth[g.Vendor]++
		refuse := func(why, fix string) {
			not = append(not, Unlendable{Card: strings.TrimSpace(g.Vendor + " " + g.Model), Why: why, Fix: fix})
		}
		kind, known := kinds[g.Vendor]
		switch {
		case !known:
			refuse("no tool of its vendor describes it for containers", "nothing can be done yet")
			continue
		case err != nil:
			refuse("descriptions of devices cannot be read: "+err.Error(), kind.fix)
			continue
		}
		parts := g.parts(kind.kind, index)
		for _, p := range parts {
			d, name := p.find(described)
			if d == nil {
				refuse("it is not described for containers", kind.fix)
				break
			}
			if closed := closedNode(d); closed != "" {
				refuse(closed+" is closed to containers' users", "open it with a udev rule such as `KERNEL==\"renderD*\", MODE=\"0666\"`, and restart")
				break
			}
			p.Device.Name = name
			lend = append(lend, p.Device)
		}
	}
	return lend, not
}

// part is a card or a slice, and the names it may have.
type part struct {
	Device
	names []string
}

// parts are what a card is lent as: its slices if it is cut, else itself.
func (g GPU) parts(kind string, index int) (out []part) {
	whole := Device{
		Vendor: g.Vendor, Model: g.Model, MemoryBytes: g.MemoryBytes, Link: g.Link, NVLinks: g.NVLinks, Capability: g.Capability,
		Driver: strings.TrimSpace(g.Driver + " " + g.DriverVersion),
	}
	name := func(s string) string { return kind + "=" + s }
	if g.MIG != "on" {
		return []part{{whole, []string{name(g.UUID), name(strconv.Itoa(index))}}}
	}
	for i, s := range g.Slices {
		p := part{whole, []string{name(s.UUID), name(fmt.Sprintf("%d:%d", index, i))}}
		p.Device.Slice, p.Device.NVLinks = true, 0 // slices have no links of their own
		p.Device.Model, p.Device.MemoryBytes = strings.TrimPrefix(s.Model, nvidiaName+" "), s.MemoryBytes
		out = append(out, p)
	}
	return out
}

func (p part) find(described *cdi.Cache) (*cdi.Device, string) {
	for _, name := range p.names {
		if strings.HasSuffix(name, "=") {
			continue
		}
		if d := described.GetDevice(name); d != nil {
			return d, name
		}
	}
	return nil, ""
}

// closedNode is a device file that not everybody may read and write; "" if there
// is none. One that is not there is for the start of a container to report.
func closedNode(d *cdi.Device) string {
	const everybody = 0o006
	nodes := slices.Clone(d.ContainerEdits.DeviceNodes)
	if s := d.GetSpec(); s != nil {
		nodes = append(nodes, s.ContainerEdits.DeviceNodes...)
	}
	for _, n := range nodes {
		if n == nil {
			continue
		}
		path := n.HostPath
		if path == "" {
			path = n.Path
		}
		if info, err := os.Stat(path); err == nil && info.Mode().Perm()&everybody != everybody {
			return path
		}
	}
	return ""
}
