package provider

import (
	"context"
	"errors"
	"testing"

	"github.com/moyai-network/moyai/compute"
	"github.com/moyai-network/moyai/wire"
)

// tiered runs nothing: it has a name, a tier, and perhaps a task.
type tiered struct {
	compute.Runtime
	name string
	tier compute.Tier
	err  error // of Recover
}

func (r tiered) Name() string       { return r.name }
func (r tiered) Tier() compute.Tier { return r.tier }
func (r tiered) Recover(context.Context, compute.Run) (compute.Task, error) {
	return nil, r.err
}

// TestPick: the order decides, and where it does not, the strongest.
func TestPick(t *testing.T) {
	rs := runtimes{
		tiered{name: "wasm", tier: compute.TierSandbox},
		tiered{name: "container", tier: compute.TierContainer},
		tiered{name: "container", tier: compute.TierGVisor},
	}
	is := func(op, value string) wire.Constraint {
		return wire.Constraint{Attribute: "isolation", Op: op, Value: value}
	}
	for _, tc := range []struct {
		name        string
		constraints []wire.Constraint
		want        compute.Tier
	}{
		{"container", nil, compute.TierGVisor},
		{"container", []wire.Constraint{{Attribute: "region", Op: "=", Value: "eu"}}, compute.TierGVisor},
		{"container", []wire.Constraint{is("=", "gvisor")}, compute.TierGVisor},
		{"container", []wire.Constraint{is("=", "container")}, compute.TierContainer},
		{"container", []wire.Constraint{is("!=", "gvisor")}, compute.TierContainer},
		{"container", []wire.Constraint{is("=", "sandbox")}, ""},
		{"container", []wire.Constraint{is("=", "gvisor"), is("!=", "gvisor")}, ""},
		{"wasm", nil, compute.TierSandbox},
		{"wasm", []wire.Constraint{is("=", "gvisor")}, ""},
		{"vm", nil, ""},
	} {
		var got compute.Tier
		if r := rs.pick(tc.name, tc.constraints); r != nil {
			got = r.Tier()
		}
		if got != tc.want {
			t.Errorf("%s %v: got %q, want %q", tc.name, tc.constraints, got, tc.want)
		}
	}
	if got := rs.tiers("container"); got != "container, gvisor" {
		t.Errorf("tiers %q", got)
	}
}

// TestFindTask: a task is looked for at every tier, and a failure to look is not
// taken for its absence.
func TestFindTask(t *testing.T) {
	none, broken := tiered{name: "container", err: compute.ErrNotFound}, tiered{name: "container", err: compute.ErrUnavailable}
	for _, tc := range []struct {
		rs   runtimes
		want error
	}{
		{runtimes{none, broken}, compute.ErrUnavailable},
		{runtimes{broken, none}, compute.ErrUnavailable},
		{runtimes{none, none}, compute.ErrNotFound},
		{runtimes{none, tiered{name: "container"}}, nil},
		{nil, compute.ErrUnavailable},
	} {
		if _, err := tc.rs.find(t.Context(), "container", compute.Run{}); !errors.Is(err, tc.want) {
			t.Errorf("%+v: %v, want %v", tc.rs, err, tc.want)
		}
	}
}

// TestTariffTells: what runs programs here, and how well it is kept apart, can be
// asked for; each value is declared once.
func TestTariffTells(t *testing.T) {
	got := map[string]int{}
	for _, a := range newTariff(&Config{Runtimes: []compute.Runtime{
		tiered{name: "container", tier: compute.TierContainer}, tiered{name: "container", tier: compute.TierGVisor},
	}}).attributes {
		got[a.Key+"="+a.Value]++
	}
	for _, want := range []string{"runtime=container", "isolation=container", "isolation=gvisor"} {
		if got[want] != 1 {
			t.Errorf("%s is declared %d times", want, got[want])
		}
	}
}
