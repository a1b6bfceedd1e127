package provider

import (
	"strings"
	"testing"

	"github.com/moyai-network/moyai/mechanism/amount"
)

func TestParsePrices(t *testing.T) {
	p, err := ParsePrices([]string{"memory=0.001MOY/h", "cpu=0.02MOY/h", "min=1umoy/h"})
	if err != nil {
		t.Fatal(err)
	}
	if p.Denom != "umoy" || len(p.Units) != 2 || p.Units[0].Dimension != DimCPU || p.Units[0].Per != 1000 ||
		p.Units[0].Rate != amount.NewRate(5_555_555_555_556) || p.Units[1].Per != 1<<30 || p.Min.IsZero() {
		t.Fatalf("got %+v", p)
	}
	for list, says := range map[string]string{
		"":                          "no price given",
		"0.02MOY/h":                 "says not of what",
		"cpu=0.02":                  "no denomination",
		"cpu=0.02MOY":               "no unit of time",
		"tpu=0.02MOY/h":             "unknown, use cpu",
		"cpu=1MOY/h,cpu=2MOY/h":     "given twice",
		"cpu=1MOY/h,memory=1ATOM/h": "unknown denomination",
	} {
		var in []string
		if list != "" {
			in = strings.Split(list, ",")
		}
		if _, err := ParsePrices(in); err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("%q: %v, want %q", list, err, says)
		}
	}
}
