package load

import (
	"slices"
	"time"

	"github.com/moyai-network/moyai/bench/measure"
)

// tally is what all rounds found.
type tally struct {
	sends           []*phase
	single, batched leasePhases
}

// leasePhases are the phases of one way to open and close, by round.
type leasePhases struct{ opens, closes []*phase }

func (t *tally) report(r *measure.Report) {
	set := func(name string, phases ...[]*phase) {
		ops, rates := rates(phases...)
		r.Set(name, rates.Median(), "1/s", ops)
	}
	set("bank_sends_per_s", t.sends)
	set("lease_ops_single_per_s", t.single.opens, t.single.closes)
	set("lease_ops_batched_per_s", t.batched.opens, t.batched.closes)
	set("lease_opens_single_per_s", t.single.opens)
	set("lease_closes_single_per_s", t.single.closes)
	set("lease_opens_batched_per_s", t.batched.opens)
	set("lease_closes_batched_per_s", t.batched.closes)
	cpu := func(name string, phases ...[]*phase) {
		ops, used := 0, time.Duration(0)
		for _, p := range slices.Concat(phases...) {
			ops += p.ops
			used += p.cpu
		}
		if used > 0 {
			r.Set(name, used.Seconds()*1e6/float64(ops), "µs", ops)
		}
	}
	cpu("bank_send_cpu_us", t.sends)
	cpu("lease_op_single_cpu_us", t.single.opens, t.single.closes)
	cpu("lease_op_batched_cpu_us", t.batched.opens, t.batched.closes)
	cost := func(name, unit string, of func(*phase) float64, l leasePhases) {
		leases, sum := 0, 0.0
		for i := range l.opens {
			leases += l.opens[i].ops
			sum += of(l.opens[i]) + of(l.closes[i])
		}
		r.Set(name, sum/float64(leases), unit, leases)
	}
	gas := func(p *phase) float64 { return float64(p.gas) }
	bytes := func(p *phase) float64 { return float64(p.bytes) }
	cost("gas_per_lease_single", "gas", gas, t.single)
	cost("gas_per_lease_batched", "gas", gas, t.batched)
	cost("bytes_per_lease_single", "B", bytes, t.single)
	cost("bytes_per_lease_batched", "B", bytes, t.batched)
}

// rates is operations per second of each round, over the phases given: all of a
// round's operations by all of its time.
func rates(phases ...[]*phase) (ops int, perSecond measure.Samples) {
	for round := range phases[0] {
		n, took := 0, time.Duration(0)
		for _, p := range phases {
			n += p[round].ops
			took += p[round].took
		}
		ops += n
		perSecond = append(perSecond, float64(n)/took.Seconds())
	}
	return ops, perSecond
}
