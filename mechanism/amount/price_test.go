package amount

import (
	"errors"
	"strings"
	"testing"
)

func TestParsePrice(t *testing.T) {
	tests := []struct {
		in     string
		amount uint64
		per    uint64
		rate   string
		err    error
	}{
		{in: "0.02MOY/h", amount: 20_000, per: 3600, rate: "5555555555556"},
		{in: " 0.020 MOY / h ", amount: 20_000, per: 3600, rate: "5555555555556"},
		{in: "20000umoy/h", amount: 20_000, per: 3600, rate: "5555555555556"},
		{in: "1MOY/s", amount: 1_000_000, per: 1, rate: "1000000000000000000"},
		{in: "1MOY/m", amount: 1_000_000, per: 60, rate: "16666666666666667"},
		{in: "1MOY/min", amount: 1_000_000, per: 60, rate: "16666666666666667"},
		{in: "1MOY/d", amount: 1_000_000, per: 86400, rate: "11574074074075"},
		{in: "0MOY/h", amount: 0, per: 3600, rate: "0"},
		{in: "1.000000000MOY/h", amount: 1_000_000, per: 3600, rate: "277777777777778"},
		{in: "0.02", err: ErrNoDenom},
		{in: "0.02/h", err: ErrNoDenom},
		{in: "0.02MOY", err: ErrNoUnit},
		{in: "0.02MOY/", err: ErrNoUnit},
		{in: "0.02MOY/week", err: ErrUnknownUnit},
		{in: "0.02MOY/h/h", err: ErrUnknownUnit},
		{in: "0.02EUR/h", err: ErrUnknownDenom},
		{in: "0.02moy/h", err: ErrUnknownDenom},
		{in: "0.0000001MOY/h", err: ErrTooFine},
		{in: "0.5umoy/h", err: ErrTooFine},
		{in: "-1MOY/h", err: ErrSyntax},
		{in: "MOY/h", err: ErrSyntax},
		{in: "", err: ErrSyntax},
		{in: "1.MOY/h", err: ErrSyntax},
		{in: ".5MOY/h", err: ErrSyntax},
		{in: "1.2.3MOY/h", err: ErrSyntax},
		{in: "1e3MOY/h", err: ErrUnknownDenom},
		{in: strings.Repeat("9", 60) + "MOY/h", err: ErrOverflow},
	}
	for _, test := range tests {
		p, err := ParsePrice(test.in)
		if !errors.Is(err, test.err) || (test.err == nil && err != nil) {
			t.Errorf("%q: %v, want %v", test.in, err, test.err)
			continue
		}
		if err != nil {
			if len(err.Error()) > 250 {
				t.Errorf("%q: error of %d bytes", test.in, len(err.Error()))
			}
			continue
		}
		if p.Amount != New(test.amount) || p.Denom != "umoy" || p.PerSeconds != test.per {
			t.Errorf("%q: %+v", test.in, p)
		}
		if r, err := p.Rate(); err != nil || r.String() != test.rate {
			t.Errorf("%q: rate %s, %v, want %s", test.in, r, err, test.rate)
		}
	}
}

// What people read when a price lacks a part: the text is the interface.
func TestPriceErrorText(t *testing.T) {
	tests := []struct{ in, want string }{
		{"0.02", `price "0.02": no denomination; write it like 0.02MOY/h`},
		{"0.02MOY", `price "0.02MOY": no unit of time; write it like 0.02MOY/h`},
		{"1EUR/h", `price "1EUR/h": unknown denomination "EUR", known are MOY, umoy; write it like 0.02MOY/h`},
		{"1MOY/y", `price "1MOY/y": unknown unit of time "y", known are s, min, h and d`},
	}
	for _, test := range tests {
		if _, err := ParsePrice(test.in); err == nil || err.Error() != test.want {
			t.Errorf("%q: %v\nwant %s", test.in, err, test.want)
		}
	}
}

func TestFormat(t *testing.T) {
	amounts := []struct {
		a     Amount
		denom string
		want  string
	}{
		{New(0), "umoy", "0 MOY"},
		{New(1), "umoy", "0.000001 MOY"},
		{New(3300), "umoy", "0.0033 MOY"},
		{New(1_000_000), "umoy", "1 MOY"},
		{New(12_345_678), "umoy", "12.345678 MOY"},
		{New(42), "ucredit", "42 ucredit"},
		{Amount{1, 0}, "umoy", "18446744073709.551616 MOY"},
	}
	for _, test := range amounts {
		got := FormatAmount(test.a, test.denom)
		if got != test.want {
			t.Errorf("%s %s: %q, want %q", test.a, test.denom, got, test.want)
		}
		if test.denom != "umoy" {
			continue
		}
		if back, err := ParseCoin(got); err != nil || back != (Coin{"umoy", test.a}) {
			t.Errorf("%q reads back as %v, %v", got, back, err)
		}
	}
	rates := []struct{ price, want string }{
		{"0.02MOY/h", "0.02 MOY/h"},
		{"1umoy/h", "0.000001 MOY/h"},
		{"333umoy/h", "0.000333 MOY/h"},
		{"1MOY/s", "3600 MOY/h"},
		{"0.07MOY/d", "0.002916 MOY/h"},
		{"1umoy/d", "0.00000004166 MOY/h"},
		{"0MOY/h", "0 MOY/h"},
		{"123456.789MOY/h", "123456.789 MOY/h"},
	}
	for _, test := range rates {
		p, err := ParsePrice(test.price)
		if err != nil {
			t.Fatal(err)
		}
		r, err := p.Rate()
		if err != nil {
			t.Fatal(err)
		}
		if got := FormatRate(r, "umoy"); got != test.want {
			t.Errorf("%s: %q, want %q", test.price, got, test.want)
		}
	}
	if got := FormatRate(Rate{1 << 63, 0}, "umoy"); got != "612508260457689234234074.293377 MOY/h" {
		t.Errorf("half of the largest rate: %q", got)
	}
}

// A whole number of base units per hour survives becoming a rate and back.
func TestFormatRateRoundTrip(t *testing.T) {
	for umoy := uint64(0); umoy < 1_000_000_000; umoy = umoy*5/4 + 1 {
		r, err := RateFromPrice(New(umoy), 3600)
		if err != nil {
			t.Fatal(err)
		}
		if got, want := FormatRate(r, "umoy"), FormatAmount(New(umoy), "umoy")+"/h"; got != want {
			t.Errorf("%d umoy/h: %q, want %q", umoy, got, want)
		}
	}
}
