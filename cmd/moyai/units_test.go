package main

import (
	"strings"
	"testing"
)

func TestParseBytes(t *testing.T) {
	tests := []struct {
		in   string
		want uint64
		err  string
	}{
		{"512Mi", 512 << 20, ""},
		{"1Gi", 1 << 30, ""},
		{"1GiB", 1 << 30, ""},
		{"1.5Gi", 3 << 29, ""},
		{"200M", 200_000_000, ""},
		{"0", 0, ""},
		{"4096", 4096, ""},
		{"16777215Ti", 16777215 << 40, ""},
		{"16777216Ti", 0, "too large"},
		{"", 0, "not a number"},
		{"lots", 0, "512Mi"},
		{"-1", 0, "not a number"},
		{"0.3", 0, "finer than"},
		{".5Gi", 0, "not a number"},
		{"5.Gi", 0, "not a number"},
	}
	for _, tt := range tests {
		got, err := parseBytes(tt.in)
		if !matches(err, tt.err) || got != tt.want {
			t.Errorf("parseBytes(%q) = %d, %v; want %d, error with %q", tt.in, got, err, tt.want, tt.err)
		}
	}
}

func TestParseCPU(t *testing.T) {
	tests := []struct {
		in   string
		want uint64
		err  string
	}{
		{"1", 1000, ""}, {"0.5", 500, ""}, {"500m", 500, ""}, {"2.25", 2250, ""},
		{"0", 0, "no work"}, {"0m", 0, "no work"}, {"0.0001", 0, "finer"}, {"x", 0, "500m"},
	}
	for _, tt := range tests {
		got, err := parseCPU(tt.in)
		if !matches(err, tt.err) || got != tt.want {
			t.Errorf("parseCPU(%q) = %d, %v; want %d, error with %q", tt.in, got, err, tt.want, tt.err)
		}
	}
}

func TestFormat(t *testing.T) {
	for _, tt := range []struct{ got, want string }{
		{formatBytes(0), "0 B"}, {formatBytes(1023), "1023 B"}, {formatBytes(1024), "1 KiB"},
		{formatBytes(512 << 20), "512 MiB"}, {formatBytes(3 << 29), "1.5 GiB"}, {formatBytes(5 << 50), "5120 TiB"},
		{formatCPU(1000), "1"}, {formatCPU(500), "0.5"}, {formatCPU(2250), "2.25"},
		{formatMS(999), "999 ms"}, {formatMS(1500), "1.5 s"}, {formatMS(90_400), "1m30s"},
	} {
		if tt.got != tt.want {
			t.Errorf("got %q, want %q", tt.got, tt.want)
		}
	}
}

// matches reports whether err is what want says: nil for "", else containing it.
func matches(err error, want string) bool {
	if err == nil || want == "" {
		return err == nil && want == ""
	}
	return strings.Contains(err.Error(), want)
}
