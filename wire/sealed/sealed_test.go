package sealed

import (
	"bytes"
	"crypto/ed25519"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"
)

const chainID = "moyai-test-1"

var leaseID = bytes.Repeat([]byte{9}, 20)

func node(n byte) (seed, public []byte) {
	seed = bytes.Repeat([]byte{n}, ed25519.SeedSize)
	return seed, ed25519.NewKeyFromSeed(seed).Public().(ed25519.PublicKey)
}

func sample() Secrets {
	return New([]Var{{Name: "EMPTY", Value: ""}, {Name: "TOKEN", Value: "hunter2 日本語"}}, Registry{User: "me", Password: "right"})
}

func TestRoundTrip(t *testing.T) {
	seed, public := node(1)
	b, err := Seal(sample(), chainID, leaseID, public)
	if err != nil {
		t.Fatal(err)
	}
	if bytes.Contains(b, []byte("hunter2")) {
		t.Error("it is not sealed")
	}
	got, err := Open(b, chainID, leaseID, seed)
	if err != nil || got.Registry != sample().Registry || strings.Join(got.Environ(), "|") != "EMPTY=|TOKEN=hunter2 日本語" {
		t.Errorf("got %v, %v", got, err)
	}
	for _, said := range []string{fmt.Sprint(got), fmt.Sprintf("%+v", got), fmt.Sprintf("%#v", got), got.String()} {
		if strings.Contains(said, "hunter2") {
			t.Errorf("printed: %s", said)
		}
	}
}

// TestNobodyElse: another node, lease or chain, or a changed byte.
func TestNobodyElse(t *testing.T) {
	seed, public := node(1)
	b, err := Seal(sample(), chainID, leaseID, public)
	if err != nil {
		t.Fatal(err)
	}
	other, _ := node(2)
	changed := bytes.Clone(b)
	changed[len(changed)-1] ^= 1
	for name, try := range map[string]func() (Secrets, error){
		"another node":   func() (Secrets, error) { return Open(b, chainID, leaseID, other) },
		"another lease":  func() (Secrets, error) { return Open(b, chainID, bytes.Repeat([]byte{8}, 20), seed) },
		"another chain":  func() (Secrets, error) { return Open(b, "moyai-1", leaseID, seed) },
		"a changed byte": func() (Secrets, error) { return Open(changed, chainID, leaseID, seed) },
		"nothing":        func() (Secrets, error) { return Open(nil, chainID, leaseID, seed) },
	} {
		if got, err := try(); !errors.Is(err, ErrSealed) || len(got.Vars) > 0 {
			t.Errorf("%s: %v, %v", name, got, err)
		}
	}
}

func TestRefused(t *testing.T) {
	_, public := node(1)
	for name, s := range map[string]Secrets{
		"no version":   {},
		"too large":    New([]Var{{Name: "A", Value: strings.Repeat("x", MaxValue+1)}}, Registry{}),
		"too much":     New([]Var{{Name: "A", Value: strings.Repeat("x", MaxValue)}, {Name: "B", Value: strings.Repeat("x", MaxValue)}}, Registry{}),
		"zero byte":    New([]Var{{Name: "A", Value: "\x00"}}, Registry{}),
		"twice":        New([]Var{{Name: "A"}, {Name: "A"}}, Registry{}),
		"a bad name":   New([]Var{{Name: "A=B"}}, Registry{}),
		"too many":     New(make([]Var, MaxVars+1), Registry{}),
		"big password": New(nil, Registry{Password: strings.Repeat("x", MaxPassword+1)}),
	} {
		if _, err := Seal(s, chainID, leaseID, public); !errors.Is(err, ErrInvalid) || strings.Contains(err.Error(), "xxxx") {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := Seal(sample(), chainID, leaseID, bytes.Repeat([]byte{2}, 32)); !errors.Is(err, ErrInvalid) {
		t.Errorf("a key that is no point: %v", err)
	}
}

// TestVector holds the published vector: sealing draws a key anew each time, so
// it is opening that is pinned. UPDATE=1 seals another.
func TestVector(t *testing.T) {
	const path = "../../docs/spec/vectors/secrets.json"
	type vector struct {
		ChainID  string `json:"chain_id"`
		Lease    string `json:"lease_id"`
		NodeSeed string `json:"node_seed"`
		Node     string `json:"node_key"`
		Sealed   string `json:"sealed"`
		Vars     []Var  `json:"vars"`
		User     string `json:"registry_user"`
		Password string `json:"registry_password"`
	}
	if os.Getenv("UPDATE") != "" {
		seed, public := node(7)
		s := sample()
		b, err := Seal(s, chainID, leaseID, public)
		if err != nil {
			t.Fatal(err)
		}
		out, err := json.MarshalIndent(vector{chainID, hex.EncodeToString(leaseID), hex.EncodeToString(seed), hex.EncodeToString(public),
			hex.EncodeToString(b), s.Vars, s.Registry.User, s.Registry.Password}, "", "  ")
		if err == nil {
			err = os.WriteFile(path, append(out, '\n'), 0o644)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	raw, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var v vector
	if err := json.Unmarshal(raw, &v); err != nil {
		t.Fatal(err)
	}
	unhex := func(s string) []byte {
		b, err := hex.DecodeString(s)
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	got, err := Open(unhex(v.Sealed), v.ChainID, unhex(v.Lease), unhex(v.NodeSeed))
	if err != nil || fmt.Sprint(got.Environ()) != fmt.Sprint(New(v.Vars, Registry{}).Environ()) || got.Registry.User != v.User || got.Registry.Password != v.Password {
		t.Errorf("opened as %v (%q), %v", got, got.Environ(), err)
	}
}

func FuzzOpen(f *testing.F) {
	seed, public := node(1)
	b, err := Seal(sample(), chainID, leaseID, public)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(b)
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, b []byte) {
		if s, err := Open(b, chainID, leaseID, seed); err == nil && s.Validate() != nil {
			t.Error("invalid secrets were opened")
		}
	})
}
