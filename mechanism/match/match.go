// Package match holds an order against an offer: it accepts with a rate, or
// names each thing that does not fit and the nearest change that would.
//
// A provider answers orders with it, a tenant asks "why did nobody bid", a
// simulator fills its market; they get the same answer. It knows no CPU: what
// can be asked for is a list of governed dimensions, and only the text for
// people reads meaning into their names. It reserves nothing and does not
// choose between offers (auction does).
package match

import (
	"strconv"

	"github.com/moyai-network/moyai/mechanism/amount"
)

// Quantity is so many units of one dimension ("cpu.milli", "memory.bytes").
type Quantity struct {
	Dimension string
	Amount    uint64
}

// Attribute is a fact about what is offered ("region" = "eu"). A key that appears
// more than once lists alternatives, of which a lease gets one: the runtimes of a
// machine, its isolation tiers, the models of its cards.
type Attribute struct {
	Key   string
	Value string
}

// Constraint restricts an attribute. Op is "=", "!=", ">=" or "<="; the last
// two compare unsigned integers. It holds if it does for one of the alternatives,
// and all constraints on one key must for the same: so "!=" asks for something else
// to be there, not for the other thing to be away.
type Constraint struct {
	Attribute string
	Op        string
	Value     string
}

// UnitPrice is what Per units of a dimension cost.
type UnitPrice struct {
	Dimension string
	Rate      amount.Rate
	Per       uint64
}

// Need is what an order asks for.
type Need struct {
	Kind        string
	KindVersion uint64
	Quantities  []Quantity
	Constraints []Constraint
	Denom       string
	MaxRate     amount.Rate
	// AnyRate lifts the ceiling: a quote that only asks what it would cost.
	AnyRate bool
}

// Offer is what a provider could lease as one slot.
type Offer struct {
	Kind        string
	KindVersion uint64
	Capacity    []Quantity // free now, in the largest slot
	Total       []Quantity // free when nothing is leased
	Attributes  []Attribute
	Prices      []UnitPrice // a dimension without a price costs nothing
	Denom       string
	MinRate     amount.Rate // below which no lease is worth the while
}

// Result says that the offer fits, at which rate, or every reason why not. The
// rate is set whenever it can be computed, also for an offer that does not fit.
type Result struct {
	OK     bool
	Rate   amount.Rate
	Misses []Miss
}

// Subjects of misses that are neither a dimension nor an attribute.
const (
	SubjectKind  = "kind"
	SubjectDenom = "denom"
	SubjectRate  = "rate"
)

// Match holds a need against an offer. Misses come in a fixed order: kind,
// quantities and constraints as asked for, denomination, rate. It never fails:
// what cannot be computed is a miss too.
func Match(n Need, o Offer) Result {
	var misses []Miss
	if n.Kind != o.Kind || n.KindVersion != o.KindVersion {
		misses = append(misses, missKind(n, o))
	}
	for _, q := range n.Quantities {
		if free := quantity(o.Capacity, q.Dimension); q.Amount > free {
			misses = append(misses, missQuantity(q, free, quantity(o.Total, q.Dimension)))
		}
	}
	for i, c := range n.Constraints {
		if !satisfied(c, n.Constraints[:i], o.Attributes) {
			misses = append(misses, missConstraint(c, o.Attributes))
		}
	}
	if n.Denom != o.Denom {
		misses = append(misses, missDenom(n, o))
	}
	rate, err := Rate(n.Quantities, o.Prices)
	if err != nil {
		return Result{Misses: append(misses, missPrice())}
	}
	if rate.Cmp(o.MinRate) < 0 {
		rate = o.MinRate
	}
	if n.Denom == o.Denom && !n.AnyRate && rate.Cmp(n.MaxRate) > 0 {
		misses = append(misses, missRate(rate, n))
	}
	return Result{OK: len(misses) == 0, Rate: rate, Misses: misses}
}

// Rate is what quantities cost: per dimension price × amount / per, rounded up,
// then added. It returns amount.ErrOverflow, or amount.ErrDivisor for a price
// per 0 units.
func Rate(quantities []Quantity, prices []UnitPrice) (amount.Rate, error) {
	var total amount.Rate
	for _, q := range quantities {
		for _, p := range prices {
			if p.Dimension != q.Dimension {
				continue
			}
			cost, err := p.Rate.MulDivCeil(q.Amount, p.Per)
			if err != nil {
				return amount.Rate{}, err
			}
			if total, err = total.Add(cost); err != nil {
				return amount.Rate{}, err
			}
		}
	}
	return total, nil
}

func quantity(list []Quantity, dimension string) uint64 {
	for _, q := range list {
		if q.Dimension == dimension {
			return q.Amount
		}
	}
	return 0
}

// satisfied: an attribute that is not declared satisfies nothing, not even
// "!=": unknown is not a yes. Of several constraints that no one alternative
// satisfies, the last is to blame.
func satisfied(c Constraint, earlier []Constraint, attributes []Attribute) bool {
	alone, together, without := false, false, false
	for _, a := range attributes {
		if a.Key != c.Attribute {
			continue
		}
		before := true
		for _, e := range earlier {
			before = before && (e.Attribute != c.Attribute || holds(e, a.Value))
		}
		now := holds(c, a.Value)
		alone, together, without = alone || now, together || now && before, without || before
	}
	return together || alone && !without
}

// holds reports that a constraint is satisfied by one value.
func holds(c Constraint, value string) bool {
	switch c.Op {
	case "=":
		return value == c.Value
	case "!=":
		return value != c.Value
	}
	return ordered(value, c.Op, c.Value)
}

func ordered(have, op, want string) bool {
	h, err := strconv.ParseUint(have, 10, 64)
	if err != nil {
		return false
	}
	w, err := strconv.ParseUint(want, 10, 64)
	if err != nil {
		return false
	}
	return (op == ">=" && h >= w) || (op == "<=" && h <= w)
}
