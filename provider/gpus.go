package provider

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/moyai-network/moyai/compute"
	"github.com/moyai-network/moyai/compute/manifest"
	"github.com/moyai-network/moyai/mechanism/match"
	"github.com/moyai-network/moyai/p2p"
	"github.com/moyai-network/moyai/provider/journal"
	"github.com/moyai-network/moyai/provider/machine"
	"github.com/moyai-network/moyai/provider/slots"
	"github.com/moyai-network/moyai/wire"
)

// Attributes of graphics processors, as orders ask for them.
const (
	attrGPU          = "gpu."
	attrGPUVendor    = attrGPU + "vendor"
	attrGPUModel     = attrGPU + "model"  // as the driver says it, with - for spaces
	attrGPUMemory    = attrGPU + "memory" // bytes
	attrGPUDriver    = attrGPU + "driver"
	attrGPULink      = attrGPU + "link"
	attrGPUNVLinks   = attrGPU + "nvlinks"
	attrGPUCompute   = attrGPU + "compute"   // NVIDIA's compute capability
	attrGPUIsolation = attrGPU + "isolation" // "card": nobody else is on it; "slice": the hardware parts it
)

// gpus hands cards and slices of cards out, each to one lease at a time.
type gpus struct {
	mu    sync.Mutex
	units []gpu
}

type gpu struct {
	machine.Device
	attributes []match.Attribute
	lease      *journal.ID // nil: free
}

func newGPUs(devices []machine.Device) *gpus {
	g := &gpus{}
	for _, d := range devices {
		g.units = append(g.units, gpu{Device: d, attributes: gpuAttributes(d)})
	}
	return g
}

// gpuAttributes are what a device declares.
func gpuAttributes(d machine.Device) []match.Attribute {
	word := func(s string) string { return strings.Join(strings.Fields(s), "-") }
	isolation := "card"
	if d.Slice {
		isolation = "slice"
	}
	var out []match.Attribute
	for _, a := range []match.Attribute{
		{Key: attrGPUVendor, Value: strings.ToLower(word(d.Vendor))}, {Key: attrGPUModel, Value: word(d.Model)},
		{Key: attrGPUMemory, Value: strconv.FormatUint(d.MemoryBytes, 10)}, {Key: attrGPUDriver, Value: word(d.Driver)},
		{Key: attrGPULink, Value: word(d.Link)}, {Key: attrGPUNVLinks, Value: strconv.Itoa(d.NVLinks)},
		{Key: attrGPUCompute, Value: d.Capability}, {Key: attrGPUIsolation, Value: isolation},
	} {
		if a.Value != "" && a.Value != "0" {
			out = append(out, a)
		}
	}
	return out
}

// capacity is how many cards and slices there are; dimensions without any are
// left out.
func gpuCapacity(devices []machine.Device) slots.Quantity {
	q := slots.Quantity{}
	for _, d := range devices {
		if d.Slice {
			q[DimGPUSlice]++
		} else {
			q[DimGPU]++
		}
	}
	return q
}

// gpuFacts are the attributes of all devices, each once.
func gpuFacts(devices []machine.Device) (out []match.Attribute) {
	for _, d := range devices {
		for _, a := range gpuAttributes(d) {
			if !slices.Contains(out, a) {
				out = append(out, a)
			}
		}
	}
	return out
}

// wanted is what an order asks of graphics processors.
type wanted struct {
	cards, slices uint64
	constraints   []match.Constraint
}

func wantedOf(o wire.Order) (w wanted) {
	q := quantities(o.Quantities)
	w.cards, w.slices = q[DimGPU], q[DimGPUSlice]
	for _, c := range o.Constraints {
		if strings.HasPrefix(c.Attribute, attrGPU) {
			w.constraints = append(w.constraints, match.Constraint{Attribute: c.Attribute, Op: c.Op, Value: c.Value})
		}
	}
	return w
}

func (w wanted) devices() uint64 { return w.cards + w.slices }

// fit picks devices for a want among those that free says are free; ok is false
// if there are too few. What is declared of several cards together may hold for
// none of them, so each is judged by its own attributes.
func (g *gpus) fit(w wanted, free func(*gpu) bool) (picked []int, ok bool) {
	left := map[bool]uint64{false: w.cards, true: w.slices}
	for i := range g.units {
		u := &g.units[i]
		if left[u.Slice] == 0 || !free(u) {
			continue
		}
		need := match.Need{AnyRate: true, Constraints: w.constraints}
		if match.Match(need, match.Offer{Attributes: u.attributes}).OK {
			picked = append(picked, i)
			left[u.Slice]--
		}
	}
	return picked, left[false]+left[true] == 0
}

// refusal is why an order for graphics processors gets no bid, if it is not one
// of the reasons that hold for every dimension.
func (g *gpus) refusal(o wire.Order) (p2p.Refusal, bool) {
	w := wantedOf(o)
	if w.devices() == 0 {
		return p2p.Refusal{}, false
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	if _, ok := g.fit(w, func(*gpu) bool { return true }); !ok {
		return p2p.Refusal{Subject: "gpu", Hint: "no single card or slice here has all that is asked of one"}, true
	}
	if _, ok := g.fit(w, func(u *gpu) bool { return u.lease == nil }); !ok {
		return p2p.Refusal{Subject: "gpu", Hint: "those that fit are rented: try again later"}, true
	}
	return p2p.Refusal{}, false
}

// handed is the record beside a lease's work of what it was given.
const handed = "devices.json"

// take gives a lease its devices, the same ones each time it asks. They are
// written down before they are used, so that a restart gives them to nobody else.
//
// Errors: compute.ErrUnavailable if there are too few.
func (g *gpus) take(id journal.ID, dir string, w wanted) ([]string, error) {
	if w.devices() == 0 {
		return nil, nil
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	if had := g.of(id); len(had) > 0 {
		return had, nil
	}
	picked, ok := g.fit(w, func(u *gpu) bool { return u.lease == nil })
	if !ok {
		return nil, fmt.Errorf("%w: the graphics processors that fit are gone or rented", compute.ErrUnavailable)
	}
	var names []string
	for _, i := range picked {
		names = append(names, g.units[i].Name)
	}
	b, err := json.Marshal(names)
	if err == nil {
		err = os.WriteFile(filepath.Join(dir, handed), b, 0o600)
	}
	if err != nil {
		return nil, fmt.Errorf("%w: note the devices of a lease: %w", compute.ErrUnavailable, err)
	}
	for _, i := range picked {
		g.units[i].lease = &id
	}
	return names, nil
}

// of are the names of what a lease has; the lock is held.
func (g *gpus) of(id journal.ID) (names []string) {
	for i := range g.units {
		if l := g.units[i].lease; l != nil && *l == id {
			names = append(names, g.units[i].Name)
		}
	}
	return names
}

// restore gives a lease back what it had before a restart. A device that is not
// there any more is for the runtime to miss.
func (g *gpus) restore(id journal.ID, dir string) error {
	b, err := os.ReadFile(filepath.Join(dir, handed))
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	var names []string
	if err == nil {
		err = json.Unmarshal(b, &names)
	}
	if err != nil {
		return fmt.Errorf("devices of lease %x: %w", id, err)
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	for i := range g.units {
		if slices.Contains(names, g.units[i].Name) {
			g.units[i].lease = &id
		}
	}
	return nil
}

// free takes a lease's devices back.
func (g *gpus) free(id journal.ID) {
	g.mu.Lock()
	defer g.mu.Unlock()
	for i := range g.units {
		if l := g.units[i].lease; l != nil && *l == id {
			g.units[i].lease = nil
		}
	}
}

// rented reports whether any is with a tenant.
func (g *gpus) rented() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return slices.ContainsFunc(g.units, func(u gpu) bool { return u.lease != nil })
}

// suitsGPUs holds what a manifest says of graphics processors against its order.
func (d *desk) suitsGPUs(m manifest.Manifest, o wire.Order) (p2p.Refusal, bool) {
	n := wantedOf(o).devices()
	switch {
	case m.GPUs != n:
		return p2p.Refusal{Subject: "gpu", Need: strconv.FormatUint(m.GPUs, 10), Have: fmt.Sprintf("%d were ordered", n), Hint: "order as many as the manifest asks for"}, true
	case n > 0 && m.Runtime != manifest.RuntimeContainer:
		return p2p.Refusal{Subject: "gpu", Need: p2p.Printable(m.Runtime, p2p.MaxID, false), Have: "only containers can use graphics processors"}, true
	case n > 0 && d.pick(m, o.Constraints) == nil:
		return p2p.Refusal{Subject: attrIsolation, Need: p2p.Printable(ordered(o.Constraints), p2p.MaxText, false),
			Have: "graphics processors are not supported in gVisor yet", Hint: "ask for isolation=container, or for none"}, true
	}
	return p2p.Refusal{}, false
}
