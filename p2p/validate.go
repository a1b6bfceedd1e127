package p2p

import (
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"
)

// size checks the length of an opaque field.
func size(name string, b []byte, low, high int) error {
	if len(b) < low || len(b) > high {
		return fmt.Errorf("%s has %d bytes, want %d to %d", name, len(b), low, high)
	}
	return nil
}

// text checks a string that may end up on somebody's terminal: bounded, and no
// control characters, with which a stranger could repaint the screen.
func text(name, s string, high int) error {
	if len(s) > high {
		return fmt.Errorf("%s has %d bytes, at most %d", name, len(s), high)
	}
	for _, r := range s {
		if unicode.IsControl(r) || unicode.Is(unicode.Cf, r) {
			return fmt.Errorf("%s contains the control character %U", name, r)
		}
	}
	return nil
}

func addresses(addrs []string) error {
	if len(addrs) > MaxAddrs {
		return fmt.Errorf("%d addresses, at most %d", len(addrs), MaxAddrs)
	}
	for _, a := range addrs {
		if err := text("address", a, 256); err != nil {
			return err
		}
	}
	return nil
}

func firstError(errs ...error) error {
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

// lines is text that may span lines.
func lines(name, s string, high int) error {
	return text(name, strings.NewReplacer("\n", "", "\t", "").Replace(s), high)
}

// Printable makes s fit for a text field of a message: what Validate would refuse
// becomes a space, and the end is cut at max bytes (on a rune boundary). Newlines
// and tabs are kept where keepLines is set.
func Printable(s string, max int, keepLines bool) string {
	s = strings.Map(func(r rune) rune {
		switch {
		case keepLines && (r == '\n' || r == '\t'):
			return r
		case unicode.IsControl(r) || unicode.Is(unicode.Cf, r):
			return ' '
		}
		return r
	}, strings.ToValidUTF8(s, "?"))
	if len(s) > max {
		s = s[:max]
		for !utf8.ValidString(s) {
			s = s[:len(s)-1]
		}
	}
	return s
}
