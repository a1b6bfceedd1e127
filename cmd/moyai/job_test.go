package main

import (
	"reflect"
	"testing"

	"github.com/moyai-network/moyai/client"
)

func TestParseArray(t *testing.T) {
	for _, tt := range []struct {
		text     string
		parallel int
		want     *client.Array
		err      string
	}{
		{"", 4, nil, ""},
		{"0-99", 8, &client.Array{First: 0, Last: 99, Parallel: 8}, ""},
		{"7-7", 1, &client.Array{First: 7, Last: 7, Parallel: 1}, ""},
		{"5", 1, nil, "0-99"},
		{"9-3", 1, nil, "0-99"},
		{"-1-3", 1, nil, "0-99"},
		{"0-18446744073709551615", 1, nil, "at most"},
		{"0-9", 0, nil, "at least one"},
	} {
		got, err := parseArray(tt.text, tt.parallel)
		if !matches(err, tt.err) || !reflect.DeepEqual(got, tt.want) {
			t.Errorf("%q: got %+v, %v; want %+v, %q", tt.text, got, err, tt.want, tt.err)
		}
	}
}

func TestParseConstraints(t *testing.T) {
	got, err := parseConstraints([]string{"region=eu", "cpu.cores>=8", "gpu.model!=none", "load<=3"})
	want := []client.Constraint{{Attribute: "region", Op: "=", Value: "eu"}, {Attribute: "cpu.cores", Op: ">=", Value: "8"},
		{Attribute: "gpu.model", Op: "!=", Value: "none"}, {Attribute: "load", Op: "<=", Value: "3"}}
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v, %v", got, err)
	}
	for _, bad := range []string{"region", "=eu", "region="} {
		if _, err := parseConstraints([]string{bad}); !matches(err, "region=eu") {
			t.Errorf("%q: %v, want advice", bad, err)
		}
	}
}

func TestParsePairs(t *testing.T) {
	in, err := parseInputs([]string{"in=./data", "x=a=b"})
	if want := []client.Input{{Name: "in", Path: "./data"}, {Name: "x", Path: "a=b"}}; err != nil || !reflect.DeepEqual(in, want) {
		t.Errorf("got %+v, %v", in, err)
	}
	if _, err := parseInputs([]string{"./data"}); !matches(err, "in=./data") {
		t.Errorf("got %v, want advice", err)
	}
	env, err := parseEnv([]string{"A=1", "B="})
	if want := map[string]string{"A": "1", "B": ""}; err != nil || !reflect.DeepEqual(env, want) {
		t.Errorf("got %+v, %v", env, err)
	}
	if _, err := parseEnv([]string{"A"}); !matches(err, "KEY=VALUE") {
		t.Errorf("got %v, want advice", err)
	}
}
