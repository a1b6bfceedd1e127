package measure

import (
	"encoding/json"
	"maps"
	"math"
	"os"
	"path/filepath"
	"testing"
)

func TestQuantiles(t *testing.T) {
	twenty := make(Samples, 20)
	for i := range twenty {
		twenty[i] = float64(20 - i) // unsorted on purpose
	}
	for _, c := range []struct {
		name        string
		s           Samples
		median, p95 float64
	}{
		{"one", Samples{3}, 3, 3},
		{"two", Samples{4, 2}, 3, 4},
		{"odd", Samples{9, 1, 5}, 5, 9},
		{"twenty", twenty, 10.5, 19},
	} {
		if got := c.s.Median(); got != c.median {
			t.Errorf("%s: median %v, want %v", c.name, got, c.median)
		}
		if got := c.s.P95(); got != c.p95 {
			t.Errorf("%s: p95 %v, want %v", c.name, got, c.p95)
		}
	}
	if !math.IsNaN(Samples(nil).Median()) {
		t.Error("the median of nothing is a number")
	}
	if twenty[0] != 20 {
		t.Error("the samples were reordered")
	}
}

func TestReportKeepsFourDigits(t *testing.T) {
	for in, want := range map[float64]float64{0: 0, 1.04567: 1.046, 0.0123456: 0.01235, 2345.6: 2346, 99.999: 100} {
		var r Report
		r.Set("x", in, "u", 1)
		if e, _ := r.Get("x"); e.Value != want {
			t.Errorf("%v was kept as %v, want %v", in, e.Value, want)
		}
	}
}

func TestReportFiles(t *testing.T) {
	path := filepath.Join(t.TempDir(), "out.json")
	var first, second Report
	first.Set("a", 1, "ms", 20)
	first.Set("b", 2, "ms", 20)
	first.Set("nothing", math.NaN(), "ms", 0)
	if err := first.WriteFile(path); err != nil {
		t.Fatal(err)
	}
	second.Set("b", 3, "ms", 30)
	if err := second.UpdateFile(path); err != nil {
		t.Fatal(err)
	}
	if _, ok := second.Get("a"); ok {
		t.Error("the earlier run's figure passes for this one's")
	}
	if got, want := read(t, path), (map[string]Entry{"a": {1, "ms", 20}, "b": {3, "ms", 30}}); !maps.Equal(got, want) {
		t.Errorf("file holds %v, want %v", got, want)
	}
	if err := second.WriteFile(path); err != nil {
		t.Fatal(err)
	}
	if got := read(t, path); len(got) != 1 {
		t.Errorf("file holds %v, want b alone", got)
	}
	if err := os.WriteFile(path, []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := second.UpdateFile(path); err == nil {
		t.Error("a broken file was accepted")
	}
	if err := second.UpdateFile(path + ".none"); err != nil {
		t.Errorf("no earlier run: %v", err)
	}
}

func read(t *testing.T, path string) (m map[string]Entry) {
	t.Helper()
	raw, err := os.ReadFile(path)
	if err == nil {
		err = json.Unmarshal(raw, &m)
	}
	if err != nil {
		t.Fatal(err)
	}
	return m
}
