package escrow

import (
	"errors"
	"testing"

	"pgregory.net/rapid"

	"github.com/moyai-network/moyai/mechanism/amount"
)

func TestFill(t *testing.T) {
	fifth := BondParams{Floor: amount.New(1_000), FillBps: 2_000}
	for _, test := range []struct {
		name         string
		params       BondParams
		bond, earned uint64
		paid, bonded uint64
	}{
		{"a newcomer", fifth, 0, 490, 392, 98},
		{"rounded down", fifth, 0, 4, 4, 0},
		{"no more than the bond lacks", fifth, 950, 490, 440, 50},
		{"at the floor", fifth, 1_000, 490, 490, 0},
		{"above the floor", fifth, 1_001, 490, 490, 0},
		{"nothing earned", fifth, 0, 0, 0, 0},
		{"no floor", BondParams{FillBps: 2_000}, 0, 490, 490, 0},
		{"all of it", BondParams{Floor: amount.New(1_000), FillBps: 10_000}, 0, 490, 0, 490},
		{"none of it", BondParams{Floor: amount.New(1_000)}, 0, 490, 490, 0},
	} {
		paid, bonded, err := test.params.Fill(amount.New(test.bond), amount.New(test.earned))
		if err != nil || paid != amount.New(test.paid) || bonded != amount.New(test.bonded) {
			t.Errorf("%s: paid %s, bonded %s, %v; want %d, %d", test.name, paid, bonded, err, test.paid, test.bonded)
		}
	}
	if _, _, err := (BondParams{Floor: amount.New(1), FillBps: 10_001}).Fill(amount.Amount{}, amount.New(1)); !errors.Is(err, ErrParams) {
		t.Errorf("%v, want %v", err, ErrParams)
	}
}

// TestFillConserves: whatever a provider earns, in whatever portions, nothing is
// created or lost, and the bond grows to the floor and never beyond it.
func TestFillConserves(t *testing.T) {
	number := func(t *rapid.T, name string) amount.Amount {
		a, err := amount.Parse(rapid.StringMatching(`0|[1-9][0-9]{0,37}`).Draw(t, name))
		if err != nil {
			t.Fatal(err)
		}
		return a
	}
	rapid.Check(t, func(t *rapid.T) {
		p := BondParams{Floor: number(t, "floor"), FillBps: rapid.Uint32Range(0, bpsWhole).Draw(t, "fill")}
		start := number(t, "bond")
		bond := start
		for range rapid.IntRange(1, 12).Draw(t, "payments") {
			earned := number(t, "earned")
			paid, bonded, err := p.Fill(bond, earned)
			if err != nil {
				t.Fatal(err)
			}
			if err := Conserved(earned, paid, bonded); err != nil {
				t.Fatal(err)
			}
			if bond, err = bond.Add(bonded); err != nil {
				t.Fatal(err)
			}
			if bond != start && bond.Cmp(p.Floor) > 0 {
				t.Fatalf("earnings carried a bond of %s to %s, above the floor of %s", start, bond, p.Floor)
			}
		}
	})
}
