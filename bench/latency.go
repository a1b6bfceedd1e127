package main

import (
	"context"
	"fmt"
	"os"
	"slices"
	"time"

	"github.com/moyai-network/moyai/bench/measure"
	"github.com/moyai-network/moyai/devnet"
)

const (
	orders  = 25 // fresh orders measured per profile
	warmups = 4  // orders before them: the module gets compiled
)

func (b *bench) dev(ctx context.Context) error { return b.orderToOutput(ctx, devnet.Dev) }
func (b *bench) lan(ctx context.Context) error { return b.orderToOutput(ctx, devnet.LAN) }

// orderToOutput measures how long it takes from a signed order to the first byte
// of the program's output at the tenant, and where that time goes.
func (b *bench) orderToOutput(ctx context.Context, profile devnet.Profile) error {
	if err := b.programs().build(ctx, "hello", true); err != nil {
		return err
	}
	m, err := b.openMarket(ctx, string(profile), profile, three)
	if err != nil {
		return err
	}
	defer m.close()
	b.say("%s: %d validators, %d providers", profile, len(m.net.Validators), len(m.net.Providers))
	for range warmups {
		if _, err := m.rent(ctx, b.programs().path("hello")); err != nil {
			return err
		}
	}
	var all []times
	for i := range orders {
		t, err := m.rent(ctx, b.programs().path("hello"))
		if err != nil {
			return fmt.Errorf("order %d: %w", i+1, err)
		}
		all = append(all, t)
		b.say("%s: order %d: first output after %.0f ms", profile, i+1, measure.Milliseconds(t.first.Sub(t.announced)))
	}
	b.breakdown(string(profile), all)
	if profile != devnet.Dev {
		return nil
	}
	b.memory(m)
	return b.perLease(ctx, m)
}

// breakdown reports the whole and its parts. The parts' medians need not sum to
// the whole's.
func (b *bench) breakdown(profile string, all []times) {
	spread := func(name string, of func(times) time.Duration) {
		var s measure.Samples
		for _, t := range all {
			s = append(s, measure.Milliseconds(of(t)))
		}
		b.report.SetSpread(name, "ms", s)
	}
	whole := "order_to_output_" + profile
	var s measure.Samples
	for _, t := range all {
		s = append(s, measure.Milliseconds(t.first.Sub(t.announced)))
	}
	b.report.Set(whole+"_ms", s.Median(), "ms", len(s))
	b.report.Set(whole+"_p95_ms", s.P95(), "ms", len(s))
	part := "order_" + profile + "_"
	spread(part+"1_announce_to_bid_ms", func(t times) time.Duration { return t.bid.Sub(t.announced) })
	spread(part+"2_bids_and_ready_ms", func(t times) time.Duration { return t.opening.Sub(t.bid) })
	spread(part+"3_open_committed_ms", func(t times) time.Duration { return t.opened.Sub(t.opening) })
	spread(part+"4_start_receipt_ms", func(t times) time.Duration { return t.started.Sub(t.opened) })
	spread(part+"5_first_output_ms", func(t times) time.Duration { return t.first.Sub(t.started) })
	spread(part+"call_to_output_ms", func(t times) time.Duration { return t.toFirst() })
}

// memory reports what each process holds after the orders.
func (b *bench) memory(m *market) {
	resident := func(name string, pids ...int) {
		var now, peak measure.Samples
		for _, pid := range pids {
			n, p := devnet.ResidentBytes(pid)
			now, peak = append(now, mib(n)), append(peak, mib(p))
		}
		b.report.Set("rss_"+name+"_mib", now.Median(), "MiB", len(now))
		b.report.Set("rss_"+name+"_peak_mib", peak.Median(), "MiB", len(peak))
	}
	resident("validator", m.net.Validators[0].PID())
	var providers, idle []int
	for _, p := range m.net.Providers {
		providers = append(providers, p.PID())
		idle = append(idle, workers(p.PID())...)
	}
	resident("provider", providers...)
	resident("worker", idle...)
	resident("tenant", os.Getpid())
}

func mib(bytes uint64) float64 { return float64(bytes) / (1 << 20) }

// perLease reads from the chain what a lease cost it: transactions, their bytes
// and their gas. A transaction that moved several leases is shared among them.
func (b *bench) perLease(ctx context.Context, m *market) error {
	books, err := m.books(ctx)
	if err != nil {
		return err
	}
	var txs, bytes, gas measure.Samples
	for _, l := range books.Leases {
		if !l.Closed() {
			return fmt.Errorf("lease %s is not closed", l.ID)
		}
		var n, size, used float64
		for _, tx := range l.Txs {
			share := 1 / float64(max(tx.Leases, 1))
			n += share
			size += share * float64(tx.Bytes)
			used += share * float64(tx.Gas)
		}
		txs, bytes, gas = append(txs, n), append(bytes, size), append(gas, used)
	}
	b.report.Set("txs_per_lease", mean(txs), "transactions", len(txs))
	b.report.Set("bytes_per_lease", mean(bytes), "B", len(bytes))
	b.report.Set("gas_per_lease", mean(gas), "gas", len(gas))
	b.say("%d leases, transactions each: %v", len(txs), slices.Compact(slices.Sorted(slices.Values(txs))))
	return nil
}

func mean(s measure.Samples) float64 {
	sum := 0.0
	for _, v := range s {
		sum += v
	}
	return sum / float64(len(s))
}
