package provider

import (
	"slices"
	"strings"
	"testing"

	"github.com/moyai-network/moyai/mechanism/amount"
	"github.com/moyai-network/moyai/provider/machine"
	"github.com/moyai-network/moyai/provider/probe"
)

var desktop = machine.Machine{
	CPU: machine.CPU{Milli: 8000}, Memory: machine.Memory{Total: 32 << 30, Available: 16 << 30},
	Disk: machine.Disk{Path: "/home", Size: 1 << 40, Free: 100 << 30},
}

func TestLend(t *testing.T) {
	c, err := Lend(desktop, Capacity{})
	if err != nil || c != (Capacity{CPUMilli: 8000, MemoryBytes: 12 << 30, StorageBytes: 50 << 30}) {
		t.Errorf("everything: %+v, %v", c, err)
	}
	chosen := Capacity{CPUMilli: 500, MemoryBytes: 1 << 30, StorageBytes: 1 << 20}
	if c, err := Lend(desktop, chosen); err != nil || c != chosen {
		t.Errorf("chosen: %+v, %v", c, err)
	}
	// What cannot be found must be said, and what is said need not be found.
	if _, err := Lend(machine.Machine{CPU: desktop.CPU, Disk: desktop.Disk}, Capacity{}); err == nil || !strings.Contains(err.Error(), "--memory") {
		t.Errorf("no memory: %v", err)
	}
	if _, err := Lend(machine.Machine{CPU: desktop.CPU, Memory: desktop.Memory}, Capacity{}); err == nil || !strings.Contains(err.Error(), "--disk") {
		t.Errorf("no disk: %v", err)
	}
	if c, err := Lend(machine.Machine{}, chosen); err != nil || c != chosen {
		t.Errorf("nothing found: %+v, %v", c, err)
	}
}

// A preview prices jobs as bids are priced.
func TestPreview(t *testing.T) {
	prices, err := ParsePrices([]string{"cpu=0.02MOY/h", "memory=0.001MOY/h", "min=0.001MOY/h"})
	if err != nil {
		t.Fatal(err)
	}
	found := []probe.Runtime{{Name: "wasm", Found: true}, {Name: "containerd", Found: true}, {Name: "runsc"}}
	lent := Capacity{CPUMilli: 8000, MemoryBytes: 12 << 30, StorageBytes: 50 << 30}
	p := NewPreview(desktop, lent, prices, found, []string{"wasm", "runsc"}, nil)
	if len(p.Jobs) != 2 || len(p.Warnings) != 0 {
		t.Fatalf("%+v", p)
	}
	for i, want := range []string{"0.021 MOY/h", "0.172 MOY/h"} {
		if got := amount.FormatRate(p.Jobs[i].Rate, p.Denom); got != want {
			t.Errorf("%s pays %s, want %s", p.Jobs[i].Name, got, want)
		}
	}
	var offered []bool
	for _, r := range p.Runtimes {
		offered = append(offered, r.Offered)
	}
	if !slices.Equal(offered, []bool{true, false, false}) { // found and ours, found, ours and not found
		t.Errorf("offered %v", offered)
	}
	if l := p.Lends; len(l) != 3 || l[0].Rate == nil || l[0].Per != 1000 || l[1].Amount != 12<<30 || l[2].Rate != nil {
		t.Errorf("lends %+v", l)
	}
}

func TestPreviewWarns(t *testing.T) {
	p := NewPreview(desktop, Capacity{CPUMilli: 64000, MemoryBytes: 64 << 30, StorageBytes: 1}, Prices{}, nil, nil, nil)
	all := strings.Join(p.Warnings, "\n")
	for _, want := range []string{"more cpu is lent", "more memory is lent", "nothing can be run here"} {
		if !strings.Contains(all, want) {
			t.Errorf("no %q in %q", want, p.Warnings)
		}
	}
	if len(p.Jobs) != 0 || p.Denom != "" {
		t.Errorf("priced without prices: %+v", p.Jobs)
	}
	// A machine that is smaller than the example shows what it can do.
	prices, _ := ParsePrices([]string{"cpu=0.02MOY/h"})
	if p := NewPreview(desktop, Capacity{CPUMilli: 500, MemoryBytes: 1 << 28, StorageBytes: 1}, prices, nil, nil, nil); len(p.Jobs) != 1 || p.Jobs[0].Name != "everything" {
		t.Errorf("jobs %+v", p.Jobs)
	}
}
