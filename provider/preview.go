package provider

import (
	"fmt"
	"slices"
	"time"

	"github.com/moyai-network/moyai/mechanism/amount"
	"github.com/moyai-network/moyai/mechanism/match"
	"github.com/moyai-network/moyai/provider/machine"
	"github.com/moyai-network/moyai/provider/probe"
	"github.com/moyai-network/moyai/provider/slots"
)

// Preview is what this machine would offer. It is made without joining: from
// what was found, by the rules by which bids are made.
type Preview struct {
	Machine machine.Machine `json:"machine"`
	Lends   []Lent          `json:"lends"`
	// Denom is empty if no price was given.
	Denom    string           `json:"denom,omitempty"`
	MinRate  *amount.Rate     `json:"min_rate,omitempty"`
	Jobs     []JobPrice       `json:"jobs"`
	Runtimes []RuntimePreview `json:"runtimes"`
	Walls    []probe.Wall     `json:"walls"`
	// GPUs are the cards and slices that would be lent; the others, and why not.
	GPUs        []machine.Device     `json:"gpus"`
	GPUsNotLent []machine.Unlendable `json:"gpus_not_lent,omitempty"`
	Units       []UnitPrice          `json:"-"`
	Warnings    []string             `json:"warnings"`
	// Owner says when the machine would be lent.
	Owner OwnerPreview `json:"owner"`
}

// OwnerPreview is what an owner's rules come to now.
type OwnerPreview struct {
	Schedule  string        `json:"schedule,omitempty"` // empty: always
	Open      bool          `json:"open"`               // by the schedule, now
	WhileIdle bool          `json:"while_idle"`
	Notice    time.Duration `json:"notice_ns"`
	// Unseen are the signs of use that this machine does not show, and why.
	Unseen []string `json:"unseen,omitempty"`
}

// Lent is one dimension.
type Lent struct {
	Dimension string `json:"dimension"`
	Amount    uint64 `json:"amount"`
	Has       uint64 `json:"has"` // what the machine has, 0 if unknown
	// Rate is what Per units cost, 10⁻¹² base units per second; nil: nothing.
	Rate *amount.Rate `json:"rate,omitempty"`
	Per  uint64       `json:"per"`
}

// JobPrice is what a job of a size would pay.
type JobPrice struct {
	Name       string           `json:"name"`
	Quantities []match.Quantity `json:"quantities"`
	Rate       amount.Rate      `json:"rate"`
}

// RuntimePreview is a runtime, and whether its work is taken.
type RuntimePreview struct {
	probe.Runtime
	Offered bool `json:"offered"`
}

// NewPreview puts together what was found. offered are the names of runtimes
// whose work this daemon takes. prices may be empty.
func NewPreview(m machine.Machine, lent Capacity, prices Prices, found []probe.Runtime, offered []string, walls []probe.Wall) Preview {
	p := Preview{Machine: m, Walls: walls, Denom: prices.Denom, Warnings: []string{}}
	if !prices.Min.IsZero() {
		p.MinRate = &prices.Min
	}
	parts := map[string][2]uint64{
		DimCPU: {lent.CPUMilli, m.CPU.Milli}, DimMemory: {lent.MemoryBytes, m.Memory.Available}, DimStorage: {lent.StorageBytes, m.Disk.Free},
		DimEgress: {lent.EgressBytes, 0},
	}
	for _, n := range priceNames {
		part, ok := parts[n.dimension]
		if !ok || n.dimension == DimEgress && part[0] == 0 {
			continue // graphics cards are listed one by one, and egress is offered only by those who say so
		}
		l := Lent{Dimension: n.dimension, Per: n.per, Amount: part[0], Has: part[1]}
		for _, u := range prices.Units {
			if u.Dimension == n.dimension {
				l.Rate, l.Per = &u.Rate, u.Per
			}
		}
		if l.Has > 0 && l.Amount > l.Has {
			p.Warnings = append(p.Warnings, "more "+n.name+" is lent than this machine can give: jobs will get in each other's way")
		}
		p.Lends = append(p.Lends, l)
	}
	p.jobs(lent, prices)
	for _, r := range found {
		p.Runtimes = append(p.Runtimes, RuntimePreview{r, r.Found && slices.Contains(offered, r.Name)})
	}
	if !slices.ContainsFunc(p.Runtimes, func(r RuntimePreview) bool { return r.Offered }) {
		p.Warnings = append(p.Warnings, "nothing can be run here, so nothing would be earned")
	}
	return p
}

// jobs prices examples by the rule that prices bids.
func (p *Preview) jobs(lent Capacity, prices Prices) {
	if prices.Denom == "" {
		return
	}
	t := newTariff(&Config{Capacity: lent, Prices: prices})
	for _, j := range []struct {
		name string
		q    slots.Quantity
	}{
		{"1 core, 1 GiB of memory", slots.Quantity{DimCPU: 1000, DimMemory: 1 << 30}},
		{"everything", t.total},
	} {
		r := t.match(match.Need{Kind: KindCompute, KindVersion: KindComputeVersion, Denom: prices.Denom, AnyRate: true, Quantities: listed(j.q)}, t.total)
		if r.OK { // a machine may be too small for an example
			p.Jobs = append(p.Jobs, JobPrice{j.name, listed(j.q), r.Rate})
		}
	}
	if len(p.Jobs) == 0 {
		p.Warnings = append(p.Warnings, fmt.Sprintf("prices in %s fit no job", prices.Denom))
	}
}
