package main

import (
	"strings"
	"testing"
)

func TestWaiting(t *testing.T) {
	var pipe strings.Builder
	p := waiting{w: &pipe}
	for n := uint64(0); n <= 8; n++ {
		p.far("alice loads", n<<20, 8<<20)
	}
	p.now("not for a pipe")
	p.done()
	if got, want := pipe.String(), "alice loads 2 MiB of 8 MiB\nalice loads 4 MiB of 8 MiB\nalice loads 6 MiB of 8 MiB\nalice loads 8 MiB of 8 MiB\n"; got != want {
		t.Errorf("in a pipe:\n%s", got)
	}
	var screen strings.Builder
	p = waiting{w: &screen, live: true}
	p.far("alice loads", 1<<20, 8<<20)
	p.far("alice loads", 2<<20, 8<<20) // at once: not drawn
	p.done()
	p.done()
	if got, want := screen.String(), clearLine+"alice loads 1 MiB of 8 MiB"+clearLine; got != want {
		t.Errorf("on a terminal: %q", got)
	}
	(&waiting{}).far("nobody looks", 1, 2)
}
