package runtimetest

import (
	"errors"
	"path/filepath"
	"testing"

	"github.com/moyai-network/moyai/compute"
	"github.com/moyai-network/moyai/compute/egress"
)

// egress gives a task a way to the internet.
func (e *env) egress(rules ...string) *env {
	e.t.Helper()
	policy, err := egress.ParsePolicy(rules)
	if err != nil {
		e.t.Fatal(err)
	}
	e.spec.Egress = &compute.Egress{
		Policies: []egress.Policy{policy}, Bytes: 1 << 30, Rate: 1 << 30, FlowsPerSecond: 1000,
		Ledger: filepath.Join(e.spec.Dir, "ledger"), Log: filepath.Join(e.spec.Dir, "egress.jsonl"), LogBytes: 8 << 20, Tag: "lease-1",
	}
	return e
}

// testEgress is for what can be given a way to the internet; what cannot says so.
func (s *suite) testEgress(t *testing.T) {
	if s.Egress {
		s.testUplink(t)
		return
	}
	e := s.task(t, "hello").egress("*")
	if p, err := s.runtime.Prepare(e.context(), e.spec); !errors.Is(err, compute.ErrInvalidSpec) {
		t.Errorf("egress that cannot be given was accepted: %v, %v", p, err)
	}
}
