package idle

import (
	"context"
	"errors"
	"testing"
	"time"
)

func TestOwnersShare(t *testing.T) {
	s := time.Second
	for name, tc := range map[string]struct {
		a, b look
		want uint
		ok   bool
	}{
		"idle":               {look{0, 0, 0, true}, look{0, 8 * s, 0, true}, 0, true},
		"the owner alone":    {look{s, 10 * s, 0, true}, look{5 * s, 18 * s, 0, true}, 50, true},
		"tenants alone":      {look{s, 10 * s, 0, true}, look{9 * s, 18 * s, 8 * s, true}, 0, true},
		"both":               {look{s, 10 * s, s, true}, look{9 * s, 18 * s, 7 * s, true}, 25, true},
		"ours read late":     {look{s, 10 * s, 0, true}, look{3 * s, 18 * s, 3 * s, true}, 0, true},
		"a task ended":       {look{s, 10 * s, 9 * s, true}, look{9 * s, 18 * s, 0, true}, 0, false},
		"cannot tell":        {look{s, 10 * s, 0, true}, look{9 * s, 18 * s, 0, false}, 0, false},
		"could not tell":     {look{s, 10 * s, 0, false}, look{9 * s, 18 * s, 0, true}, 0, false},
		"no time passed":     {look{s, 10 * s, 0, true}, look{s, 10 * s, 0, true}, 0, false},
		"counters restart":   {look{9 * s, 10 * s, 0, true}, look{s, 18 * s, 0, true}, 0, false},
		"more than is whole": {look{0, 0, 0, true}, look{9 * s, 8 * s, 0, true}, 100, true},
	} {
		if got, ok := ownersShare(tc.a, tc.b); got != tc.want || ok != tc.ok {
			t.Errorf("%s: %d%%, %v", name, got, ok)
		}
	}
}

func TestSensor(t *testing.T) {
	blind := NewSensor(Eyes{})
	if r := blind.Read(t.Context()); r.CPU != nil || r.GPU != nil || r.FullScreen != "" {
		t.Errorf("without eyes: %+v", r)
	}
	busy := time.Duration(0)
	s := NewSensor(Eyes{
		Busy: func(context.Context) (time.Duration, time.Duration, error) {
			busy += time.Second
			return busy, 4 * busy, nil
		},
		Ours:       func() (time.Duration, bool) { return 0, true },
		GPU:        func(context.Context) (uint, bool) { return 7, true },
		FullScreen: func(context.Context) (string, error) { return "", errors.New("no screen") },
	})
	if r := s.Read(t.Context()); r.CPU != nil || r.GPU == nil || *r.GPU != 7 {
		t.Errorf("first: %+v", r)
	}
	if r := s.Read(t.Context()); r.CPU == nil || *r.CPU != 25 {
		t.Errorf("second: %+v", r)
	}
}

// TestThisMachine: the counters are there, move and stay within the whole.
func TestThisMachine(t *testing.T) {
	busy, whole, err := Processors(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for end := time.Now().Add(60 * time.Millisecond); time.Now().Before(end); {
	}
	later, more, err := Processors(t.Context())
	if err != nil || later < busy || more < whole || later > more {
		t.Errorf("busy %s then %s, whole %s then %s, %v", busy, later, whole, more, err)
	}
	if Self(t.Context()) <= 0 {
		t.Error("this process has used nothing")
	}
}
