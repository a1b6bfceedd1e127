package main

import (
	"fmt"
	"io"
	"os"

	"golang.org/x/term"

	"github.com/moyai-network/moyai/client"
)

// keyboard is a terminal in front of somebody, lent to a program elsewhere.
type keyboard struct{ fd int }

// keyboardOf reports whether input comes from a terminal.
func keyboardOf(in io.Reader) (keyboard, bool) {
	f, ok := in.(*os.File)
	if !ok || !term.IsTerminal(int(f.Fd())) {
		return keyboard{}, false
	}
	return keyboard{int(f.Fd())}, true
}

// take makes every key reach the program, and tells it the terminal's size and type,
// until back is called.
func (k keyboard) take(e *client.Exec) (back func(), err error) {
	e.Size = k.size()
	if t := os.Getenv("TERM"); t != "" {
		e.Env = append([]string{"TERM=" + t}, e.Env...)
	}
	before, err := term.MakeRaw(k.fd)
	if err != nil {
		return nil, fmt.Errorf("terminal: %w", err)
	}
	sizes, stop := k.watch()
	e.Resize = sizes
	return func() {
		stop()
		_ = term.Restore(k.fd, before)
	}, nil
}

// size is zero where it cannot be told.
func (k keyboard) size() client.TerminalSize {
	columns, rows, err := term.GetSize(k.fd)
	if err != nil {
		return client.TerminalSize{}
	}
	const most = 1 << 15
	return client.TerminalSize{Columns: uint16(min(columns, most)), Rows: uint16(min(rows, most))}
}
