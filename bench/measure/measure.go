// Package measure keeps what a benchmark found: samples, their median and 95th
// percentile, and the report that is printed and written. It measures nothing
// itself and draws no conclusions.
package measure

import (
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"math"
	"os"
	"slices"
	"sync"
	"text/tabwriter"
	"time"
)

// Samples are repeated measurements of one thing, in one unit.
type Samples []float64

// Median is the middle value, NaN without samples.
func (s Samples) Median() float64 { return s.quantile(50) }

// P95 is the smallest value that 95 % of the samples do not exceed.
func (s Samples) P95() float64 { return s.quantile(95) }

// quantile is the nearest-rank percentile; the median of an even number is the
// mean of the two in the middle.
func (s Samples) quantile(percent int) float64 {
	n := len(s)
	if n == 0 {
		return math.NaN()
	}
	sorted := slices.Sorted(slices.Values(s))
	if percent == 50 && n%2 == 0 {
		return (sorted[n/2-1] + sorted[n/2]) / 2
	}
	rank := (n*percent + 99) / 100
	return sorted[max(rank, 1)-1]
}

// Milliseconds turns a duration into a sample.
func Milliseconds(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }

// Entry is one figure of the report. N is how many measurements it rests on.
type Entry struct {
	Value float64 `json:"value"`
	Unit  string  `json:"unit"`
	N     int     `json:"n"`
}

// Report maps names to figures, in the order in which they were found. It may
// be used by many goroutines.
type Report struct {
	mu      sync.Mutex
	names   []string
	entries map[string]Entry
}

// Set records a figure; a name that is set again keeps its place. NaN, which is
// what nothing measured amounts to, is not recorded.
func (r *Report) Set(name string, value float64, unit string, n int) {
	if math.IsNaN(value) || math.IsInf(value, 0) {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.entries == nil {
		r.entries = map[string]Entry{}
	}
	if _, known := r.entries[name]; !known {
		r.names = append(r.names, name)
	}
	r.entries[name] = Entry{Value: round(value), Unit: unit, N: n}
}

// SetSpread records the median of samples as name and their p95 as name_p95.
func (r *Report) SetSpread(name, unit string, s Samples) {
	r.Set(name, s.Median(), unit, len(s))
	r.Set(name+"_p95", s.P95(), unit, len(s))
}

// Get returns a figure.
func (r *Report) Get(name string) (Entry, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	e, ok := r.entries[name]
	return e, ok
}

// Missing lists those of names that were not recorded.
func (r *Report) Missing(names []string) []string {
	return slices.DeleteFunc(slices.Clone(names), func(n string) bool { _, ok := r.Get(n); return ok })
}

// Print writes the report as a table.
func (r *Report) Print(w io.Writer) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(t, "figure\tvalue\tunit\tn\t")
	for _, name := range r.names {
		e := r.entries[name]
		fmt.Fprintf(t, "%s\t%v\t%s\t%d\t\n", name, e.Value, e.Unit, e.N)
	}
	return t.Flush()
}

// WriteFile stores the figures as JSON and nothing else.
func (r *Report) WriteFile(path string) error { return r.write(path, nil) }

// UpdateFile stores the figures and leaves the others of the file as an earlier
// run found them. A missing file is no error.
func (r *Report) UpdateFile(path string) error {
	raw, err := os.ReadFile(path)
	if os.IsNotExist(err) {
		return r.write(path, nil)
	}
	if err != nil {
		return err
	}
	var old map[string]Entry
	if err := json.Unmarshal(raw, &old); err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	return r.write(path, old)
}

// write takes over those of old that r lacks.
func (r *Report) write(path string, old map[string]Entry) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	all := make(map[string]Entry, len(old)+len(r.entries))
	maps.Copy(all, old)
	maps.Copy(all, r.entries)
	raw, err := json.MarshalIndent(all, "", "  ")
	if err != nil {
		return err
	}
	return os.WriteFile(path, append(raw, '\n'), 0o644)
}

// round keeps four significant digits, or whole numbers above that: the rest
// is noise and makes two runs hard to compare by eye.
func round(v float64) float64 {
	if v == 0 || math.Abs(v) >= 1000 {
		return math.Round(v)
	}
	scale := math.Pow(10, 3-math.Floor(math.Log10(math.Abs(v))))
	return math.Round(v*scale) / scale
}
