package receipt

import (
	"errors"
	"math"
	"testing"

	"github.com/moyai-network/moyai/mechanism/lease"
)

func TestStart(t *testing.T) {
	tests := []struct {
		name string
		r    Receipt
		want error
	}{
		{"start", Receipt{}, nil},
		{"sequence 1", Receipt{Sequence: 1}, ErrSequence},
		{"counter 1", Receipt{ElapsedMS: 1}, ErrSkips},
		{"final", Receipt{Final: true, Reason: lease.ReasonCompleted}, ErrAfterFinal},
		{"with a reason", Receipt{Reason: lease.ReasonCompleted}, ErrReason},
	}
	for _, test := range tests {
		if err := Start(test.r); !errors.Is(err, test.want) || (test.want == nil && err != nil) {
			t.Errorf("%s: %v, want %v", test.name, err, test.want)
		}
	}
}

func TestNext(t *testing.T) {
	prev := Receipt{Sequence: 5, ElapsedMS: 5000}
	done := Receipt{Sequence: 6, ElapsedMS: 6000, Final: true, Reason: lease.ReasonCompleted}
	tests := []struct {
		name       string
		prev, next Receipt
		want       error
	}{
		{"a second on", prev, Receipt{Sequence: 6, ElapsedMS: 6000}, nil},
		{"no progress", prev, Receipt{Sequence: 6, ElapsedMS: 5000}, nil},
		{"as far as may be", prev, Receipt{Sequence: 6, ElapsedMS: 15_000}, nil},
		{"after lost ones", prev, Receipt{Sequence: 60, ElapsedMS: 6000}, nil},
		{"final", prev, done, nil},
		{"same sequence", prev, Receipt{Sequence: 5, ElapsedMS: 6000}, ErrSequence},
		{"earlier sequence", prev, Receipt{Sequence: 4, ElapsedMS: 6000}, ErrSequence},
		{"backwards", prev, Receipt{Sequence: 6, ElapsedMS: 4999}, ErrBackwards},
		{"too far", prev, Receipt{Sequence: 6, ElapsedMS: 15_001}, ErrSkips},
		{"absurdly far", prev, Receipt{Sequence: 6, ElapsedMS: math.MaxUint64}, ErrSkips},
		{"after final", done, Receipt{Sequence: 7, ElapsedMS: 6000}, ErrAfterFinal},
		{"final without reason", prev, Receipt{Sequence: 6, ElapsedMS: 5000, Final: true}, ErrReason},
		{"final with unknown reason", prev, Receipt{Sequence: 6, ElapsedMS: 5000, Final: true, Reason: 999}, ErrReason},
		{"reason but not final", prev, Receipt{Sequence: 6, ElapsedMS: 5000, Reason: lease.ReasonFailed}, ErrReason},
		{"unknown reason, not final", prev, Receipt{Sequence: 6, ElapsedMS: 5000, Reason: 999}, ErrReason},
	}
	for _, test := range tests {
		if err := Next(test.prev, test.next, 10_000); !errors.Is(err, test.want) || (test.want == nil && err != nil) {
			t.Errorf("%s: %v, want %v", test.name, err, test.want)
		}
	}
}

// A tenant comes back: it had acknowledged 5 s and allowed 60 in advance.
func TestNextAllowed(t *testing.T) {
	prev := Receipt{Sequence: 5, ElapsedMS: 5000}
	tests := []struct {
		elapsed, allowed uint64
		want             error
	}{
		{58_000, 60_000, nil},
		{70_000, 60_000, nil},
		{70_001, 60_000, ErrSkips},
		{4999, 60_000, ErrBackwards},
		{15_000, 1000, nil},
		{15_001, 1000, ErrSkips},
		{math.MaxUint64, math.MaxUint64, nil},
	}
	for _, test := range tests {
		err := NextAllowed(prev, Receipt{Sequence: 6, ElapsedMS: test.elapsed}, test.allowed, 10_000)
		if !errors.Is(err, test.want) || (test.want == nil && err != nil) {
			t.Errorf("%+v: %v", test, err)
		}
	}
}

func TestPlausible(t *testing.T) {
	tests := []struct {
		counter, observed, skew uint64
		want                    error
	}{
		{5000, 5000, 0, nil},
		{8000, 5000, 3000, nil},
		{8001, 5000, 3000, ErrAhead},
		{math.MaxUint64, math.MaxUint64, 1, nil},
	}
	for _, test := range tests {
		if err := Plausible(Receipt{ElapsedMS: test.counter}, test.observed, test.skew); !errors.Is(err, test.want) || (test.want == nil && err != nil) {
			t.Errorf("%+v: %v", test, err)
		}
	}
}

func TestMayRun(t *testing.T) {
	tests := []struct {
		acked, elapsed uint64
		want           bool
	}{{0, 0, true}, {0, 9999, true}, {0, 10_000, false}, {5000, 14_999, true}, {5000, 15_000, false}, {5000, 4000, true}}
	for _, test := range tests {
		if got := MayRun(test.acked, test.elapsed, 10_000); got != test.want {
			t.Errorf("acked %d, elapsed %d: %t", test.acked, test.elapsed, got)
		}
	}
}
