package match

import (
	"errors"
	"math"
	"slices"
	"strings"
	"testing"

	"github.com/moyai-network/moyai/mechanism/amount"
)

const gib = 1 << 30

func rate(t testing.TB, price string) amount.Rate {
	t.Helper()
	p, err := amount.ParsePrice(price)
	if err != nil {
		t.Fatal(err)
	}
	r, err := p.Rate()
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func offer(t testing.TB) Offer {
	return Offer{
		Kind: "compute", KindVersion: 1,
		Capacity:   []Quantity{{"cpu.milli", 1500}, {"gpu.h100", 1}, {"memory.bytes", 16 * gib}, {"storage.bytes", 0}},
		Total:      []Quantity{{"cpu.milli", 8000}, {"gpu.h100", 1}, {"memory.bytes", 32 * gib}, {"storage.bytes", 100 * gib}},
		Attributes: []Attribute{{"cores", "8"}, {"region", "eu"}, {"runtime", "wasm"}, {"runtime", "container"}},
		Prices:     []UnitPrice{{"cpu.milli", rate(t, "0.02MOY/h"), 1000}, {"memory.bytes", rate(t, "0.001MOY/h"), gib}},
		Denom:      "umoy",
		MinRate:    rate(t, "0.001MOY/h"),
	}
}

func need(t testing.TB) Need {
	return Need{
		Kind: "compute", KindVersion: 1,
		Quantities: []Quantity{{"cpu.milli", 1000}, {"memory.bytes", 2 * gib}},
		Denom:      "umoy", MaxRate: rate(t, "0.05MOY/h"),
	}
}

func TestMatch(t *testing.T) {
	quantities := func(q ...Quantity) func(*Need, *Offer) { return func(n *Need, _ *Offer) { n.Quantities = q } }
	constraints := func(list ...Constraint) func(*Need, *Offer) {
		return func(n *Need, _ *Offer) { n.Constraints = list }
	}
	constraint := func(a, op, v string) func(*Need, *Offer) {
		return func(n *Need, _ *Offer) { n.Constraints = []Constraint{{a, op, v}} }
	}
	tests := []struct {
		name    string
		change  func(*Need, *Offer)
		rate    string   // per hour, as people read it; "" is not looked at
		misses  []string // as people read them
		nearest string   // of the first miss
	}{
		{name: "fits", change: func(*Need, *Offer) {}, rate: "0.022 MOY/h"},
		{name: "as much as is free", change: quantities(Quantity{"cpu.milli", 1500}, Quantity{"memory.bytes", 16 * gib}), rate: "0.046 MOY/h"},
		{name: "the least rate", change: quantities(Quantity{"cpu.milli", 1}), rate: "0.001 MOY/h"},
		{name: "a dimension without a price", change: quantities(Quantity{"gpu.h100", 1}), rate: "0.001 MOY/h"},
		{name: "memory", change: quantities(Quantity{"memory.bytes", 24 * gib}),
			misses:  []string{"needs 24 GiB of memory, largest free is 16 GiB"},
			nearest: "ask for at most 16 GiB, or wait until a lease ends"},
		{name: "more memory than there will be", change: quantities(Quantity{"memory.bytes", 48 * gib}),
			misses:  []string{"needs 48 GiB of memory, largest free is 16 GiB", "needs 0.048 MOY/h, the ceiling is 0.047 MOY/h"},
			nearest: "ask for at most 16 GiB"},
		{name: "one byte more", change: quantities(Quantity{"memory.bytes", 16*gib + 1}),
			misses:  []string{"needs 17179869185 bytes of memory, largest free is 17179869184 bytes"},
			nearest: "ask for at most 17179869184 bytes, or wait until a lease ends"},
		{name: "processors", change: quantities(Quantity{"cpu.milli", 2000}),
			misses: []string{"needs 2 CPU, largest free is 1.5"}, nearest: "ask for at most 1.5, or wait until a lease ends"},
		{name: "counted things", change: quantities(Quantity{"gpu.h100", 4}),
			misses: []string{"needs 4 gpu.h100, largest free is 1"}, nearest: "ask for at most 1"},
		{name: "nothing free", change: quantities(Quantity{"storage.bytes", gib}),
			misses: []string{"needs 1 GiB of storage, none is free"}, nearest: "wait until a lease ends"},
		{name: "nothing free and too much", change: quantities(Quantity{"storage.bytes", 1000 * gib}),
			misses: []string{"needs 1000 GiB of storage, none is free"}, nearest: "ask for at most 100 GiB, and wait until a lease ends"},
		{name: "never offered", change: quantities(Quantity{"egress.bytes", 1}),
			misses: []string{"needs 1 byte of egress, none is offered"}},
		{name: "every miss at once", change: func(n *Need, o *Offer) {
			n.Quantities = []Quantity{{"cpu.milli", 16_000}, {"memory.bytes", 64 * gib}}
			n.Constraints = []Constraint{{"region", "=", "us"}}
			n.Kind, n.Denom = "storage", "ucredit"
		}, misses: []string{
			"needs storage version 1, this is compute version 1", "needs 16 CPU, largest free is 1.5",
			"needs 64 GiB of memory, largest free is 16 GiB", "needs region = us, here it is eu", "needs a price in ucredit, asks for umoy",
		}},
		{name: "kind version", change: func(n *Need, _ *Offer) { n.KindVersion = 2 },
			misses: []string{"needs compute version 2, this is compute version 1"}},
		{name: "ceiling", change: func(n *Need, _ *Offer) { n.MaxRate = rate(t, "0.01MOY/h") },
			misses: []string{"needs 0.022 MOY/h, the ceiling is 0.01 MOY/h"}, nearest: "raise the ceiling to 0.022 MOY/h"},
		{name: "no ceiling", change: func(n *Need, _ *Offer) { n.MaxRate, n.AnyRate = amount.Rate{}, true }, rate: "0.022 MOY/h"},
		{name: "a ceiling of nothing", change: func(n *Need, _ *Offer) { n.MaxRate = amount.Rate{} },
			misses: []string{"needs 0.022 MOY/h, the ceiling is 0 MOY/h"}},
		{name: "denomination", change: func(n *Need, _ *Offer) { n.Denom = "ucredit" },
			misses: []string{"needs a price in ucredit, asks for umoy"}, nearest: "offer to pay in umoy"},
		{name: "equal", change: constraint("region", "=", "eu")},
		{name: "one of several values", change: constraint("runtime", "=", "container")},
		{name: "not equal", change: constraint("region", "!=", "us")},
		{name: "not equal to one of several", change: constraint("runtime", "!=", "wasm")}, // it can be the other
		{name: "not equal to the only one", change: constraint("region", "!=", "eu"), misses: []string{"needs region != eu, here it is eu"}},
		{name: "not equal to any of several", change: constraints(Constraint{"runtime", "!=", "container"}, Constraint{"runtime", "!=", "wasm"}),
			misses: []string{"needs runtime != wasm, here it is wasm, container"}},
		{name: "one and not the other", change: constraints(Constraint{"runtime", "!=", "wasm"}, Constraint{"runtime", "=", "container"})},
		{name: "one and not that one", change: constraints(Constraint{"runtime", "!=", "wasm"}, Constraint{"runtime", "=", "wasm"}),
			misses: []string{"needs runtime = wasm, here it is wasm, container"}},
		{name: "two of which a lease gets one", change: constraints(Constraint{"runtime", "=", "container"}, Constraint{"runtime", "=", "wasm"}),
			misses: []string{"needs runtime = wasm, here it is wasm, container"}},
		{name: "each by itself", change: constraints(Constraint{"cores", "<=", "7"}, Constraint{"cores", ">=", "9"}, Constraint{"region", "=", "eu"}),
			misses: []string{"needs cores <= 7, here it is 8", "needs cores >= 9, here it is 8"}},
		{name: "between, of several", change: func(n *Need, o *Offer) {
			o.Attributes = append(o.Attributes, Attribute{"gpu.memory.mib", "8192"}, Attribute{"gpu.memory.mib", "24576"})
			n.Constraints = []Constraint{{"gpu.memory.mib", "<=", "16384"}, {"gpu.memory.mib", ">=", "12288"}}
		}, misses: []string{"needs gpu.memory.mib >= 12288, here it is 8192, 24576"}},
		{name: "unknown is not unequal", change: constraint("owner", "!=", "eve"), misses: []string{"needs owner != eve, not declared here"}},
		{name: "at least", change: constraint("cores", ">=", "8")},
		{name: "at least as a number", change: constraint("cores", ">=", "10"), misses: []string{"needs cores >= 10, here it is 8"},
			nearest: "ask for cores >= 8"},
		{name: "at most", change: constraint("cores", "<=", "8")},
		{name: "at most less", change: constraint("cores", "<=", "7"), misses: []string{"needs cores <= 7, here it is 8"}},
		{name: "comparing text", change: constraint("region", ">=", "eu"),
			misses: []string{"needs region >= eu, which compares no whole number"}, nearest: "use = or != with eu"},
		{name: "unknown comparison", change: constraint("region", "~", "e"),
			misses: []string{"needs region ~ e, and that comparison is unknown"}, nearest: "use =, !=, >= or <="},
		{name: "a price that overflows", change: quantities(Quantity{"cpu.milli", math.MaxUint64}, Quantity{"memory.bytes", 1}),
			misses: []string{"needs 18446744073709551.615 CPU, largest free is 1.5", "needs more than can be priced, the sum overflows"}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			n, o := need(t), offer(t)
			if strings.HasPrefix(test.name, "more memory") {
				n.MaxRate = rate(t, "0.047MOY/h")
			}
			if test.name == "a price that overflows" {
				o.Prices[0].Rate, _ = amount.ParseRate("340282366920938463463374607431768211455")
			}
			test.change(&n, &o)
			if len(n.Quantities) > 0 && test.misses != nil && !slices.ContainsFunc(test.misses, func(m string) bool { return strings.Contains(m, "ceiling") }) {
				n.AnyRate = true // only what the case is about
			}
			got := Match(n, o)
			var texts []string
			for _, m := range got.Misses {
				texts = append(texts, m.String())
			}
			if got.OK != (len(test.misses) == 0) || !slices.Equal(texts, test.misses) {
				t.Errorf("ok %t, misses %q, want %q", got.OK, texts, test.misses)
			}
			if test.nearest != "" && (len(got.Misses) == 0 || got.Misses[0].Nearest != test.nearest) {
				t.Errorf("misses %+v, want nearest %q", got.Misses, test.nearest)
			}
			if shown := amount.FormatRate(got.Rate, "umoy"); test.rate != "" && shown != test.rate {
				t.Errorf("rate %s, want %s", shown, test.rate)
			}
		})
	}
}

// TestNearest: an offer that says "ask for at most" means it.
func TestNearest(t *testing.T) {
	o := offer(t)
	n := need(t)
	n.Quantities = []Quantity{{"cpu.milli", 9000}, {"memory.bytes", 40 * gib}}
	n.AnyRate = true
	for _, m := range Match(n, o).Misses {
		for i := range n.Quantities {
			if n.Quantities[i].Dimension == m.Subject {
				n.Quantities[i].Amount = quantity(o.Capacity, m.Subject)
			}
		}
	}
	if got := Match(n, o); !got.OK {
		t.Errorf("after asking for what is free: %v", got.Misses)
	}
}

func TestRate(t *testing.T) {
	// Each dimension is rounded up on its own: 1/3 + 1/3 is 2.
	prices := []UnitPrice{{"a", amount.NewRate(1), 3}, {"b", amount.NewRate(1), 3}}
	if got, err := Rate([]Quantity{{"a", 1}, {"b", 1}, {"c", 100}}, prices); err != nil || got != amount.NewRate(2) {
		t.Errorf("%s, %v, want 2", got, err)
	}
	if _, err := Rate([]Quantity{{"a", 1}}, []UnitPrice{{"a", amount.NewRate(1), 0}}); !errors.Is(err, amount.ErrDivisor) {
		t.Errorf("a price per 0: %v", err)
	}
}

func TestBytes(t *testing.T) {
	tests := []struct {
		n    uint64
		want string
	}{
		{0, "0 bytes"}, {1, "1 byte"}, {1023, "1023 bytes"}, {1024, "1 KiB"}, {1536, "1.5 KiB"}, {512 << 20, "512 MiB"},
		{24 * gib, "24 GiB"}, {gib + gib/4, "1.25 GiB"}, {1 << 40, "1 TiB"}, {math.MaxUint64, "15.99 EiB"}, {gib - 1, "1023.99 MiB"},
	}
	for _, test := range tests {
		if got := Bytes(test.n); got != test.want {
			t.Errorf("%d: %q, want %q", test.n, got, test.want)
		}
	}
}

// FuzzMatch: no order makes it fail or print at length what a stranger wrote.
func FuzzMatch(f *testing.F) {
	f.Add("compute", "memory.bytes", uint64(1), "region", ">=", "1\x00\x1b[31m", "umoy")
	f.Add(strings.Repeat("é", 500), ".milli", uint64(math.MaxUint64), "", "", strings.Repeat("\xff", 300), "")
	f.Fuzz(func(t *testing.T, kind, dimension string, q uint64, attribute, op, value, denom string) {
		n := Need{Kind: kind, Quantities: []Quantity{{dimension, q}}, Constraints: []Constraint{{attribute, op, value}}, Denom: denom}
		o := offer(t)
		o.Attributes = append(o.Attributes, Attribute{attribute, value})
		got := Match(n, o)
		if got.OK != (len(got.Misses) == 0) {
			t.Errorf("%+v", got)
		}
		for _, m := range got.Misses {
			text := m.String() + m.Nearest
			if len(text) > 1500 || strings.ContainsAny(text, "\x00\x1b\n") {
				t.Errorf("%d bytes: %q", len(text), text)
			}
		}
	})
}
