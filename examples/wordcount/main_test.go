package main

import (
	"maps"
	"strings"
	"testing"
)

func TestCount(t *testing.T) {
	for text, want := range map[string]map[string]int{
		"":                        {},
		"One one, ONE!":           {"one": 3},
		"naïve Straße 42x":        {"naïve": 1, "straße": 1, "42x": 1},
		"a\xffb":                  {"a": 1, "b": 1},
		strings.Repeat("y", 1000): {strings.Repeat("y", 61): 1},
		"no line's end":           {"no": 1, "line": 1, "s": 1, "end": 1},
	} {
		c := tally{words: map[string]int{}}
		n, err := c.count(strings.NewReader(text))
		if err != nil || n != int64(len(text)) || !maps.Equal(c.words, want) {
			t.Errorf("%.40q: %v, %d bytes, %v", text, c.words, n, err)
		}
	}
}
