package main

import (
	"fmt"
	"io"
	"time"
)

// waiting shows how far something long is: on a terminal in a line that is written
// over, in a pipe in a line per quarter. The zero value says nothing.
type waiting struct {
	w     io.Writer
	live  bool // w is a terminal, and nothing else draws on it
	shown bool // the line is there
	last  time.Time
	told  map[string]uint64 // quarters, by what is waited for
}

const (
	clearLine   = "\r\x1b[K"
	redrawEvery = 100 * time.Millisecond
)

// far tells that bytes of total are there.
func (p *waiting) far(what string, bytes, total uint64) {
	text := fmt.Sprintf("%s %s of %s", what, formatBytes(bytes), formatBytes(total))
	switch {
	case p.w == nil || total == 0:
	case p.live:
		if now := time.Now(); now.Sub(p.last) >= redrawEvery || bytes >= total {
			p.last = now
			p.now(text)
		}
	default:
		quarter := 4 * min(bytes, total) / total
		if before, begun := p.told[what]; begun && quarter <= before || quarter == 0 {
			return
		}
		if p.told == nil {
			p.told = map[string]uint64{}
		}
		p.told[what] = quarter
		fmt.Fprintln(p.w, text)
	}
}

// now shows a text while it is true; only a terminal can take it back.
func (p *waiting) now(text string) {
	if p.live {
		fmt.Fprint(p.w, clearLine+text)
		p.shown = true
	}
}

// done takes the line away, before anything else is written.
func (p *waiting) done() {
	if p.shown {
		fmt.Fprint(p.w, clearLine)
		p.shown = false
	}
}
