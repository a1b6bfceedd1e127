package manifest

import (
	"fmt"
	"os"
	"reflect"
	"regexp"
	"strings"
	"testing"

	"github.com/moyai-network/moyai/compute/egress"
)

// TestSpec holds docs/spec/manifest.md to the code: every field with its key, in
// order, and the bounds.
func TestSpec(t *testing.T) {
	b, err := os.ReadFile("../../docs/spec/manifest.md")
	if err != nil {
		t.Fatal(err)
	}
	spec := string(b)
	var want []string
	for _, v := range []any{Manifest{}, Var{}, Input{}, Image{}, Volume{}, Egress{}} {
		typ := reflect.TypeOf(v)
		place := 0
		for i := range typ.NumField() {
			f := typ.Field(i)
			if f.Name == "_" {
				continue
			}
			key, _, keyed := strings.Cut(f.Tag.Get("cbor"), ",keyasint")
			if !keyed {
				key = fmt.Sprint(place)
			}
			place++
			want = append(want, key+" "+f.Name)
		}
	}
	var got []string
	for _, m := range regexp.MustCompile("(?m)^\\| (\\d+) \\| `(\\w+)` \\| [^|]+ \\|").FindAllStringSubmatch(spec, -1) {
		got = append(got, m[1]+" "+m[2])
	}
	if strings.Join(got, ", ") != strings.Join(want, ", ") {
		t.Errorf("the spec lists\n%s\nthe code has\n%s", strings.Join(got, ", "), strings.Join(want, ", "))
	}
	for _, phrase := range []string{
		fmt.Sprintf("at most %d bytes. `spec hash", MaxBytes),
		fmt.Sprintf("| 1 to %d bytes: a lower-case", MaxRuntime),
		fmt.Sprintf("| CID, %d bytes, or empty | the program", CIDSize),
		fmt.Sprintf("| 0 to %d texts, each at most %d bytes |", MaxArgs, MaxArg),
		fmt.Sprintf("| 0 to %d `Var` |", MaxEnv),
		fmt.Sprintf("| 0 to %d `Input` |", MaxInputs),
		fmt.Sprintf("together are at most %d bytes", MaxArgsEnv),
		fmt.Sprintf("| 1 to %d bytes: letters", MaxEnvKey),
		fmt.Sprintf("| at most %d bytes |", MaxEnvValue),
		fmt.Sprintf("| 1 to %d bytes, printable", MaxInputName),
		fmt.Sprintf("| 0 to %d `Volume` |", MaxVolumes),
		fmt.Sprintf("| 0 to %d names |", MaxSecrets),
		fmt.Sprintf("| 1 to %d bytes of printable ASCII", MaxReference),
		fmt.Sprintf("| at most %d bytes: empty", MaxPlatform),
		fmt.Sprintf("at most %d bytes, not", MaxPath),
		fmt.Sprintf("| 0 to %d texts, each at most %d bytes, together at most %d |", egress.MaxRules, egress.MaxRule, MaxEgress),
	} {
		if !strings.Contains(spec, phrase) {
			t.Errorf("the spec lacks %q", phrase)
		}
	}
	if MaxContent != 1<<50 || MaxMemory != 1<<46 || MaxTimeoutMS != 31_622_400_000 {
		t.Error("a bound that the spec writes as a power or in days has changed")
	}
}
