package provider

import (
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/moyai-network/moyai/compute"
	"github.com/moyai-network/moyai/compute/egress"
	"github.com/moyai-network/moyai/compute/manifest"
	"github.com/moyai-network/moyai/mechanism/amount"
	"github.com/moyai-network/moyai/mechanism/match"
	"github.com/moyai-network/moyai/wire"
)

func policyOf(t *testing.T, rules ...string) egress.Policy {
	t.Helper()
	p, err := egress.ParsePolicy(rules)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// atTier is a runtime of containers that is asked for its tier only.
type atTier struct {
	compute.Runtime
	tier compute.Tier
}

func (atTier) Name() string         { return manifest.RuntimeContainer }
func (r atTier) Tier() compute.Tier { return r.tier }

// TestSuitsEgress: what is asked for in vain is named, before anybody pays.
func TestSuitsEgress(t *testing.T) {
	offer := &EgressOffer{Policy: policyOf(t, "*", "*.debian.org:*", "!*.evil.org"), Tiers: []compute.Tier{compute.TierContainer}}
	for _, tt := range []struct {
		name    string
		offer   *EgressOffer
		rules   []string
		bytes   uint64
		ordered uint64
		want    string // part of the refusal; "" is none

		isolation compute.Tier
	}{
		{name: "none asked"},
		{name: "none offered", rules: []string{"pypi.org"}, bytes: 1, ordered: 1, want: "none is offered here"},
		{name: "at the tier that can", offer: offer, rules: []string{"pypi.org"}, bytes: 1, ordered: 1, isolation: compute.TierContainer},
		{name: "at one that cannot", offer: offer, rules: []string{"pypi.org"}, bytes: 1, ordered: 1, isolation: compute.TierGVisor, want: "offered at [container] only"},
		{name: "offered", offer: offer, rules: []string{"pypi.org:443"}, bytes: 1 << 30, ordered: 1 << 30, want: ""},
		{name: "more than ordered", offer: offer, rules: []string{"pypi.org:443"}, bytes: 1 << 30, ordered: 1 << 29, want: "needs 1 GiB, 512 MiB was ordered"},
		{name: "nothing ordered", offer: offer, rules: []string{"pypi.org:443"}, bytes: 1, ordered: 0, want: "was ordered"},
		{name: "another port", offer: offer, rules: []string{"pypi.org:22"}, bytes: 1, ordered: 1, want: "needs pypi.org:22, egress to pypi.org:22: port 22 of it is not offered here"},
		{name: "a port of one that is offered more", offer: offer, rules: []string{"deb.debian.org:22"}, bytes: 1, ordered: 1, want: ""},
		{name: "mail", offer: offer, rules: []string{"smtp.debian.org:587"}, bytes: 1, ordered: 1, want: "port 587 of it is not offered"},
		{name: "denied", offer: offer, rules: []string{"www.evil.org"}, bytes: 1, ordered: 1, want: "is denied here (!*.evil.org)"},
		{name: "not a rule", offer: offer, rules: []string{"localhost"}, bytes: 1, ordered: 1, want: "bad egress rule"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			d := &desk{egress: tt.offer, runtimes: runtimes{atTier{tier: compute.TierGVisor}, atTier{tier: compute.TierContainer}}}
			m := manifest.Manifest{Runtime: manifest.RuntimeContainer, Egress: manifest.Egress{Rules: tt.rules, Bytes: tt.bytes}}
			o := wire.Order{Quantities: []wire.Quantity{{Dimension: DimEgress, Amount: tt.ordered}}}
			if tt.isolation != "" {
				o.Constraints = []wire.Constraint{{Attribute: attrIsolation, Op: "=", Value: string(tt.isolation)}}
			}
			r, bad := d.suitsEgress(m, o)
			if bad != (tt.want != "") || bad && !strings.Contains(r.String(), tt.want) {
				t.Errorf("%t, %q, want %q", bad, r.String(), tt.want)
			}
		})
	}
}

func TestEgressConfig(t *testing.T) {
	rules := policyOf(t, "*")
	for _, tt := range []struct {
		offer *EgressOffer
		bytes uint64
		ok    bool
	}{
		{nil, 0, true}, {nil, 1, false}, {&EgressOffer{Policy: rules}, 0, false}, {&EgressOffer{}, 1, false}, {&EgressOffer{Policy: rules}, 1, true},
		{&EgressOffer{Policy: rules, LogKeep: time.Minute}, 1, false}, {&EgressOffer{Policy: rules, LogBytes: 1}, 1, false},
	} {
		c := Config{Egress: tt.offer, Capacity: Capacity{EgressBytes: tt.bytes}}
		c.EnsureDefaults()
		if err := c.validateEgress(); (err == nil) != tt.ok {
			t.Errorf("%+v, %d bytes: %v", tt.offer, tt.bytes, err)
		}
	}
}

// TestEgressIsPriced: a budget costs per GiB while the lease lasts, and what is
// not offered is missed by name.
func TestEgressIsPriced(t *testing.T) {
	prices, err := ParsePrices([]string{"cpu=0.02MOY/h", "egress=0.01MOY/h"})
	if err != nil {
		t.Fatal(err)
	}
	c := Config{Capacity: Capacity{CPUMilli: 1000, MemoryBytes: 1, StorageBytes: 1, EgressBytes: 8 << 30}, Prices: prices}
	tariff := newTariff(&c)
	need := needOf(prices.Denom, map[string]uint64{DimCPU: 1000, DimEgress: 2 << 30})
	if got := tariff.match(need, tariff.total); !got.OK || got.Rate.String() != rateOf(t, "0.04MOY/h") {
		t.Errorf("%+v, want %s", got, rateOf(t, "0.04MOY/h"))
	}
	c.Capacity.EgressBytes = 0
	tariff = newTariff(&c)
	if got := tariff.match(need, tariff.total); got.OK || got.Misses[0].String() != "needs 2 GiB of egress, none is offered" {
		t.Errorf("%+v", got)
	}
}

func TestOwnAddresses(t *testing.T) {
	got := addressesOf([]string{
		"/ip4/5.6.7.8/udp/4001/quic-v1", "/ip4/192.168.1.2/tcp/1", "/ip6/2a00::1/udp/1/quic-v1", "/dns4/example.org/tcp/1", "/ip4/0.0.0.0/tcp/1", "nonsense",
		"/ip4/9.9.9.9/udp/4001/quic-v1/p2p/12D3KooWEChVMMMzV8acJ53mJHrw1pQ27UAGkCxWXLJutbeUMvVu/p2p-circuit",
	})
	if !slices.Equal(got, []string{"5.6.7.8", "192.168.1.2", "2a00::1"}) {
		t.Errorf("%v", got)
	}
	home := t.TempDir()
	for _, list := range [][]string{{"5.6.7.8", "2a00::1"}, {"1.1.1.1"}} {
		if err := writeOwn(home, list); err != nil {
			t.Fatal(err)
		}
		b, err := os.ReadFile(ownAddresses(home))
		if err != nil || string(b) != strings.Join(list, "\n")+"\n" {
			t.Errorf("%q, %v", b, err)
		}
	}
}

func needOf(denom string, q map[string]uint64) match.Need {
	return match.Need{Kind: KindCompute, KindVersion: KindComputeVersion, Denom: denom, AnyRate: true, Quantities: listed(q)}
}

func rateOf(t *testing.T, price string) string {
	t.Helper()
	p, err := amount.ParsePrice(price)
	if err != nil {
		t.Fatal(err)
	}
	r, err := p.Rate()
	if err != nil {
		t.Fatal(err)
	}
	return r.String()
}
