package provider

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/moyai-network/moyai/compute"
	"github.com/moyai-network/moyai/wire"
)

// Attributes that this daemon declares of itself.
const (
	attrRuntime   = "runtime"
	attrIsolation = "isolation"
)

// runtimes are what runs programs here. One kind of program may have several, at
// different isolation tiers.
type runtimes []compute.Runtime

// pick returns the strongest that runs a kind of program and that constraints on
// the attribute "isolation" allow, or nil.
func (rs runtimes) pick(name string, constraints []wire.Constraint) (best compute.Runtime) {
	for _, r := range rs {
		if r.Name() == name && allows(constraints, r.Tier()) && (best == nil || r.Tier().Stronger(best.Tier())) {
			best = r
		}
	}
	return best
}

// at are those of some tiers.
func (rs runtimes) at(tiers []compute.Tier) (out runtimes) {
	for _, r := range rs {
		if slices.Contains(tiers, r.Tier()) {
			out = append(out, r)
		}
	}
	return out
}

// allows holds constraints against the tier alone. Whether the machine as a whole
// satisfies them was decided before a bid was made.
func allows(constraints []wire.Constraint, t compute.Tier) bool {
	for _, c := range constraints {
		// What is neither fits no word, and is not bid for.
		if c.Attribute == attrIsolation && (c.Op == "=") != (c.Value == string(t)) {
			return false
		}
	}
	return true
}

// ordered is what constraints say of isolation, for a person.
func ordered(constraints []wire.Constraint) string {
	var out []string
	for _, c := range constraints {
		if c.Attribute == attrIsolation {
			out = append(out, c.Op+" "+c.Value)
		}
	}
	return strings.Join(out, ", ")
}

// tiers are those at which a kind of program runs here, for a person.
func (rs runtimes) tiers(name string) string {
	var out []string
	for _, r := range rs {
		if r.Name() == name {
			out = append(out, string(r.Tier()))
		}
	}
	return strings.Join(out, ", ")
}

// find recovers a task, whichever of the runtimes began it: an owner may offer
// another tier than before.
//
// Errors: those of compute.Runtime's Recover.
func (rs runtimes) find(ctx context.Context, name string, run compute.Run) (compute.Task, error) {
	err := fmt.Errorf("%w: runtime %q is gone", compute.ErrUnavailable, name)
	for _, r := range rs {
		if r.Name() != name {
			continue
		}
		var task compute.Task
		if task, err = r.Recover(ctx, run); err == nil || !errors.Is(err, compute.ErrNotFound) {
			return task, err
		}
	}
	return nil, err
}
