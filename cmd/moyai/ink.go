package main

import (
	"bytes"
	"io"
	"os"
	"strings"
)

// ink is a colour of a terminal. Colour only repeats what a word says.
type ink string

const (
	plain ink = ""
	green ink = "32"
	amber ink = "33"
	red   ink = "31"
)

// markedTable is a table whose first column is a word in colour, if w is a
// terminal that wants colours (https://no-color.org).
type markedTable struct {
	*table
	out    io.Writer
	text   *bytes.Buffer
	colour bool
	inks   []ink // by line
}

func newMarkedTable(w io.Writer, header ...string) *markedTable {
	text := new(bytes.Buffer)
	return &markedTable{
		table: newTable(text, header...), out: w, text: text,
		colour: terminal(w) && os.Getenv("NO_COLOR") == "", inks: []ink{plain},
	}
}

func (t *markedTable) mark(i ink, cells ...string) {
	t.inks = append(t.inks, i)
	t.row(cells...)
}

// flush colours once columns are aligned: escapes have no width, and the writer
// that aligns does not know.
func (t *markedTable) flush() error {
	if err := t.table.flush(); err != nil {
		return err
	}
	for n, line := range strings.Split(strings.TrimSuffix(t.text.String(), "\n"), "\n") {
		line = strings.TrimRight(line, " ") + "\n"
		if t.colour && n < len(t.inks) && t.inks[n] != plain {
			word, rest, _ := strings.Cut(line, " ")
			line = "\x1b[" + string(t.inks[n]) + "m" + word + "\x1b[0m " + rest
		}
		if _, err := io.WriteString(t.out, line); err != nil {
			return err
		}
	}
	return nil
}
