package audit

import (
	"strings"
	"testing"

	"github.com/moyai-network/moyai/mechanism/amount"
)

func books(supply uint64, holders ...uint64) *Books {
	b := &Books{Supply: amount.New(supply)}
	sum := uint64(0)
	for _, h := range holders {
		b.Holders = append(b.Holders, Holder{Amount: amount.New(h)})
		sum += h
	}
	b.Sum = amount.New(sum)
	return b
}

func TestConserved(t *testing.T) {
	for _, tt := range []struct {
		name           string
		before, after  *Books
		minted, burned uint64
		want           string
	}{
		{"nothing happened", books(10, 4, 6), books(10, 5, 5), 0, 0, ""},
		{"burned", books(10, 10), books(7, 7), 0, 3, ""},
		{"minted and burned", books(10, 10), books(12, 5, 7), 5, 3, ""},
		{"a unit vanished from the accounts", books(10, 10), books(10, 9), 0, 0, "all accounts together own 9"},
		{"a unit appeared", books(10, 10), books(11, 11), 0, 0, "which leaves 10; it is 11"},
		{"burned and not gone", books(10, 10), books(10, 10), 0, 3, "which leaves 7; it is 10"},
		{"more burned than there was", books(10, 10), books(0), 0, 11, "more was burned"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			err := Conserved(tt.before, tt.after, amount.New(tt.minted), amount.New(tt.burned))
			if tt.want == "" && err != nil {
				t.Errorf("got %v, want none", err)
			}
			if tt.want != "" && (err == nil || !strings.Contains(err.Error(), tt.want)) {
				t.Errorf("got %v, want %q", err, tt.want)
			}
		})
	}
}

func TestAddBase(t *testing.T) {
	for _, tt := range []struct {
		list string
		want uint64
		ok   bool
	}{
		{"", 0, true}, {"25umoy", 25, true}, {"7ibc/ABC,25umoy", 25, true}, {"7uusd", 0, true}, {"umoy", 0, false},
	} {
		var sum amount.Amount
		if err := addBase(&sum, tt.list); (err == nil) != tt.ok || sum != amount.New(tt.want) {
			t.Errorf("%q: got %s, %v; want %d", tt.list, sum, err, tt.want)
		}
	}
}
