package archtest

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/fstest"
)

// TestTree holds the repository itself to the rules.
func TestTree(t *testing.T) {
	root := repoRoot(t)
	tree, err := Load(os.DirFS(root))
	if err != nil {
		t.Fatal(err)
	}
	if len(tree.Packages) < 5 {
		t.Fatalf("found only %d packages below %s: the scan is broken", len(tree.Packages), root)
	}
	for _, v := range Check(tree) {
		t.Error(v)
	}
}

func repoRoot(t *testing.T) string {
	t.Helper()
	dir, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	for {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			return dir
		}
		up := filepath.Dir(dir)
		if up == dir {
			t.Fatal("no go.mod above the test")
		}
		dir = up
	}
}

// TestRulesBite shows for every rule a tree that breaks it and one that does
// not: a rule that cannot fail guards nothing.
func TestRulesBite(t *testing.T) {
	const doc = "// Package x is here to be judged by the rules.\n"
	long := doc + "package x\n" + strings.Repeat("var _ = 0\n", maxLines+1)
	tests := []struct {
		name, file, src string
		want            string // part of the violation, "" for none
	}{
		{"clean", "mechanism/x/x.go", doc + "package x\nimport \"math/bits\"\nvar _ = bits.Len(3)\n", ""},
		{"up", "mechanism/x/x.go", doc + `package x; import _ "github.com/moyai-network/moyai/wire"`, "mechanism/x imports wire"},
		{"down", "wire/x.go", doc + `package x; import _ "github.com/moyai-network/moyai/mechanism/amount"`, ""},
		{"sibling good", "compute/x.go", doc + `package x; import _ "github.com/moyai-network/moyai/storage"`, "compute imports storage"},
		{"keeper", "chain/x/market/keeper/k.go", doc + `package keeper; import _ "github.com/moyai-network/moyai/chain/x/escrow/keeper"`, "never imports another module's keeper"},
		{"own keeper", "chain/x/market/m.go", doc + `package market; import _ "github.com/moyai-network/moyai/chain/x/market/keeper"`, ""},
		{"role to node", "provider/p.go", doc + `package provider; import _ "github.com/moyai-network/moyai/chain/app"`, "only through client"},
		{"role to sdk", "provider/p.go", doc + `package provider; import _ "github.com/cosmos/cosmos-sdk/x/bank/types"`, "release cycle"},
		{"role to coins", "provider/p.go", doc + `package provider; import _ "github.com/cosmos/cosmos-sdk/types"`, ""},
		{"client to node", "client/chain/c.go", doc + `package chain; import _ "github.com/moyai-network/moyai/chain/node"`, "drag in the node"},
		{"client's test to node", "client/chain/c_test.go", `package chain; import _ "github.com/moyai-network/moyai/chain/node"`, ""},
		{"sim", "sim/s.go", doc + `package sim; import _ "github.com/moyai-network/moyai/wire"`, "sim imports wire"},
		{"library imports binary", "devnet/d.go", doc + `package devnet; import _ "github.com/moyai-network/moyai/cmd/moyai"`, "a binary is not a library"},
		{"heavy worker", "cmd/moyai-worker/main.go", doc + `package main; import _ "github.com/moyai-network/moyai/client"`, "links next to nothing"},
		{"clock import", "mechanism/x/x.go", doc + `package x; import _ "time"`, "imports time"},
		{"float math", "mechanism/x/x.go", doc + "package x\nimport \"math\"\nvar x = math.Sqrt(2)\n", "math.Sqrt"},
		{"integer limit", "mechanism/x/x.go", doc + "package x\nimport \"math\"\nconst x = math.MaxUint64\n", ""},
		{"licence", "chain/app/a.go", doc + `package app; import _ "github.com/cosmos/cosmos-sdk/enterprise/group"`, "not free"},
		{"licence in test", "chain/app/a_test.go", `package app; import _ "github.com/cosmos/cosmos-sdk/contrib/x/crisis"`, "unmaintained"},
		{"float", "mechanism/x/x.go", doc + "package x\nvar f = float64(1)\n", "float64"},
		{"float literal", "chain/x/market/x.go", doc + "package market\nvar f = 0.5\n", "literal 0.5"},
		{"float in test", "mechanism/x/x_test.go", "package x\nvar f = 0.5\n", ""},
		{"goroutine", "mechanism/x/x.go", doc + "package x\nfunc f() { go f() }\n", "go statement"},
		{"channel", "mechanism/x/x.go", doc + "package x\ntype c chan int\n", "channel"},
		{"wall clock", "chain/x/market/x.go", doc + "package market\nimport \"time\"\nvar t = time.Now()\n", "time.Now"},
		{"map range", "mechanism/x/x.go", doc + "package x\nfunc f(m map[int]int) { for range m {} }\n", "range over a map"},
		{"map field", "chain/x/market/keeper/x.go", doc + "package keeper\ntype k struct{ seen map[int]int }\nfunc (k k) f() { for range k.seen {} }\n", "range over a map"},
		{"named map", "mechanism/x/x.go", doc + "package x\ntype set map[int]bool\nfunc f() { s := set{}; for range s {} }\n", "range over a map"},
		{"map keys", "mechanism/x/x.go", doc + "package x\nimport \"maps\"\nvar k = maps.Keys(map[int]int{})\n", "maps.Keys"},
		{"slice range", "mechanism/x/x.go", doc + "package x\nfunc f(s []int) { for range s {} }\n", ""},
		{"lookup", "mechanism/x/x.go", doc + "package x\nvar m = map[int]int{1: 2}\nvar v = m[1]\n", ""},
		{"no comment", "wire/x.go", "package x\n", "no package comment"},
		{"bad name", "internal/util/u.go", "// Package util is here to be judged by the rules.\npackage util\n", "package util"},
		{"types", "wire/types/t.go", "// Package types is here to be judged by the rules.\npackage types\n", "package types"},
		{"module types", "chain/x/market/types/t.go", "// Package types is here to be judged by the rules.\npackage types\n", ""},
		{"long file", "wire/x.go", long, "603 lines"},
		{"long generated", "api/x.pb.go", "// Code generated by x. DO NOT EDIT.\n\n" + long, ""},
		{"hand-written api", "api/x.go", doc + "package x\n", "hand-written"},
		{"off the map", "stuff/x.go", doc + "package x\n", "not on the map"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			tree, err := Load(fstest.MapFS{tt.file: {Data: []byte(tt.src)}})
			if err != nil {
				t.Fatal(err)
			}
			var got []string
			for _, v := range Check(tree) {
				got = append(got, v.String())
			}
			all := strings.Join(got, "\n")
			if tt.want == "" && all != "" {
				t.Errorf("want no violation, got:\n%s", all)
			}
			if tt.want != "" && !strings.Contains(all, tt.want) {
				t.Errorf("want a violation with %q, got:\n%s", tt.want, all)
			}
		})
	}
}

// TestEveryRuleHasAReason keeps the tables honest.
func TestEveryRuleHasAReason(t *testing.T) {
	for _, h := range houses {
		if len(strings.Fields(h.Why)) < 4 {
			t.Errorf("house %s has no reason", h.Dir)
		}
	}
	for _, b := range bans {
		if len(strings.Fields(b.Why)) < 4 {
			t.Errorf("ban on %v has no reason", b.Imports)
		}
	}
}
