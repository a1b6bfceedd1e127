// Package probe finds out what this machine can enforce against a tenant's
// program, and which runtimes there are to run one, by trying it: a kernel that
// lists a feature may still refuse it to this user, in this container, under
// this policy.
//
// Trying changes nothing for the host and leaves nothing behind: what is made is
// removed at once, and what would outlive a call happens on a thread or in a
// namespace that ends with it.
//
// It runs no tenant's program and decides nothing about what is offered; whoever
// runs containers enforces with its own means and may use these answers.
package probe

import (
	"context"
	"slices"
)

// Wall is one thing that keeps a tenant's program within its bounds.
type Wall struct {
	Name string `json:"name"`
	// For says what the wall keeps from happening.
	For  string `json:"for"`
	Held bool   `json:"held"`
	// How says what held: the version, the program, the place.
	How string `json:"how,omitempty"`
	// Why says why it did not hold, and Fix what to do.
	Why string `json:"why,omitempty"`
	Fix string `json:"fix,omitempty"`
}

func held(how string) Wall      { return Wall{Held: true, How: how} }
func open(why, fix string) Wall { return Wall{Why: why, Fix: fix} }

// Remedy is what makes walls hold.
type Remedy struct {
	Fix   string
	Walls []string
	Why   string // of the first
}

// Mend lists what there is to do, each thing once.
func Mend(walls []Wall) []Remedy {
	var out []Remedy
	for _, w := range walls {
		if w.Held {
			continue
		}
		i := slices.IndexFunc(out, func(r Remedy) bool { return r.Fix == w.Fix })
		if i < 0 {
			i, out = len(out), append(out, Remedy{Fix: w.Fix, Why: w.Why})
		}
		out[i].Walls = append(out[i].Walls, w.Name)
	}
	return out
}

// ByDocker are walls as they are for what Docker runs: it is root, and makes the groups
// and namespaces that this user may not.
func ByDocker(walls []Wall) []Wall {
	out := slices.Clone(walls)
	for i, w := range out {
		switch w.Name {
		case "cpu limit", "memory limit", "process limit", "seccomp", "network namespaces", "overlayfs":
			if !w.Held {
				out[i] = Wall{Name: w.Name, For: w.For, Held: true, How: "by Docker"} // tried before anything is lent
			}
		}
	}
	return out
}

// trial is how one wall is tried.
type trial struct {
	name, purpose string
	try           func(ctx context.Context) Wall
}

// Walls tries everything. ctx bounds it; without trouble it takes a fraction of
// a second.
func Walls(ctx context.Context) []Wall {
	var out []Wall
	for _, t := range trials() {
		w := open("there was no time to try", "try again")
		if ctx.Err() == nil {
			w = t.try(ctx)
		}
		w.Name, w.For = t.name, t.purpose
		out = append(out, w)
	}
	return out
}
