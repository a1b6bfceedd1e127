package main

import (
	"fmt"
	"io"

	"github.com/moyai-network/moyai/mechanism/amount"
	"github.com/moyai-network/moyai/provider"
	"github.com/moyai-network/moyai/provider/machine"
)

// deviceDirs hold what vendors' tools describe for containers.
var deviceDirs = []string{"/etc/cdi", "/var/run/cdi"}

// lentGPUs are the cards and slices that are lent: to containers, and only at a
// price that the owner has named, since a card nobody priced would be free.
func lentGPUs(m machine.Machine, prices provider.Prices, containers bool) (lent []machine.Device, not []machine.Unlendable) {
	found, not := machine.Devices(m.GPUs, deviceDirs...)
	for _, d := range found {
		dimension, flag := provider.DimGPU, "gpu"
		if d.Slice {
			dimension, flag = provider.DimGPUSlice, "gpu-slice"
		}
		switch {
		case !containers:
			not = append(not, machine.Unlendable{Card: d.Vendor + " " + d.Model, Why: "only containers can use it", Fix: "add --containers"})
		case !prices.Has(dimension):
			not = append(not, machine.Unlendable{Card: d.Vendor + " " + d.Model, Why: "it has no price", Fix: fmt.Sprintf("add --price %s=0.5MOY/h", flag)})
		default:
			lent = append(lent, d)
		}
	}
	return lent, not
}

func printGPUs(w io.Writer, p provider.Preview) error {
	if len(p.GPUs) == 0 && len(p.GPUsNotLent) == 0 {
		_, err := fmt.Fprintln(w, "no graphics card to lend")
		return err
	}
	t := newTable(w, "GRAPHICS CARD", "LENT", "")
	for _, d := range p.GPUs {
		what, dimension := "whole, nobody else on it", provider.DimGPU
		if d.Slice {
			what, dimension = "a slice, kept apart by the hardware", provider.DimGPUSlice
		}
		price := ""
		for _, u := range p.Units {
			if u.Dimension == dimension {
				price = amount.FormatRate(u.Rate, p.Denom)
			}
		}
		t.row(d.Vendor+" "+d.Model, what, price)
	}
	for _, u := range p.GPUsNotLent {
		t.row(u.Card, "no: "+u.Why, "fix: "+u.Fix)
	}
	t.row("", "time-sharing of a card between tenants is not supported yet", "")
	return t.flush()
}
