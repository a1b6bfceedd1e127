package main

import (
	"context"
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"

	"github.com/moyai-network/moyai/mechanism/amount"
	"github.com/moyai-network/moyai/provider"
	"github.com/moyai-network/moyai/provider/idle"
	"github.com/moyai-network/moyai/provider/machine"
)

// ownerFlags say when the machine is lent, and what it must bring at least.
type ownerFlags struct {
	schedule string
	idle     bool
	busyCPU  uint
	busyGPU  uint
	after    time.Duration
	resume   time.Duration
	notice   time.Duration
	power    string
	watts    uint64
}

func (f *ownerFlags) flags(cmd *cobra.Command) {
	var d idle.Rules
	d.EnsureDefaults()
	fs := cmd.Flags()
	fs.StringVar(&f.schedule, "schedule", "", "lend only then, such as 'mon-fri 18:00-08:00, sat-sun' (this machine's time)")
	fs.BoolVar(&f.idle, "while-idle", false, "lend only while you do not use the machine: load, graphics card, a full-screen program")
	fs.UintVar(&f.busyCPU, "busy-cpu", d.BusyCPU, "with --while-idle: percent of all cores, beside tenants' work, that count as your use")
	fs.UintVar(&f.busyGPU, "busy-gpu", d.BusyGPU, "with --while-idle: percent of a graphics card that count as your use")
	fs.DurationVar(&f.after, "busy-after", d.After, "with --while-idle: how long your use must last to take the machine back")
	fs.DurationVar(&f.resume, "idle-after", d.Resume, "with --while-idle: how long you must be away for it to be lent again")
	fs.DurationVar(&f.notice, "notice", d.Notice, "warning that running work gets before the machine is taken back; bids promise it")
	fs.StringVar(&f.power, "power-price", "", "what a kWh costs you, such as 0.3MOY: no core is lent below its share of the power")
	fs.Uint64Var(&f.watts, "watts", 0, "what full load draws beyond idling, for --power-price (default: 10 for each core)")
}

func (f *ownerFlags) rules() (idle.Rules, error) {
	schedule, err := idle.ParseSchedule(f.schedule)
	if err != nil {
		return idle.Rules{}, usagef("--schedule: %w", err)
	}
	r := idle.Rules{
		Schedule: schedule, WhileIdle: f.idle, BusyCPU: f.busyCPU, BusyGPU: f.busyGPU,
		After: f.after, Resume: f.resume, Notice: f.notice,
	}
	r.EnsureDefaults()
	if err := r.Validate(); err != nil {
		return r, &usageError{err}
	}
	return r, nil
}

// wattsPerCore is what a core of an ordinary processor draws more under load than
// at rest.
const wattsPerCore = 10

// floor raises the price of a core to what its power costs. It says so if it
// does.
func (f *ownerFlags) floor(a *app, prices provider.Prices, cpuMilli uint64) (provider.Prices, error) {
	if f.power == "" {
		if f.watts != 0 {
			return prices, usagef("--watts: needs --power-price")
		}
		return prices, nil
	}
	perKWh, err := amount.ParseCoin(f.power)
	if err != nil {
		return prices, usagef("--power-price: %w", err)
	}
	watts := f.watts
	if watts == 0 {
		watts = wattsPerCore * max(cpuMilli/1000, 1)
	}
	raised, core, err := prices.AtLeastPower(perKWh, watts, cpuMilli)
	if err != nil {
		return prices, usagef("--power-price: %w", err)
	}
	if core != nil {
		a.say("a core is lent for %s: that is what its power costs", amount.FormatRate(*core, raised.Denom))
	}
	return raised, nil
}

// ownersPreview says what the rules come to, and what could not be seen.
func ownersPreview(ctx context.Context, r idle.Rules) provider.OwnerPreview {
	p := provider.OwnerPreview{Schedule: r.Schedule.String(), Open: r.Schedule.Open(time.Now()), WhileIdle: r.WhileIdle, Notice: r.Notice}
	if !r.WhileIdle {
		return p
	}
	if _, _, err := idle.Processors(ctx); err != nil {
		p.Unseen = append(p.Unseen, "load: "+err.Error())
	}
	if _, ok := machine.GPUUse(ctx, machine.Host()); !ok {
		p.Unseen = append(p.Unseen, "graphics card: no driver here tells how busy it is")
	}
	if _, err := idle.FullScreen(ctx); err != nil {
		p.Unseen = append(p.Unseen, "full-screen programs: "+err.Error())
	}
	return p
}

func printOwner(w io.Writer, p provider.Preview) error {
	o := p.Owner
	when := "always"
	if o.Schedule != "" {
		when = o.Schedule
		if !o.Open {
			when += " (not now)"
		}
	}
	if o.WhileIdle {
		when += ", while you do not use the machine"
	}
	t := newTable(w, "lent", when)
	t.row("", fmt.Sprintf("running work is ended with %s of notice", o.Notice))
	for _, u := range o.Unseen {
		t.row("not seen", u)
	}
	return t.flush()
}
