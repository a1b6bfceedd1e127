//go:build linux

package idle

import (
	"bufio"
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/jezek/xgb"
	"github.com/jezek/xgb/xproto"
)

// TestFullScreen looks at a real X server on which a window says, as window
// managers have it, that it fills the screen.
func TestFullScreen(t *testing.T) {
	if _, err := exec.LookPath("Xvfb"); err != nil {
		t.Skip("no X server to look at: apt-get install xvfb")
	}
	t.Setenv("DISPLAY", server(t))
	t.Setenv("XAUTHORITY", os.DevNull)
	expect := func(want string) {
		t.Helper()
		if got, err := FullScreen(t.Context()); err != nil || got != want {
			t.Errorf("%q, %v; want %q", got, err, want)
		}
	}
	expect("")
	conn, err := xgb.NewConn()
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	screen := xproto.Setup(conn).DefaultScreen(conn)
	window, err := xproto.NewWindowId(conn)
	if err != nil {
		t.Fatal(err)
	}
	check := func(c interface{ Check() error }) {
		t.Helper()
		if err := c.Check(); err != nil {
			t.Fatal(err)
		}
	}
	check(xproto.CreateWindowChecked(conn, screen.RootDepth, window, screen.Root, 0, 0, 64, 64, 0, xproto.WindowClassInputOutput, screen.RootVisual, 0, nil))
	atom := func(name string) xproto.Atom {
		r, err := xproto.InternAtom(conn, false, uint16(len(name)), name).Reply()
		if err != nil {
			t.Fatal(err)
		}
		return r.Atom
	}
	set := func(w xproto.Window, name string, kind xproto.Atom, format byte, value []byte) {
		t.Helper()
		check(xproto.ChangePropertyChecked(conn, xproto.PropModeReplace, w, atom(name), kind, format, uint32(len(value)/int(format/8)), value))
	}
	number := func(n uint32) []byte { b := make([]byte, 4); xgb.Put32(b, n); return b }
	set(window, "WM_CLASS", xproto.AtomString, 8, []byte("doom\x00Doo\x1bm\x00"))
	set(screen.Root, "_NET_ACTIVE_WINDOW", xproto.AtomWindow, 32, number(uint32(window)))
	expect("")
	set(window, "_NET_WM_STATE", xproto.AtomAtom, 32, number(uint32(atom("_NET_WM_STATE_FULLSCREEN"))))
	expect("Doom")
	check(xproto.DestroyWindowChecked(conn, window)) // and the hint is stale
	expect("")
	t.Setenv("DISPLAY", "")
	if _, err := FullScreen(t.Context()); err == nil {
		t.Error("looked at no screen")
	}
}

func server(t *testing.T) (display string) {
	t.Helper()
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	cmd := exec.CommandContext(t.Context(), "Xvfb", "-displayfd", "3", "-screen", "0", "64x64x24", "-nolisten", "tcp", "-noreset")
	cmd.ExtraFiles = []*os.File{w}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
	w.Close()
	line, err := bufio.NewReader(r).ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	return ":" + strings.TrimSpace(line)
}
