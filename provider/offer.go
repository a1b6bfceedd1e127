package provider

import (
	"runtime"
	"slices"
	"strconv"
	"strings"
	"time"

	marketv1 "github.com/moyai-network/moyai/api/moyai/market/v1"
	"github.com/moyai-network/moyai/client/chain"
	"github.com/moyai-network/moyai/compute/manifest"
	"github.com/moyai-network/moyai/mechanism/amount"
	"github.com/moyai-network/moyai/mechanism/lease"
	"github.com/moyai-network/moyai/mechanism/match"
	"github.com/moyai-network/moyai/p2p"
	"github.com/moyai-network/moyai/provider/slots"
	"github.com/moyai-network/moyai/wire"
)

// tariff is the fixed part of what is offered: prices, attributes, capacity.
type tariff struct {
	total      slots.Quantity
	attributes []match.Attribute
	prices     []match.UnitPrice
	denom      string
	min        amount.Rate
}

func newTariff(c *Config) tariff {
	t := tariff{
		total: slots.Quantity{DimCPU: c.Capacity.CPUMilli, DimMemory: c.Capacity.MemoryBytes, DimStorage: c.Capacity.StorageBytes},
		denom: c.Prices.Denom, min: c.Prices.Min,
	}
	if c.Capacity.EgressBytes > 0 {
		t.total[DimEgress] = c.Capacity.EgressBytes
	}
	for dimension, n := range gpuCapacity(c.GPUs) {
		t.total[dimension] = n
	}
	t.attributes = gpuFacts(c.GPUs)
	for _, u := range c.Prices.Units {
		t.prices = append(t.prices, match.UnitPrice{Dimension: u.Dimension, Rate: u.Rate, Per: u.Per})
	}
	// What this daemon knows by itself comes first; a declared value adds to it.
	facts := map[string]string{"os": runtime.GOOS, "arch": runtime.GOARCH}
	if c.Region != "" {
		facts["region"] = c.Region
	}
	for k, v := range facts {
		t.attributes = append(t.attributes, match.Attribute{Key: k, Value: v})
	}
	for _, r := range c.Runtimes {
		t.attributes = append(t.attributes, match.Attribute{Key: attrRuntime, Value: r.Name()}, match.Attribute{Key: attrIsolation, Value: string(r.Tier())})
	}
	if keeper(c) != nil {
		t.attributes = append(t.attributes, match.Attribute{Key: AttrVolumeKeep, Value: strconv.FormatInt(int64(c.Volumes.MaxKeep/time.Hour), 10)})
	}
	for k, v := range c.Attributes {
		t.attributes = append(t.attributes, match.Attribute{Key: k, Value: v})
	}
	slices.SortFunc(t.attributes, func(a, b match.Attribute) int {
		return strings.Compare(a.Key+"\x00"+a.Value, b.Key+"\x00"+b.Value)
	})
	t.attributes = slices.Compact(t.attributes) // one runtime at two tiers
	return t
}

// match holds a need against what is free now.
func (t *tariff) match(n match.Need, free slots.Quantity) match.Result {
	return match.Match(n, match.Offer{
		Kind: KindCompute, KindVersion: KindComputeVersion,
		Capacity: listed(free), Total: listed(t.total),
		Attributes: t.attributes, Prices: t.prices, Denom: t.denom, MinRate: t.min,
	})
}

func listed(q slots.Quantity) []match.Quantity {
	out := make([]match.Quantity, 0, len(q))
	for d, n := range q {
		out = append(out, match.Quantity{Dimension: d, Amount: n})
	}
	slices.SortFunc(out, func(a, b match.Quantity) int { return strings.Compare(a.Dimension, b.Dimension) })
	return out
}

func refusals(misses []match.Miss) []p2p.Refusal {
	out := make([]p2p.Refusal, 0, len(misses))
	for _, m := range misses {
		if len(out) == 16 {
			break
		}
		out = append(out, p2p.Refusal{
			Subject: p2p.Printable(m.Subject, p2p.MaxID, false), Need: p2p.Printable(m.Need, p2p.MaxText, false),
			Have: p2p.Printable(m.Have, p2p.MaxText, false), Hint: p2p.Printable(m.Nearest, p2p.MaxText, false),
		})
	}
	return out
}

// rules are the market's governed limits.
func rules(p marketv1.Params) lease.Params {
	return lease.Params{
		WindowMS: p.WindowMs, MaxTimeoutMS: p.MaxTimeoutMs, MaxGraceMS: p.MaxGraceMs, MaxUnackedMS: p.MaxUnackedMs,
		MaxBidLifeMS: p.MaxBidLifeMs, MaxOrderLifeMS: p.MaxOrderLifeMs, SkewMS: p.SkewMs, MaxCandidates: int(p.MaxCandidates),
	}
}

// house are the rules of this provider beyond what the chain asks: what it would
// lose money or sleep over.
func (c *Config) house(o wire.Order, freeBond amount.Amount) (p2p.Refusal, bool) {
	risk := uint64(c.MaxRisk.Milliseconds())
	least := uint64(minUnacked.Milliseconds())
	switch t := o.Terms; {
	case t.MaxUnackedMS < least:
		return p2p.Refusal{Subject: "max_unacked", Need: ms(t.MaxUnackedMS), Have: "receipts come every second", Hint: "allow at least " + minUnacked.String()}, true
	case t.MaxUnackedMS > risk:
		return p2p.Refusal{Subject: "max_unacked", Need: ms(t.MaxUnackedMS), Have: "at most " + c.MaxRisk.String() + " is risked here", Hint: "ask for less"}, true
	case t.MinBond.Cmp(freeBond) > 0:
		return p2p.Refusal{Subject: "bond", Need: amount.FormatAmount(t.MinBond, chain.BaseDenom), Have: amount.FormatAmount(freeBond, chain.BaseDenom) + " is free", Hint: "ask for a lower minimal bond"}, true
	}
	return p2p.Refusal{}, false
}

func ms(n uint64) string { return (time.Duration(min(n, 1<<40)) * time.Millisecond).String() }

// suits holds a manifest against its order: what it asks of the machine must have
// been bid for.
func (d *desk) suits(m manifest.Manifest, o wire.Order) (p2p.Refusal, bool) {
	asked := quantities(o.Quantities)
	if d.runtimes.pick(m.Runtime, nil) == nil {
		return p2p.Refusal{Subject: attrRuntime, Need: p2p.Printable(m.Runtime, p2p.MaxID, false), Have: "not offered here"}, true
	}
	if d.runtimes.pick(m.Runtime, o.Constraints) == nil {
		// The machine has it, for programs of another kind.
		return p2p.Refusal{Subject: attrIsolation, Need: p2p.Printable(ordered(o.Constraints), p2p.MaxText, false),
			Have: m.Runtime + " runs here as " + d.runtimes.tiers(m.Runtime), Hint: "ask for one of these, or for none"}, true
	}
	if r, bad := d.suitsEgress(m, o); bad {
		return r, true
	}
	if p := m.Image.Platform; p != "" && p != platform {
		return p2p.Refusal{Subject: "platform", Need: p2p.Printable(p, p2p.MaxID, false), Have: platform}, true
	}
	if r, bad := d.attic.suits(d.ctx, m, o); bad {
		return r, true
	}
	if r, bad := d.suitsGPUs(m, o); bad {
		return r, true
	}
	if n := asked[DimMemory]; m.MemoryBytes > n {
		return p2p.Refusal{Subject: DimMemory, Need: match.Bytes(m.MemoryBytes), Have: match.Bytes(n) + " was ordered", Hint: "order as much memory as the manifest asks for"}, true
	}
	files := m.ModuleBytes + m.InputBytes() + m.OutputBytesMax + m.LogBytesMax + m.VolumeBytes()
	if n, ok := asked[DimStorage]; ok && files > n {
		return p2p.Refusal{Subject: DimStorage, Need: match.Bytes(files), Have: match.Bytes(n) + " was ordered", Hint: "order as much storage as module, inputs, outputs and volumes may take"}, true
	}
	if most := uint64(d.keepResults.Milliseconds()); most > 0 && m.KeepResultsMS > most {
		return p2p.Refusal{Subject: "results", Need: "kept for " + ms(m.KeepResultsMS), Have: "at most " + ms(most), Hint: "fetch them sooner, or ask for less with --keep-results"}, true
	}
	if d.diskFull() {
		return p2p.Refusal{Subject: "disk", Hint: errDisk.Error()}, true
	}
	return p2p.Refusal{}, false
}
