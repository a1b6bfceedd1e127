package provider

import (
	"errors"
	"testing"

	"github.com/moyai-network/moyai/mechanism/amount"
)

func TestAtLeastPower(t *testing.T) {
	price := func(text string) amount.Coin {
		t.Helper()
		c, err := amount.ParseCoin(text)
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	for _, tc := range []struct {
		prices []string
		power  string
		watts  uint64
		want   string // of a core
		raised bool
	}{
		// 80 W at 0.5 MOY a kWh are 0.04 MOY/h, a quarter of it on each of four cores.
		{[]string{"cpu=0.005MOY/h"}, "0.5MOY", 80, "0.01 MOY/h", true},
		{[]string{"cpu=0.01MOY/h"}, "0.5MOY", 80, "0.01 MOY/h", false},
		{[]string{"cpu=0.02MOY/h"}, "0.5MOY", 80, "0.02 MOY/h", false},
		{[]string{"memory=0.02MOY/h"}, "0.5MOY", 80, "0.01 MOY/h", true},
		{nil, "0.5MOY", 80, "0.01 MOY/h", true},
	} {
		var p Prices
		var err error
		if tc.prices != nil {
			if p, err = ParsePrices(tc.prices); err != nil {
				t.Fatal(err)
			}
		}
		before := len(p.Units)
		raised, core, err := p.AtLeastPower(price(tc.power), tc.watts, 4000)
		if err != nil {
			t.Fatal(err)
		}
		if err := raised.Validate(); err != nil {
			t.Error(err)
		}
		for _, u := range raised.Units {
			if got := amount.FormatRate(u.Rate, raised.Denom); u.Dimension == DimCPU && got != tc.want {
				t.Errorf("%v: a core for %s, want %s", tc.prices, got, tc.want)
			}
		}
		if (core != nil) != tc.raised || len(p.Units) != before {
			t.Errorf("%v: raised %v, and %d units of the old list", tc.prices, core, len(p.Units))
		}
	}
	p, err := ParsePrices([]string{"cpu=0.01MOY/h"})
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := p.AtLeastPower(amount.Coin{Denom: "uusd", Amount: amount.New(1)}, 80, 4000); err == nil {
		t.Error("two denominations were added up")
	}
	if _, _, err := p.AtLeastPower(price("1MOY"), 80, 0); !errors.Is(err, amount.ErrDivisor) {
		t.Errorf("without a core: %v", err)
	}
}
