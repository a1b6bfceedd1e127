package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/moyai-network/moyai/compute"
	"github.com/moyai-network/moyai/compute/wasm"
	"github.com/moyai-network/moyai/mechanism/amount"
	"github.com/moyai-network/moyai/provider"
	"github.com/moyai-network/moyai/provider/machine"
	"github.com/moyai-network/moyai/provider/probe"
)

// preview shows what `moyai provide` with the same flags would offer. It reaches
// no chain, opens no keyring and leaves no file.
func (a *app) preview(ctx context.Context, f provideFlags) error {
	t, err := a.terms(f)
	if err != nil {
		return err
	}
	home, err := filepath.Abs(a.home)
	if err != nil {
		return err
	}
	m := machine.Discover(ctx, machine.Host(), home)
	lent, err := provider.Lend(m, f.chosen())
	if err != nil {
		return err
	}
	if t.prices, err = f.floor(a, t.prices, lent.CPUMilli); err != nil {
		return err
	}
	wanted, named, err := f.wanted()
	if err != nil {
		return err
	}
	found := runtimes(ctx, f.worker)
	offered := []string{wasm.Name}
	for i, r := range found {
		switch b := boxOf(r); {
		case !r.Found || b == "":
		case b == boxDocker && !named && slices.Contains(offered, probe.Containerd):
			found[i].Why, found[i].Fix = "found, and containerd can do more", "add --containers=docker"
		case slices.Contains(wanted, b):
			offered = append(offered, r.Name)
		default:
			found[i].Why, found[i].Fix = "found, and not asked for", "add --containers"
		}
	}
	devices := slices.Contains(offered, probe.Containerd)
	p := provider.NewPreview(m, lent, t.prices, found, offered, wallsFor(ctx, found))
	p.Owner = ownersPreview(ctx, t.owner)
	p.Units = t.prices.Units
	p.GPUs, p.GPUsNotLent = lentGPUs(m, t.prices, devices)
	return a.print(p, func(w io.Writer) error { return a.printPreview(w, p) })
}

// runtimes finds what runs programs here. Compiled code of the trial goes to a
// folder that is removed.
func runtimes(ctx context.Context, worker string) []probe.Runtime {
	wasmRuntime := func() (r probe.Runtime) {
		dir, err := os.MkdirTemp("", "moyai-preview-")
		if err != nil {
			return probe.WebAssembly(ctx, nil, err)
		}
		defer os.RemoveAll(dir)
		var rt compute.Runtime
		if rt, err = wasm.New(wasm.Config{Worker: worker, CacheDir: dir, Idle: -1}); err == nil {
			defer rt.Close()
		}
		return probe.WebAssembly(ctx, rt, err)
	}
	found := probe.Runtimes(ctx, probe.Usual())
	for i := range found {
		boxOf(found[i]).check(ctx, &found[i], worker)
	}
	return append([]probe.Runtime{wasmRuntime()}, found...)
}

func (a *app) printPreview(w io.Writer, p provider.Preview) error {
	m := p.Machine
	t := newTable(w, "processor", m.CPU.Model)
	if len(m.CPU.Features) > 0 {
		t.row("", strings.Join(m.CPU.Features, " "))
	}
	if m.CPU.Limit != "" {
		t.row("", fmt.Sprintf("%s of %d cores can be used: %s", formatCPU(m.CPU.Milli), m.CPU.Online, m.CPU.Limit))
	}
	if m.Memory.Limit > 0 {
		t.row("memory", fmt.Sprintf("%s of %s may be used (control group)", formatBytes(m.Memory.Limit), formatBytes(m.Memory.Total)))
	}
	for _, l := range m.Links {
		t.row("network", describeLink(l))
	}
	if len(m.GPUs) == 0 {
		t.row("GPU", "none found")
		if m.NVML.Error != "" && !m.NVML.Absent {
			t.row("", "NVIDIA's library is here and finds no driver: "+m.NVML.Error)
		}
	}
	for _, g := range m.GPUs {
		t.row("GPU", describeGPU(g))
		if g.Problem != "" {
			t.row("", "cannot compute: "+g.Problem)
			t.row("", "fix: "+g.Fix)
		}
		for _, s := range g.Slices {
			t.row("", fmt.Sprintf("slice %s, %s", s.Model, formatBytes(s.MemoryBytes)))
		}
	}
	if err := t.flush(); err != nil {
		return err
	}
	for _, part := range []func(io.Writer, provider.Preview) error{printLends, printGPUs, printJobs, printOwner, printRuntimes, printWalls} {
		fmt.Fprintln(w)
		if err := part(w, p); err != nil {
			return err
		}
	}
	for _, warning := range p.Warnings {
		fmt.Fprintf(w, "\nwarning: %s", warning)
	}
	fmt.Fprintln(w, "\nNothing was joined, made or written. Without --dry-run this is what tenants could rent.")
	return nil
}

func describeLink(l machine.Link) string {
	s := l.Name
	switch {
	case !l.Up:
		return s + ", not connected"
	case l.Mbits > 0 && l.Mbits%1000 == 0:
		s += fmt.Sprintf(", %d Gbit/s", l.Mbits/1000)
	case l.Mbits > 0:
		s += fmt.Sprintf(", %d Mbit/s", l.Mbits)
	case l.Wifi:
		s += ", Wi-Fi"
	}
	return s
}

func describeGPU(g machine.GPU) string {
	parts := []string{g.Vendor + " " + g.Model}
	if g.Use == machine.UseDisplay {
		return parts[0] + ", for a screen only"
	}
	if g.MemoryBytes > 0 {
		parts = append(parts, formatBytes(g.MemoryBytes))
	}
	if g.Link != "" {
		parts = append(parts, g.Link)
	}
	if g.NVLinks > 0 {
		parts = append(parts, plural(g.NVLinks, "NVLink", "NVLinks"))
	}
	if g.Driver != "" {
		parts = append(parts, strings.TrimSpace("driver "+g.Driver+" "+g.DriverVersion))
	}
	if g.MIG == "on" {
		parts = append(parts, fmt.Sprintf("cut into %d (MIG)", len(g.Slices)))
	}
	return strings.Join(append(parts, g.PCI), ", ")
}

// dimensionNames are what people call what is lent.
var dimensionNames = map[string]struct{ name, per string }{
	provider.DimCPU:     {"cores", "per core"},
	provider.DimMemory:  {"memory", "per GiB"},
	provider.DimStorage: {"disk", "per GiB"},
	provider.DimEgress:  {"egress", "per GiB of budget"},
}

func printLends(w io.Writer, p provider.Preview) error {
	t := newTable(w, "WOULD LEND", "", "OF", "PRICE")
	for _, l := range p.Lends {
		d := dimensionNames[l.Dimension]
		number := formatBytes
		if l.Dimension == provider.DimCPU {
			number = formatCPU
		}
		of := number(l.Has) + " free"
		switch l.Dimension {
		case provider.DimCPU:
			of = number(l.Has)
		case provider.DimEgress:
			of = ""
		case provider.DimStorage:
			of = strings.TrimSuffix(of+", "+p.Machine.Disk.Kind, ", ")
		}
		price := "free of charge"
		switch {
		case p.Denom == "":
			price = "not given"
		case l.Rate != nil:
			price = amount.FormatRate(*l.Rate, p.Denom) + " " + d.per
		}
		t.row(d.name, number(l.Amount), of, price)
	}
	return t.flush()
}

func printJobs(w io.Writer, p provider.Preview) error {
	if p.Denom == "" {
		_, err := fmt.Fprintln(w, "No price was given: a core would be lent for what others ask then. Add one, such as --price cpu=0.02MOY/h, to see what jobs would pay.")
		return err
	}
	t := newTable(w, "A JOB OF", "WOULD PAY")
	for _, j := range p.Jobs {
		t.row(j.Name, amount.FormatRate(j.Rate, p.Denom))
	}
	if p.MinRate != nil {
		t.row("any size, at least", amount.FormatRate(*p.MinRate, p.Denom))
	}
	return t.flush()
}

func printRuntimes(w io.Writer, p provider.Preview) error {
	t := newMarkedTable(w, "OFFERED", "RUNS", "ISOLATION", "")
	for _, r := range p.Runtimes {
		ink, offered, note := green, "yes", r.Version
		switch {
		case !r.Offered && r.Found:
			ink, offered, note = plain, "not yet", r.Version+" found"
		case !r.Offered:
			ink, offered, note = plain, "no", r.Why
			if r.Fix != "" {
				note += "; fix: " + r.Fix
			}
		case r.Why != "":
			note += "; missing: " + r.Why
		}
		t.mark(ink, offered, r.Runs, string(r.Tier)+": "+r.Tier.Means(), note)
	}
	if err := t.flush(); err != nil {
		return err
	}
	for _, r := range p.Runtimes {
		if len(r.Walls) > 0 {
			fmt.Fprintf(w, "%s are held by %s\n", r.Runs, strings.Join(r.Walls, ", "))
		}
	}
	return nil
}

func printWalls(w io.Writer, p provider.Preview) error {
	t := newMarkedTable(w, "ENFORCED", "FOR CONTAINERS", "KEEPS A PROGRAM FROM", "")
	for _, wall := range p.Walls {
		if wall.Held {
			t.mark(green, "yes", wall.Name, wall.For, "")
		} else {
			t.mark(amber, "no", wall.Name, wall.For, wall.Why)
		}
	}
	if err := t.flush(); err != nil {
		return err
	}
	for _, m := range probe.Mend(p.Walls) {
		fmt.Fprintf(w, "fix for %s: %s\n", strings.Join(m.Walls, ", "), m.Fix)
	}
	return nil
}
