//go:build unix && !darwin

package idle

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"os"
	"strings"
	"sync"

	"github.com/jezek/xgb"
	"github.com/jezek/xgb/xproto"
)

// ErrNoScreen: there is no screen that could be looked at.
var ErrNoScreen = errors.New("no screen to look at: start the provider with DISPLAY and XAUTHORITY of your session")

// FullScreen names the window that fills an X screen (Xwayland's too): what the
// Extended Window Manager Hints say of the active window. A connection is made
// for each look, because a server that ends must not take the provider along.
func FullScreen(context.Context) (string, error) {
	if os.Getenv("DISPLAY") == "" {
		return "", ErrNoScreen
	}
	quiet()
	conn, err := xgb.NewConn()
	if err != nil {
		return "", fmt.Errorf("%w (%w)", ErrNoScreen, err)
	}
	defer conn.Close()
	return fullScreen(x{conn})
}

// quiet keeps the library from writing to standard error each time.
var quiet = sync.OnceFunc(func() { xgb.Logger = log.New(io.Discard, "", 0) })

// x asks a server; every answer is bounded.
type x struct{ conn *xgb.Conn }

const maxProperty = 1024 // 32-bit units

func (c x) atom(name string) (xproto.Atom, error) {
	r, err := xproto.InternAtom(c.conn, true, uint16(len(name)), name).Reply()
	if err != nil {
		return 0, err
	}
	return r.Atom, nil // 0: nobody has ever used it
}

func (c x) property(w xproto.Window, name string) (*xproto.GetPropertyReply, error) {
	atom, err := c.atom(name)
	if err != nil || atom == 0 {
		return nil, err
	}
	return xproto.GetProperty(c.conn, false, w, atom, xproto.GetPropertyTypeAny, 0, maxProperty).Reply()
}

// numbers are a property's 32-bit values.
func (c x) numbers(w xproto.Window, name string) ([]uint32, error) {
	p, err := c.property(w, name)
	if err != nil || p == nil || p.Format != 32 {
		return nil, err
	}
	var out []uint32
	for b := p.Value; len(b) >= 4; b = b[4:] {
		out = append(out, xgb.Get32(b))
	}
	return out, nil
}

func fullScreen(c x) (string, error) {
	root := xproto.Setup(c.conn).DefaultScreen(c.conn).Root
	active, err := c.numbers(root, "_NET_ACTIVE_WINDOW")
	if err != nil || len(active) == 0 || active[0] == 0 {
		return "", err
	}
	window := xproto.Window(active[0])
	states, err := c.numbers(window, "_NET_WM_STATE")
	if err != nil {
		return "", nil //nolint:nilerr // it was closed meanwhile
	}
	full, err := c.atom("_NET_WM_STATE_FULLSCREEN")
	if err != nil || full == 0 {
		return "", err
	}
	for _, s := range states {
		if xproto.Atom(s) == full {
			return c.name(window), nil
		}
	}
	return "", nil
}

// maxName bounds a window's name: it is whatever a program says.
const maxName = 64

// name is the class of a window's program, the one word that says little about
// what its owner does with it.
func (c x) name(w xproto.Window) string {
	p, err := c.property(w, "WM_CLASS")
	if err != nil || p == nil {
		return "a program"
	}
	words := strings.Split(strings.Trim(string(p.Value), "\x00"), "\x00")
	name := strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f || r == '�' {
			return -1
		}
		return r
	}, words[len(words)-1])
	if name == "" {
		return "a program"
	}
	return name[:min(len(name), maxName)]
}
