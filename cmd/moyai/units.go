package main

import (
	"errors"
	"fmt"
	"math/bits"
	"strconv"
	"strings"
	"time"
)

// byteUnits are what sizes may end in. Binary and decimal ones are both in use
// and differ by 7% at giga, so a bare "G" follows the SI.
var byteUnits = []struct {
	suffix string
	factor uint64
}{
	{"Ki", 1 << 10}, {"Mi", 1 << 20}, {"Gi", 1 << 30}, {"Ti", 1 << 40},
	{"k", 1e3}, {"K", 1e3}, {"M", 1e6}, {"G", 1e9}, {"T", 1e12},
}

// bytesValue is a flag that holds a size such as 512Mi.
type bytesValue uint64

// String implements pflag.Value.
func (v *bytesValue) String() string { return formatBytes(uint64(*v)) }

// Type implements pflag.Value.
func (v *bytesValue) Type() string { return "size" }

// Set implements pflag.Value.
func (v *bytesValue) Set(s string) error {
	n, err := parseBytes(s)
	*v = bytesValue(n)
	return err
}

func parseBytes(s string) (uint64, error) {
	number, factor := strings.TrimSuffix(strings.TrimSpace(s), "B"), uint64(1)
	for _, u := range byteUnits {
		if rest, ok := strings.CutSuffix(number, u.suffix); ok {
			number, factor = rest, u.factor
			break
		}
	}
	n, err := decimal(number, factor)
	if err != nil {
		return 0, fmt.Errorf("size %q: %w; write it like 512Mi, 2Gi or 200M", s, err)
	}
	return n, nil
}

func formatBytes(n uint64) string {
	const units = "KMGT"
	if n < 1<<10 {
		return strconv.FormatUint(n, 10) + " B"
	}
	i, unit := 0, uint64(1<<10)
	for i < len(units)-1 && n >= unit<<10 {
		i, unit = i+1, unit<<10
	}
	tenths := (n/unit)*10 + (n%unit)*10/unit
	if tenths%10 == 0 {
		return fmt.Sprintf("%d %ciB", tenths/10, units[i])
	}
	return fmt.Sprintf("%d.%d %ciB", tenths/10, tenths%10, units[i])
}

// cpuValue is a flag that holds cores in thousandths: "1", "0.5" or "500m".
type cpuValue uint64

// String implements pflag.Value.
func (v *cpuValue) String() string { return formatCPU(uint64(*v)) }

// Type implements pflag.Value.
func (v *cpuValue) Type() string { return "cores" }

// Set implements pflag.Value.
func (v *cpuValue) Set(s string) error {
	n, err := parseCPU(s)
	*v = cpuValue(n)
	return err
}

func parseCPU(s string) (uint64, error) {
	number, factor := strings.TrimSpace(s), uint64(1000)
	if rest, ok := strings.CutSuffix(number, "m"); ok {
		number, factor = rest, 1
	}
	n, err := decimal(number, factor)
	if err == nil && n == 0 {
		err = errors.New("no work runs on nothing")
	}
	if err != nil {
		return 0, fmt.Errorf("cores %q: %w; write them like 1, 0.5 or 500m", s, err)
	}
	return n, nil
}

func formatCPU(milli uint64) string {
	if milli%1000 == 0 {
		return strconv.FormatUint(milli/1000, 10)
	}
	return strings.TrimRight(fmt.Sprintf("%d.%03d", milli/1000, milli%1000), "0")
}

// decimal is number × factor, exactly: a fraction of one unit is refused.
func decimal(number string, factor uint64) (uint64, error) {
	whole, fraction, point := strings.Cut(number, ".")
	if whole == "" || (point && fraction == "") || len(fraction) > 12 {
		return 0, errors.New("not a number")
	}
	n, err := strconv.ParseUint(whole+fraction, 10, 64)
	if err != nil {
		return 0, errors.New("not a number")
	}
	scale := uint64(1)
	for range fraction {
		scale *= 10
	}
	hi, lo := bits.Mul64(n, factor)
	if hi >= scale {
		return 0, errors.New("too large")
	}
	q, rest := bits.Div64(hi, lo, scale)
	if rest != 0 {
		return 0, errors.New("finer than the smallest unit")
	}
	return q, nil
}

// formatMS shows a counter of milliseconds as people say it.
func formatMS(ms uint64) string {
	d := time.Duration(ms) * time.Millisecond
	switch {
	case d < time.Second:
		return fmt.Sprintf("%d ms", ms)
	case d < time.Minute:
		return fmt.Sprintf("%d.%d s", ms/1000, ms%1000/100)
	default:
		return d.Round(time.Second).String()
	}
}
