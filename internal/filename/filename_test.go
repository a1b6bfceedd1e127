package filename_test

import (
	"testing"

	"github.com/moyai-network/moyai/internal/filename"
)

func TestWindows(t *testing.T) {
	for _, name := range []string{"a", "a.txt", ".hidden", "a b", "..a", "console", "COM", "com10", "LPTX", "größe", "a..b", "nulla"} {
		if !filename.Windows(name) {
			t.Errorf("%q is refused", name)
		}
	}
	for _, name := range []string{
		"", ".", "..", "a.", "a ", ".. ", `..\..\final.json`, `a\b`, "a/b", "C:", "a:stream", "a*", "a?", `a"`, "a<b", "a>b", "a|b", "a\x01b", "a\x00",
		"con", "CON", "nul.txt", "NUL .txt", "aux", "prn", "com1", "COM¹", "lpt9.log", "conin$",
	} {
		if filename.Windows(name) {
			t.Errorf("%q is let through", name)
		}
	}
}
