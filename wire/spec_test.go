package wire

import (
	"fmt"
	"os"
	"reflect"
	"regexp"
	"strings"
	"testing"

	"github.com/moyai-network/moyai/mechanism/lease"
)

// These tests hold docs/spec/lease.md to the code: what a client author reads
// there is what this package does.

const specPath = "../docs/spec/lease.md"

func readSpec(t *testing.T) string {
	t.Helper()
	b, err := os.ReadFile(specPath)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// section returns the text under a heading, up to the next heading.
func section(t *testing.T, spec, heading string) string {
	t.Helper()
	_, rest, ok := strings.Cut(spec, "\n"+heading+"\n")
	if !ok {
		t.Fatalf("%s has no section %q", specPath, heading)
	}
	if i := strings.Index(rest, "\n#"); i >= 0 {
		rest = rest[:i]
	}
	return rest
}

// TestSpecHasEveryField wants one row per field, with its key, in order, and no
// row beyond.
func TestSpecHasEveryField(t *testing.T) {
	spec := readSpec(t)
	row := regexp.MustCompile("(?m)^\\| (\\d+) \\| `(\\w+)` \\| [^|]+ \\|")
	for _, v := range []any{
		Order{}, Quantity{}, Constraint{}, Terms{}, Verify{}, Bid{}, Ready{}, Receipt{},
		Claim{}, Contest{}, Away{}, Access{}, NodeRecord{}, RelayReceipt{},
	} {
		typ := reflect.TypeOf(v)
		var want []string
		for i := range typ.NumField() {
			f := typ.Field(i)
			if f.Name == "_" {
				continue
			}
			key, _, keyed := strings.Cut(f.Tag.Get("cbor"), ",keyasint")
			if !keyed {
				key = fmt.Sprint(len(want)) // a place in an array
			}
			want = append(want, key+" "+f.Name)
		}
		var got []string
		for _, m := range row.FindAllStringSubmatch(section(t, spec, "### "+typ.Name()), -1) {
			got = append(got, m[1]+" "+m[2])
		}
		if strings.Join(got, ", ") != strings.Join(want, ", ") {
			t.Errorf("%s: the spec lists\n%s\nthe code has\n%s", typ.Name(), strings.Join(got, ", "), strings.Join(want, ", "))
		}
	}
}

func TestSpecHasEveryBound(t *testing.T) {
	objects := section(t, readSpec(t), "## Objects")
	for name, value := range map[string]uint64{
		"MaxChainID": MaxChainID, "MaxIdentifier": MaxIdentifier, "MaxDenom": MaxDenom, "MaxValue": MaxValue,
		"MaxRegion": MaxRegion, "MaxPeer": MaxPeer, "MaxAddress": MaxAddress, "MaxQuantities": MaxQuantities,
		"MaxConstraints": MaxConstraints, "MaxAddresses": MaxAddresses, "MaxCopies": MaxCopies, "NonceSize": NonceSize,
		"DigestSize": DigestSize, "KeySize": KeySize, "LeaseIDSize": LeaseIDSize, "MaxMS": MaxMS, "MaxCarried": MaxCarried,
	} {
		if want := fmt.Sprintf("| `%s` | %d |", name, value); !strings.Contains(objects, want) {
			t.Errorf("the spec lacks %q", want)
		}
	}
}

func TestSpecHasEveryKind(t *testing.T) {
	kinds := section(t, readSpec(t), "### Kinds")
	for _, k := range Kinds() {
		want := fmt.Sprintf("| `%s` | %d | %d | %d |", k, k.MaxBody(), k.MaxSigned(), k.MaxSignatures())
		if !strings.Contains(kinds, want) {
			t.Errorf("the spec lacks %q", want)
		}
	}
	if n := strings.Count(kinds, "\n| `"); n != len(Kinds()) {
		t.Errorf("the spec lists %d kinds, the code has %d", n, len(Kinds()))
	}
}

func TestSpecHasEveryReasonAndState(t *testing.T) {
	spec := readSpec(t)
	receipts := section(t, spec, "### Receipt")
	n := lease.ReasonNone + 1
	for ; n.Valid(); n++ {
		if want := fmt.Sprintf("| %d | %s |", n, n); !strings.Contains(receipts, want) {
			t.Errorf("the spec lacks reason %q", want)
		}
	}
	if extra := fmt.Sprintf("| %d | ", n); strings.Contains(strings.SplitN(receipts, "| reason |", 2)[1], extra) {
		t.Errorf("the spec has a reason %d, the code has not", n)
	}
	states := section(t, spec, "## States and steps")
	for _, s := range []lease.State{lease.StateOpen, lease.StateSettling, lease.StateClosed, lease.StateStandby} {
		if want := fmt.Sprintf("| %d | %s |", s, s); !strings.Contains(states, want) {
			t.Errorf("the spec lacks state %q", want)
		}
	}
}

// TestSpecHasEveryRefusal compares the table of refusals with the sentinels that
// the code exports, and their codes with the chain's registry. The sources are
// read as text: this package must not import the chain.
func TestSpecHasEveryRefusal(t *testing.T) {
	refusals := section(t, readSpec(t), "## Refusals")
	codes := chainCodes(t)
	exported := map[string]bool{}
	for prefix, files := range map[string][]string{
		"wire":  {"wire.go"},
		"lease": {"../mechanism/lease/check.go", "../mechanism/lease/step.go", "../mechanism/lease/params.go"},
	} {
		for _, file := range files {
			for _, m := range regexp.MustCompile(`(?m)^(?:\t|var )(Err\w+) += `).FindAllStringSubmatch(readFile(t, file), -1) {
				exported[prefix+"."+m[1]] = true
			}
		}
	}
	delete(exported, "lease.ErrParams") // of governance, not of a lease
	for name := range exported {
		if want := fmt.Sprintf("| `%s` | %s |", name, codes[name]); !strings.Contains(refusals, want) {
			t.Errorf("the spec lacks %q", want)
		}
	}
	for _, m := range regexp.MustCompile("(?m)^\\| `(\\S+)` \\|").FindAllStringSubmatch(refusals, -1) {
		if !exported[m[1]] {
			t.Errorf("the spec has refusal %s, the code has not", m[1])
		}
	}
	if len(exported) < 40 {
		t.Errorf("found only %d sentinels: has the code moved?", len(exported))
	}
}

// chainCodes maps our sentinels to the codes that the market module registers.
func chainCodes(t *testing.T) map[string]string {
	t.Helper()
	source := readFile(t, "../chain/x/market/types/errors.go")
	registered := map[string]string{}
	for _, m := range regexp.MustCompile(`(Err\w+)\s+= errorsmod\.Register\(ModuleName, (\d+),`).FindAllStringSubmatch(source, -1) {
		registered[m[1]] = m[2]
	}
	codes := map[string]string{}
	for _, m := range regexp.MustCompile(`\{((?:wire|lease)\.Err\w+), (Err\w+)\}`).FindAllStringSubmatch(source, -1) {
		codes[m[1]] = registered[m[2]]
	}
	if len(codes) == 0 {
		t.Fatal("no codes found in the market module: has its table moved?")
	}
	return codes
}

func readFile(t *testing.T, path string) string {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func TestSpecHasTheWorkedExample(t *testing.T) {
	example := section(t, readSpec(t), "## Worked example")
	for _, r := range workedExample {
		want := fmt.Sprintf("| %s | %d | %d | %d | %d | %d | %d | %s |",
			r.name, r.gross, r.provider, r.burned, r.pool, r.contester, r.refunded, r.bountyTo)
		if !strings.Contains(example, want) {
			t.Errorf("the spec lacks %q", want)
		}
	}
	if n := strings.Count(example, "\n| ") - 1; n != len(workedExample) { // less the heading
		t.Errorf("the spec has %d rows, the test %d", n, len(workedExample))
	}
}
