package provider

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/moyai-network/moyai/compute"
	"github.com/moyai-network/moyai/compute/manifest"
	"github.com/moyai-network/moyai/provider/journal"
	"github.com/moyai-network/moyai/provider/machine"
	"github.com/moyai-network/moyai/wire"
)

func cards() []machine.Device {
	return []machine.Device{
		{Name: "nvidia.com/gpu=0", Vendor: "NVIDIA", Model: "RTX 4090", MemoryBytes: 24 << 30, Driver: "nvidia 550.54.15", Link: "PCIe 4.0 x16"},
		{Name: "nvidia.com/gpu=1", Vendor: "NVIDIA", Model: "RTX 3060", MemoryBytes: 12 << 30},
		{Name: "nvidia.com/gpu=2:0", Slice: true, Vendor: "NVIDIA", Model: "H100 MIG 1g.10gb", MemoryBytes: 10 << 30},
	}
}

func gpuOrder(dimension string, n uint64, constraints ...wire.Constraint) wire.Order {
	return wire.Order{Quantities: []wire.Quantity{{Dimension: dimension, Amount: n}}, Constraints: constraints}
}

func is(attribute, op, value string) wire.Constraint {
	return wire.Constraint{Attribute: attribute, Op: op, Value: value}
}

func TestGPUsAreHandedOutOnce(t *testing.T) {
	g := newGPUs(cards())
	a, b, c := journal.ID{1}, journal.ID{2}, journal.ID{3}
	dir := map[journal.ID]string{a: t.TempDir(), b: t.TempDir(), c: t.TempDir()}
	take := func(id journal.ID, o wire.Order) ([]string, error) { return g.take(id, dir[id], wantedOf(o)) }
	big := gpuOrder(DimGPU, 1, is("gpu.memory", ">=", "20000000000"))
	got, err := take(a, big)
	if err != nil || !slices.Equal(got, []string{"nvidia.com/gpu=0"}) {
		t.Fatalf("%v, %v", got, err)
	}
	if again, err := take(a, big); err != nil || !slices.Equal(again, got) {
		t.Fatalf("asked again: %v, %v", again, err)
	}
	if _, err := take(b, big); !errors.Is(err, compute.ErrUnavailable) {
		t.Fatalf("one card was rented twice: %v", err)
	}
	if r, no := g.refusal(big); !no || !strings.Contains(r.Hint, "rented") {
		t.Fatalf("refusal %q, %v", r.Hint, no)
	}
	if got, err := take(c, gpuOrder(DimGPUSlice, 1)); err != nil || !slices.Equal(got, []string{"nvidia.com/gpu=2:0"}) {
		t.Fatalf("slice %v, %v", got, err)
	}
	// A restart knows what is out.
	again := newGPUs(cards())
	for _, id := range []journal.ID{a, b, c} {
		must(t, again.restore(id, dir[id]))
	}
	if _, err := again.take(b, dir[b], wantedOf(big)); !errors.Is(err, compute.ErrUnavailable) {
		t.Fatalf("after a restart one card was rented twice: %v", err)
	}
	again.free(a)
	if got, err := again.take(b, dir[b], wantedOf(big)); err != nil || len(got) != 1 || !again.rented() {
		t.Fatalf("a freed card: %v, %v", got, err)
	}
}

func TestGPURefusals(t *testing.T) {
	g := newGPUs(cards())
	for name, tc := range map[string]struct {
		o  wire.Order
		no bool
	}{
		"none asked":      {gpuOrder(DimCPU, 1000), false},
		"any":             {gpuOrder(DimGPU, 2), false},
		"a model":         {gpuOrder(DimGPU, 1, is("gpu.model", "=", "RTX-3060")), false},
		"too many of it":  {gpuOrder(DimGPU, 2, is("gpu.model", "=", "RTX-3060")), true},
		"of two cards":    {gpuOrder(DimGPU, 1, is("gpu.model", "=", "RTX-3060"), is("gpu.memory", ">=", "20000000000")), true},
		"alone on a card": {gpuOrder(DimGPUSlice, 1, is("gpu.isolation", "=", "card")), true},
		"other facts":     {gpuOrder(DimGPU, 1, is("region", "=", "eu")), false}, // for match to judge
	} {
		if r, no := g.refusal(tc.o); no != tc.no {
			t.Errorf("%s: refused %v, %s", name, no, r.String())
		}
	}
	if q := gpuCapacity(cards()); q[DimGPU] != 2 || q[DimGPUSlice] != 1 {
		t.Errorf("capacity %v", q)
	}
}

func TestManifestAndOrderAgreeOnGPUs(t *testing.T) {
	d := &desk{runtimes: runtimes{tiered{name: "container", tier: compute.TierContainer}, tiered{name: "container", tier: compute.TierGVisor}}}
	for _, tc := range []struct {
		asks    uint64
		runtime string
		o       wire.Order
		ok      bool
	}{
		{0, "wasm", gpuOrder(DimCPU, 1), true},
		{1, "container", gpuOrder(DimGPU, 1), true},
		{1, "container", gpuOrder(DimGPUSlice, 1), true},
		{1, "container", gpuOrder(DimCPU, 1), false},
		{0, "container", gpuOrder(DimGPU, 1), false},
		{1, "wasm", gpuOrder(DimGPU, 1), false},
		{1, "container", gpuOrder(DimGPU, 1, is(attrIsolation, "=", "gvisor")), false},
		{1, "container", gpuOrder(DimGPU, 1, is(attrIsolation, "=", "container")), true},
	} {
		if r, bad := d.suitsGPUs(manifest.Manifest{GPUs: tc.asks, Runtime: tc.runtime}, tc.o); bad == tc.ok {
			t.Errorf("%+v: %s", tc, r.String())
		}
	}
}
