package runtimetest

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/pkg/sftp"

	"github.com/moyai-network/moyai/compute"
)

// testTools: files go in and out although the image has nothing for that.
func (g *guests) testTools(t *testing.T) {
	t.Run("tar", func(t *testing.T) {
		h := g.host(t, "sleeping", "sleep", "1h")
		long := strings.Repeat("long/", 30) + "name"
		in := tarOf(t, []tar.Header{
			{Name: "tree/", Typeflag: tar.TypeDir, Mode: 0o500, ModTime: time.Unix(1e9, 0)},
			{Name: "tree/file", Mode: 0o640, ModTime: time.Unix(1e9, 0)},
			{Name: "tree/empty/", Typeflag: tar.TypeDir, Mode: 0o755},
			{Name: "tree/link", Typeflag: tar.TypeSymlink, Linkname: "file", Mode: 0o777},
			{Name: "tree/" + long, Mode: 0o755},
		})
		if got := h.run(t, compute.Exec{Tool: compute.ToolTarIn, Args: []string{"/out"}}, in); got != (said{}) {
			t.Fatalf("tar-in: %+v", got)
		}
		info, err := os.Stat(h.outPath("tree"))
		if err != nil || info.Mode().Perm() != 0o500 || !info.ModTime().Equal(time.Unix(1e9, 0)) {
			t.Errorf("the folder is %v, %v", info, err)
		}
		got := h.run(t, compute.Exec{Tool: compute.ToolTarOut, Args: []string{"/out/tree"}}, "")
		if got.code != 0 || got.err != "" {
			t.Fatalf("tar-out: %+v", got)
		}
		if went, came := listOf(t, in), listOf(t, got.out); !slices.Equal(went, came) {
			t.Errorf("what went in was\n%s\nwhat came out is\n%s", strings.Join(went, "\n"), strings.Join(came, "\n"))
		}
		for args, want := range map[string]string{"/out/tree/file": "file", "/out/tree/link": "link", "/out/tree/empty": "empty/"} {
			got := h.run(t, compute.Exec{Tool: compute.ToolTarOut, Args: []string{args}}, "")
			if list := listOf(t, got.out); got.code != 0 || len(list) != 1 || !strings.HasPrefix(list[0], want+" ") {
				t.Errorf("%s: %+v, %s", args, got.err, list)
			}
		}
	})
	t.Run("nothing to carry", func(t *testing.T) {
		h := g.host(t, "sleeping", "sleep", "1h")
		for _, x := range []compute.Exec{{Tool: compute.ToolTarOut, Args: []string{"/no/such/file"}}, {Tool: compute.ToolTarIn, Args: []string{"/no/such/folder"}}} {
			if got := h.run(t, x, ""); got.code != 1 || !strings.Contains(got.err, "no such file") {
				t.Errorf("%v: %+v", x.Args, got)
			}
		}
		if got := h.run(t, compute.Exec{Tool: compute.ToolTarIn, Args: []string{"/out"}}, "this is no tar at all, and long enough to be looked at"); got.code != 1 || !strings.Contains(got.err, "tar") {
			t.Errorf("no tar: %+v", got)
		}
	})
	t.Run("hostile tar", g.testHostileTar)
	t.Run("sftp", g.testSFTP)
	t.Run("cannot be changed", func(t *testing.T) {
		h := g.host(t, "sleeping", "sleep", "1h")
		for _, user := range []string{"", "1234"} {
			x := h.probe(append([]string{"append"}, g.ToolPaths...)...)
			x.User = user
			if got := h.run(t, x, ""); got.out != "it stays\n" {
				t.Errorf("as %q: %+v", user, got)
			}
		}
	})
}

// testHostileTar: nothing of a tar lands outside of the folder it is for, even
// though outside is the tenant's as well.
func (g *guests) testHostileTar(t *testing.T) {
	h := g.host(t, "sleeping", "sleep", "1h")
	for name, headers := range map[string][]tar.Header{
		"climbs":       {{Name: "../../out/out", Mode: 0o644}},
		"through link": {{Name: "way", Typeflag: tar.TypeSymlink, Linkname: "/out"}, {Name: "way/out", Mode: 0o644}},
		"hard link":    {{Name: "out", Typeflag: tar.TypeLink, Linkname: "../out/secret"}},
		"endless name": {{Name: strings.Repeat("n/", 3000) + "n", Mode: 0o644}},
	} {
		got := h.run(t, compute.Exec{Tool: compute.ToolTarIn, Args: []string{"/tmp"}}, tarOf(t, headers))
		if got.code != 1 || got.err == "" {
			t.Errorf("%s: %+v", name, got)
		}
		if _, err := os.Lstat(h.outPath("out")); err == nil {
			t.Errorf("%s got out", name)
		}
	}
	// What is neither file, folder nor link is left out, and the rest comes.
	got := h.run(t, compute.Exec{Tool: compute.ToolTarIn, Args: []string{"/out"}}, tarOf(t, []tar.Header{
		{Name: "fifo", Typeflag: tar.TypeFifo}, {Name: "disk", Typeflag: tar.TypeBlock, Devmajor: 8}, {Name: "/rest", Mode: 0o6755},
	}))
	info, err := os.Lstat(h.outPath("rest"))
	if got.code != 0 || !strings.Contains(got.err, "fifo") || err != nil || info.Mode() != 0o755 {
		t.Errorf("%+v, %v, %v", got, info, err)
	}
	// A file too large for the limit is an error that says so, not a crash.
	big := tarHeader(t, tar.Header{Name: "big", Mode: 0o644, Size: 1 << 40})
	p := h.enter(t, compute.Exec{Tool: compute.ToolTarIn, Args: []string{"/out"}})
	go func() { _, _ = io.Copy(p.Stdin(), io.MultiReader(strings.NewReader(big), &pattern{})) }()
	words, _ := io.ReadAll(p.Stderr())
	if code, err := p.Wait(h.context()); code != 1 && code != 137 || err != nil || code == 1 && !strings.Contains(string(words), "too large") {
		t.Errorf("it ended with %d, %v: %s", code, err, words)
	}
}

func (g *guests) testSFTP(t *testing.T) {
	h := g.host(t, "sleeping", "sleep", "1h")
	x := compute.Exec{Tool: compute.ToolSFTP, Dir: "/out"}
	p := h.enter(t, x)
	c, err := sftp.NewClientPipe(p.Stdout(), p.Stdin())
	if err != nil {
		t.Fatal(err)
	}
	const size = 3 << 20
	f, err := c.Create("folder-less")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.ReadFrom(io.LimitReader(&pattern{}, size)); err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	if info, err := os.Stat(h.outPath("folder-less")); err != nil || info.Size() != size {
		t.Errorf("on the disk: %v, %v", info, err)
	}
	if f, err = c.Open("/out/folder-less"); err != nil {
		t.Fatal(err)
	}
	if n, err := f.WriteTo(&pattern{t: t}); n != size || err != nil {
		t.Errorf("%d bytes came back, %v", n, err)
	}
	if _, err := c.Create("/elsewhere"); err == nil {
		t.Error("the root file system can be written")
	}
	if entries, err := c.ReadDir("/"); err != nil || len(entries) == 0 {
		t.Errorf("%v, %v", entries, err)
	}
	_ = c.Close()
	_ = p.Stdin().Close()
	if code, err := p.Wait(h.context()); code != 0 || err != nil {
		t.Errorf("it ended with %d, %v", code, err)
	}
}

// tarOf makes a tar of files that hold their own names.
func tarOf(t *testing.T, headers []tar.Header) string {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, h := range headers {
		content := ""
		if h.Typeflag == 0 {
			content = "content of " + h.Name
		}
		h.Size = int64(len(content))
		if err := w.WriteHeader(&h); err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(w, content); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

// tarHeader is the beginning of a tar.
func tarHeader(t *testing.T, h tar.Header) string {
	t.Helper()
	var b bytes.Buffer
	if err := tar.NewWriter(&b).WriteHeader(&h); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

// listOf is what a tar holds, in order of its names, without the folders that are
// there only for what is in them.
func listOf(t *testing.T, content string) []string {
	t.Helper()
	var lines []string
	r := tar.NewReader(strings.NewReader(content))
	for {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			slices.Sort(lines)
			return lines
		}
		if err != nil {
			t.Fatalf("not a whole tar: %v", err)
		}
		b, err := io.ReadAll(r)
		if err != nil {
			t.Fatal(err)
		}
		if !strings.HasPrefix(h.Name, "tree/long/") || h.Typeflag != tar.TypeDir {
			lines = append(lines, fmt.Sprintf("%s %o %q %q", h.Name, h.Mode&0o777, h.Linkname, b))
		}
	}
}

func (g *guests) testDial(t *testing.T) {
	h := g.host(t, "port", "serve", "127.0.0.1:0")
	port := portOf(t, h)
	t.Run("echo and half close", func(t *testing.T) {
		const size = 16 << 20
		c, err := h.Dial(h.context(), port)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		half, ok := c.(interface{ CloseWrite() error })
		if !ok {
			t.Fatal("one direction cannot be closed")
		}
		go func() {
			_, _ = io.Copy(c, io.LimitReader(&pattern{}, size))
			_ = half.CloseWrite()
		}()
		if n, err := io.Copy(&pattern{t: t}, io.LimitReader(c, size)); n != size || err != nil {
			t.Errorf("%d bytes came back, %v", n, err)
		}
		if rest, err := io.ReadAll(c); err != nil || string(rest) != fmt.Sprintf("\n%d bytes came", size) {
			t.Errorf("after the end of what was sent: %q, %v", rest, err)
		}
	})
	t.Run("refused", func(t *testing.T) {
		for _, free := range []uint16{0, 1} {
			if c, err := h.Dial(h.context(), free); !errors.Is(err, compute.ErrRefused) {
				t.Errorf("port %d: %v, %v", free, c, err)
			}
		}
	})
	t.Run("cancelled", func(t *testing.T) {
		ctx, cancel := context.WithCancel(context.Background())
		cancel()
		c, err := h.Dial(ctx, port)
		if err == nil {
			c.Close() // it was quicker
		} else if !errors.Is(err, context.Canceled) {
			t.Errorf("got %v", err)
		}
	})
	t.Run("wherever it listens", func(t *testing.T) {
		for _, address := range []string{"0.0.0.0:0", "127.0.0.77:0", "[::]:0"} {
			other := g.host(t, "port", "serve", address)
			c, err := other.Dial(other.context(), portOf(t, other))
			if address == "127.0.0.77:0" { // not an address that is listed
				if !errors.Is(err, compute.ErrRefused) {
					t.Errorf("%s: %v", address, err)
				}
				continue
			}
			if err != nil {
				t.Errorf("%s: %v", address, err)
				continue
			}
			c.Close()
		}
	})
	t.Run("not the host's", func(t *testing.T) {
		if c, err := h.Dial(h.context(), listen(t)); !errors.Is(err, compute.ErrRefused) {
			t.Errorf("a port of the host's: %v, %v", c, err)
		}
	})
	t.Run("of what entered", func(t *testing.T) {
		p := h.enter(t, h.probe("serve", "127.0.0.1:4711"))
		hears(t, p.Stdout(), "port")
		c, err := h.Dial(h.context(), 4711)
		if err != nil {
			t.Fatal(err)
		}
		if err := errors.Join(p.Close(), c.Close()); err != nil {
			t.Error(err)
		}
	})
}

// portOf is the port that a server has said it got.
func portOf(t *testing.T, h *host) uint16 {
	t.Helper()
	words := strings.Fields(h.read(h.env.run.Stdout()))
	port, err := strconv.ParseUint(words[1], 10, 16)
	if err != nil {
		t.Fatal(err)
	}
	return uint16(port)
}

// listen takes a port of the host's.
func listen(t *testing.T) uint16 {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	return uint16(l.Addr().(*net.TCPAddr).Port)
}
