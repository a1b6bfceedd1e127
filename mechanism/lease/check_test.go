package lease_test

import (
	"bytes"
	"errors"
	"math"
	"testing"

	"github.com/moyai-network/moyai/mechanism/amount"
	"github.com/moyai-network/moyai/mechanism/lease"
)

const blockMS = 1_800_000_000_000

// pairing is an order, a bid and a ready that fit, for tests to spoil.
type pairing struct {
	params         lease.Params
	order          lease.OrderView
	bid            lease.BidView
	ready          lease.ReadyView
	lastGeneration uint64
}

func goodPairing() pairing {
	orderHash, bidHash := [32]byte{1}, [32]byte{2}
	payer, spec := bytes.Repeat([]byte{3}, 20), bytes.Repeat([]byte{4}, 32)
	return pairing{
		params: exampleParams(),
		order: lease.OrderView{
			Hash: orderHash, Version: 1, ChainID: "moyai-dev-1", Payer: payer, SpecHash: spec, Denom: "umoy",
			MaxRate: amount.NewRate(5_555_555_555_556), TimeoutMS: 600_000, MaxGraceMS: 30_000, MaxUnackedMS: 10_000,
			MinBond: amount.New(77), OfflineMax: amount.New(100), VerifyPolicy: "none", ExpiresAt: blockMS + 60_000,
		},
		bid: lease.BidView{
			Hash: bidHash, Version: 1, ChainID: "moyai-dev-1", OrderHash: orderHash[:], Payer: payer, Slot: 3, Generation: 8,
			Rate: amount.NewRate(5_000_000_000_000), Denom: "umoy", GraceMS: 20_000, NoticeMS: 5_000, ExpiresAt: blockMS + 30_000,
		},
		ready:          lease.ReadyView{Version: 1, ChainID: "moyai-dev-1", BidHash: bidHash[:], Manifest: spec},
		lastGeneration: 7,
	}
}

func (p pairing) check() error {
	if err := lease.CheckOrder(p.params, p.order, blockMS); err != nil {
		return err
	}
	return lease.CheckPair(p.params, p.order, p.bid, p.ready, blockMS, p.lastGeneration)
}

func TestCheck(t *testing.T) {
	other := []byte("another")
	tests := []struct {
		name  string
		spoil func(*pairing)
		want  error
	}{
		{"as it should be", func(*pairing) {}, nil},
		{"bid at the ceiling", func(p *pairing) { p.bid.Rate = p.order.MaxRate }, nil},
		{"first generation", func(p *pairing) { p.lastGeneration, p.bid.Generation = 0, 1 }, nil},
		{"no grace", func(p *pairing) { p.bid.GraceMS = 0 }, nil},

		{"order version", func(p *pairing) { p.order.Version = 2 }, lease.ErrVersion},
		{"verify replay", func(p *pairing) { p.order.VerifyPolicy = "replay" }, lease.ErrReserved},
		{"verify empty", func(p *pairing) { p.order.VerifyPolicy = "" }, lease.ErrReserved},
		{"verify with probability", func(p *pairing) { p.order.VerifyBps = 1 }, lease.ErrReserved},
		{"verify with copies", func(p *pairing) { p.order.VerifyCopies = 1 }, lease.ErrReserved},
		{"priority", func(p *pairing) { p.order.Priority = 1 }, lease.ErrReserved},
		{"failover", func(p *pairing) { p.order.Failover = 1 }, lease.ErrReserved},
		{"standby rate of the order", func(p *pairing) { p.order.StandbyRate = amount.NewRate(1) }, lease.ErrReserved},
		{"penalty of the order", func(p *pairing) { p.order.MaxPenalty = amount.New(1) }, lease.ErrReserved},
		{"order expires now", func(p *pairing) { p.order.ExpiresAt = blockMS }, lease.ErrOrderExpired},
		{"order of long ago", func(p *pairing) { p.order.ExpiresAt = math.MinInt64 }, lease.ErrOrderExpired},
		{"order at its longest", func(p *pairing) { p.order.ExpiresAt = blockMS + 600_000 }, nil},
		{"order too long", func(p *pairing) { p.order.ExpiresAt = blockMS + 600_001 }, lease.ErrOrderLife},
		{"order for ever", func(p *pairing) { p.order.ExpiresAt = math.MaxInt64 }, lease.ErrOrderLife},
		{"no timeout", func(p *pairing) { p.order.TimeoutMS = 0 }, lease.ErrTerms},
		{"timeout too long", func(p *pairing) { p.order.TimeoutMS = 86_400_001 }, lease.ErrTerms},
		{"no max_unacked", func(p *pairing) { p.order.MaxUnackedMS = 0 }, lease.ErrTerms},
		{"max_unacked too long", func(p *pairing) { p.order.MaxUnackedMS = math.MaxUint64 }, lease.ErrTerms},

		{"bid version", func(p *pairing) { p.bid.Version = 0 }, lease.ErrVersion},
		{"bid for another chain", func(p *pairing) { p.bid.ChainID = "moyai-1" }, lease.ErrChain},
		{"bid for another order", func(p *pairing) { p.bid.OrderHash = other }, lease.ErrWrongOrder},
		{"bid for no order", func(p *pairing) { p.bid.OrderHash = nil }, lease.ErrWrongOrder},
		{"bid for another payer", func(p *pairing) { p.bid.Payer = other }, lease.ErrWrongPayer},
		{"penalty of the bid", func(p *pairing) { p.bid.Penalty = amount.New(1) }, lease.ErrReserved},
		{"standby rate of the bid", func(p *pairing) { p.bid.StandbyRate = amount.NewRate(1) }, lease.ErrReserved},
		{"another denomination", func(p *pairing) { p.bid.Denom = "ucredit" }, lease.ErrDenom},
		{"above the ceiling", func(p *pairing) { p.bid.Rate = amount.NewRate(5_555_555_555_557) }, lease.ErrRate},
		{"too much grace", func(p *pairing) { p.bid.GraceMS = 30_001 }, lease.ErrGrace},
		{"grace above the governed one", func(p *pairing) { p.order.MaxGraceMS, p.bid.GraceMS = 700_000, 600_001 }, lease.ErrTerms},
		{"bid expires now", func(p *pairing) { p.bid.ExpiresAt = blockMS }, lease.ErrBidExpired},
		{"bid too long", func(p *pairing) { p.bid.ExpiresAt = blockMS + 30_001 }, lease.ErrBidLife},
		{"used generation", func(p *pairing) { p.lastGeneration = 8 }, lease.ErrGeneration},
		{"earlier generation", func(p *pairing) { p.lastGeneration = 9 }, lease.ErrGeneration},
		{"ready version", func(p *pairing) { p.ready.Version = 3 }, lease.ErrVersion},
		{"ready for another chain", func(p *pairing) { p.ready.ChainID = "" }, lease.ErrChain},
		{"ready for another bid", func(p *pairing) { p.ready.BidHash = other }, lease.ErrWrongBid},
		{"another manifest", func(p *pairing) { p.ready.Manifest = other }, lease.ErrManifest},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			p := goodPairing()
			test.spoil(&p)
			if err := p.check(); !errors.Is(err, test.want) || (test.want == nil && err != nil) {
				t.Errorf("%v, want %v", err, test.want)
			}
		})
	}
}

func TestTermsOf(t *testing.T) {
	p := goodPairing()
	got := lease.TermsOf(p.order, p.bid)
	want := lease.Terms{
		Rate: p.bid.Rate, TimeoutMS: 600_000, GraceMS: 20_000, MaxUnackedMS: 10_000, Bond: amount.New(77),
		OfflineMS: 20_199, // 5 umoy a second: the last millisecond before the 101st
	}
	if got != want {
		t.Errorf("got %+v\nwant %+v", got, want)
	}
	p.order.OfflineMax = amount.New(1 << 60)
	if got := lease.TermsOf(p.order, p.bid).OfflineMS; got != p.order.TimeoutMS {
		t.Errorf("a large allowance gives %d ms, want the timeout", got)
	}
	p.order.OfflineMax, p.bid.Rate = amount.Amount{}, amount.Rate{}
	if got := lease.TermsOf(p.order, p.bid).OfflineMS; got != 0 {
		t.Errorf("no allowance gives %d ms, also for a free lease", got)
	}
}

func TestOpenRefuses(t *testing.T) {
	huge, err := amount.ParseRate("340282366920938463463374607431768211455")
	if err != nil {
		t.Fatal(err)
	}
	p := exampleParams()
	terms := lease.Terms{Rate: huge, TimeoutMS: p.MaxTimeoutMS, MaxUnackedMS: 1}
	if l, err := lease.Open(p, terms, 1); err != nil || l.DryAt != 1+p.MaxTimeoutMS {
		t.Errorf("the largest rate for a day: %+v, %v", l, err)
	}
	p.MaxTimeoutMS = math.MaxUint64
	terms.TimeoutMS = math.MaxUint64
	if _, err := lease.Open(p, terms, 1); !errors.Is(err, amount.ErrOverflow) {
		t.Errorf("the largest rate for ever: %v, want %v", err, amount.ErrOverflow)
	}
	terms.Rate = amount.NewRate(1)
	if l, err := lease.Open(p, terms, 1000); err != nil || l.DryAt != math.MaxUint64 {
		t.Errorf("a lease to the end of time: %+v, %v", l, err)
	}
}

func TestParamsValidate(t *testing.T) {
	tests := []struct {
		name  string
		spoil func(*lease.Params)
	}{
		{"window", func(p *lease.Params) { p.WindowMS = 1 }},
		{"timeout", func(p *lease.Params) { p.MaxTimeoutMS = 0 }},
		{"unacked", func(p *lease.Params) { p.MaxUnackedMS = 0 }},
		{"bid life", func(p *lease.Params) { p.MaxBidLifeMS = 0 }},
		{"order life", func(p *lease.Params) { p.MaxOrderLifeMS = 0 }},
		{"candidates", func(p *lease.Params) { p.MaxCandidates = 0 }},
		{"take", func(p *lease.Params) { p.Take.TakeBps = 10_001 }},
		{"burn", func(p *lease.Params) { p.Take.BurnBps = 10_001 }},
	}
	if err := exampleParams().Validate(); err != nil {
		t.Errorf("the example's parameters: %v", err)
	}
	for _, test := range tests {
		p := exampleParams()
		test.spoil(&p)
		if p.Validate() == nil {
			t.Errorf("%s: accepted", test.name)
		}
	}
}

// States a chain could hold but this machine never makes are refused by name.
func TestReservedStates(t *testing.T) {
	p := exampleParams()
	l := mustOpen(t, p, lease.Terms{TimeoutMS: 1, MaxUnackedMS: 1})
	l.State = lease.StateStandby
	if _, err := l.Apply(p, lease.Expire{}, 10); !errors.Is(err, lease.ErrReserved) {
		t.Errorf("STANDBY: %v, want %v", err, lease.ErrReserved)
	}
	l.State = 9
	if _, err := l.Apply(p, lease.Expire{}, 10); !errors.Is(err, lease.ErrNotOpen) {
		t.Errorf("state 9: %v, want %v", err, lease.ErrNotOpen)
	}
	if _, err := mustOpen(t, p, lease.Terms{TimeoutMS: 1, MaxUnackedMS: 1}).Apply(p, nil, 0); err == nil {
		t.Error("no step at all was accepted")
	}
}

func TestReasons(t *testing.T) {
	seen := map[string]bool{}
	for r := lease.ReasonNone; r <= lease.ReasonBadManifest; r++ {
		if seen[r.String()] || r.String() == "" {
			t.Errorf("reason %d reads %q", r, r)
		}
		seen[r.String()] = true
		if r.Valid() != (r != lease.ReasonNone) {
			t.Errorf("%s: valid %t", r, r.Valid())
		}
	}
	if r := lease.ReasonBadManifest + 1; r.Valid() || r.String() != "reason(14)" {
		t.Errorf("%s is valid", r)
	}
}
