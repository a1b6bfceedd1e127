package pull

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	ggcrname "github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/registry"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/moyai-network/moyai/compute/image/pack"
)

// shop is a registry on loopback whose answers a test may change.
type shop struct {
	*httptest.Server
	host   string
	change func(http.Handler) http.Handler
}

func newShop(t *testing.T) *shop {
	t.Helper()
	s := new(shop)
	inner := registry.New(registry.Logger(log.New(io.Discard, "", 0)))
	s.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := inner
		if s.change != nil {
			h = s.change(inner)
		}
		h.ServeHTTP(w, r)
	}))
	t.Cleanup(s.Close)
	s.host = strings.TrimPrefix(s.URL, "http://")
	return s
}

// push puts an image of two layers up under a name.
func (s *shop) push(t *testing.T, repo, architecture string, contents ...string) Name {
	t.Helper()
	image := pack.Image{Architecture: architecture, Config: ocispec.ImageConfig{Cmd: []string{"/a"}}}
	for _, c := range contents {
		layer, err := pack.Layer(pack.Executable("a", []byte(c)))
		if err != nil {
			t.Fatal(err)
		}
		image.Layers = append(image.Layers, layer)
	}
	var b bytes.Buffer
	if err := pack.Docker(&b, image); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "image.tar")
	if err := os.WriteFile(path, b.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	img, err := tarball.ImageFromPath(path, nil)
	if err != nil {
		t.Fatal(err)
	}
	ref, err := ggcrname.ParseReference(s.host + "/" + repo)
	if err != nil {
		t.Fatal(err)
	}
	if err := remote.Write(ref, img); err != nil {
		t.Fatal(err)
	}
	n, err := Parse(s.host + "/" + repo)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// puller pulls into a store of its own.
type puller struct {
	c     Client
	store *Store
	dir   string
	n     int
	here  uint64 // what the last pull said at last
}

func newPuller(t *testing.T, s *shop) *puller {
	t.Helper()
	dir := t.TempDir()
	store, err := OpenStore(filepath.Join(dir, "store"), 1<<30)
	if err != nil {
		t.Fatal(err)
	}
	return &puller{c: Client{Allow: []string{s.host}}, store: store, dir: dir}
}

func (p *puller) pull(n Name, who Credentials, most uint64) (Pulled, string, error) {
	p.n++
	dest := filepath.Join(p.dir, "layout-"+string(rune('0'+p.n)))
	pulled, err := p.c.Pull(context.Background(), p.store, n, "linux/amd64", who, most, dest, Watch{
		Pinned: func(digest.Digest) error { return nil }, Progress: func(here, _ uint64) { p.here = here },
	})
	return pulled, dest, err
}

func TestParse(t *testing.T) {
	for text, want := range map[string]string{
		"python":                       "index.docker.io/library/python:latest",
		"python:3.12":                  "index.docker.io/library/python:3.12",
		"ghcr.io/owner/name":           "ghcr.io/owner/name:latest",
		"127.0.0.1:5000/a/b:c":         "127.0.0.1:5000/a/b:c",
		"a/b@sha256:" + sixtyFour("0"): "index.docker.io/a/b:latest",
		"Upper":                        "",
		"a b":                          "",
		"a@sha256:00":                  "",
		"../../etc":                    "",
		"":                             "",
	} {
		n, err := Parse(text)
		if want == "" && !errors.Is(err, ErrBadName) || want != "" && (err != nil || n.Reference != want) {
			t.Errorf("%q became %+v, %v", text, n, err)
		}
	}
}

func sixtyFour(s string) string { return strings.Repeat(s, 64) }

func TestPull(t *testing.T) {
	s := newShop(t)
	n := s.push(t, "a/b:1", "amd64", "one", "two")
	p := newPuller(t, s)
	found, err := p.c.Resolve(t.Context(), n, "", Credentials{})
	if err != nil {
		t.Fatal(err)
	}
	first, dest, err := p.pull(n, Credentials{}, 1<<20)
	if err != nil || first.Digest != found.Digest || first.Bytes != found.Bytes || first.Here != 0 {
		t.Fatalf("%+v, found %+v, %v", first, found, err)
	}
	if p.here != first.Bytes {
		t.Errorf("at its end it said that %d bytes of %d were here", p.here, first.Bytes)
	}
	index, err := os.ReadFile(filepath.Join(dest, "index.json"))
	if err != nil || !bytes.Contains(index, []byte(found.Digest)) {
		t.Errorf("index %s, %v", index, err)
	}
	n.Digest = found.Digest
	again, other, err := p.pull(n, Credentials{}, 1<<20)
	if err != nil || again.Here == 0 {
		t.Errorf("again: %+v, %v", again, err)
	}
	if same, err := os.ReadFile(filepath.Join(other, "index.json")); err != nil || !bytes.Equal(same, index) {
		t.Errorf("the same image is laid out as %s, %v", same, err)
	}
	if !p.store.Has(HintImage(found.Digest)) || p.store.Has(HintImage(digest.FromString("another"))) {
		t.Error("the store does not know what it has")
	}
	reopened, err := OpenStore(p.store.dir, 1<<30)
	if err != nil || !reopened.Has(HintImage(found.Digest)) {
		t.Errorf("the store, opened again, does not know what it has: %v", err)
	}
	// A layer in common is not pulled again.
	m := s.push(t, "c:1", "amd64", "one", "three")
	third, _, err := p.pull(m, Credentials{}, 1<<20)
	if err != nil || third.Here == 0 || third.Here >= third.Bytes {
		t.Errorf("a layer in common: %+v, %v", third, err)
	}
	// The store forgets what nobody uses, and only that.
	if err := os.RemoveAll(dest); err != nil {
		t.Fatal(err)
	}
	p.store.most = 1
	if err := p.store.room(1); err != nil {
		t.Fatal(err)
	}
	if _, err := os.ReadFile(filepath.Join(other, "blobs/sha256", found.Digest.Encoded())); err != nil {
		t.Errorf("a layout in use lost its manifest: %v", err)
	}
}

func TestRefused(t *testing.T) {
	s := newShop(t)
	n := s.push(t, "a:1", "amd64", "one", "two")
	for _, tc := range []struct {
		name   string
		change func(p *puller, n *Name, most *uint64)
		want   error
	}{
		{"not found", func(_ *puller, n *Name, _ *uint64) { n.Reference = s.host + "/nothing:1" }, ErrNotFound},
		{"no such tag", func(_ *puller, n *Name, _ *uint64) { n.Reference = s.host + "/a:2" }, ErrNotFound},
		{"another digest", func(_ *puller, n *Name, _ *uint64) { n.Digest = digest.FromString("x") }, ErrNotFound},
		{"more than was ordered", func(_ *puller, _ *Name, most *uint64) { *most = 10 }, ErrTooLarge},
		{"a host of the owner's", func(p *puller, _ *Name, _ *uint64) { p.c.Allow = nil }, ErrPrivate},
		{"nobody there", func(_ *puller, n *Name, _ *uint64) { n.Reference = "127.0.0.1:1/a:1" }, ErrPrivate},
	} {
		t.Run(tc.name, func(t *testing.T) {
			p, name, most := newPuller(t, s), n, uint64(1<<20)
			tc.change(p, &name, &most)
			_, dest, err := p.pull(name, Credentials{}, most)
			if !errors.Is(err, tc.want) {
				t.Errorf("got %v, want %v", err, tc.want)
			}
			if _, err := os.Stat(dest); err == nil {
				t.Error("something was laid out")
			}
		})
	}
	p := newPuller(t, s)
	p.c.Allow = append(p.c.Allow, "127.0.0.1:1")
	n.Reference = "127.0.0.1:1/a:1"
	if _, _, err := p.pull(n, Credentials{}, 1<<20); !errors.Is(err, ErrUnreachable) {
		t.Errorf("unreachable: %v", err)
	}
}

func TestCredentials(t *testing.T) {
	s := newShop(t)
	n := s.push(t, "a:1", "amd64", "one", "two")
	s.change = func(h http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if user, password, _ := r.BasicAuth(); user != "me" || password != "right" {
				w.Header().Set("WWW-Authenticate", `Basic realm="r"`)
				w.WriteHeader(http.StatusUnauthorized)
				return
			}
			h.ServeHTTP(w, r)
		})
	}
	for _, who := range []Credentials{{}, {"me", "wrong-password"}} {
		if _, _, err := newPuller(t, s).pull(n, who, 1<<20); !errors.Is(err, ErrUnauthorized) || strings.Contains(err.Error(), "wrong-password") {
			t.Errorf("%s: %v", who.User, err)
		}
	}
	if _, _, err := newPuller(t, s).pull(n, Credentials{"me", "right"}, 1<<20); err != nil {
		t.Error(err)
	}
}

// TestLies: a registry that sends other bytes than it was asked for, too many of
// them, or a manifest without end.
func TestLies(t *testing.T) {
	for name, lie := range map[string]func(w http.ResponseWriter, r *http.Request) bool{
		"a layer": func(w http.ResponseWriter, r *http.Request) bool {
			if !strings.Contains(r.URL.Path, "/blobs/") || r.Method != http.MethodGet {
				return false
			}
			_, _ = w.Write(bytes.Repeat([]byte("x"), 1<<20))
			return true
		},
		"the manifest": func(w http.ResponseWriter, r *http.Request) bool {
			if !strings.Contains(r.URL.Path, "/manifests/") {
				return false
			}
			for range 64 {
				if _, err := w.Write(bytes.Repeat([]byte(" "), 1<<18)); err != nil {
					return true
				}
			}
			return true
		},
	} {
		t.Run(name, func(t *testing.T) {
			s := newShop(t)
			n := s.push(t, "a:1", "amd64", "one", "two")
			s.change = func(h http.Handler) http.Handler {
				return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
					if !lie(w, r) {
						h.ServeHTTP(w, r)
					}
				})
			}
			p := newPuller(t, s)
			_, dest, err := p.pull(n, Credentials{}, 1<<20)
			if !errors.Is(err, ErrMismatch) && !errors.Is(err, ErrTooLarge) {
				t.Errorf("got %v", err)
			}
			if _, err := os.Stat(dest); err == nil {
				t.Error("it was laid out")
			}
		})
	}
}

// TestWrongPlatform: an index without this machine's platform.
func TestWrongPlatform(t *testing.T) {
	s := newShop(t)
	n := s.push(t, "a:1", "amd64", "one", "two")
	s.change = func(h http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if strings.Contains(r.URL.Path, "/manifests/") {
				_, _ = w.Write([]byte(`{"schemaVersion":2,"manifests":[{"digest":"sha256:` + sixtyFour("0") + `","size":1,"platform":{"os":"linux","architecture":"riscv64"}}]}`))
				return
			}
			h.ServeHTTP(w, r)
		})
	}
	_, _, err := newPuller(t, s).pull(n, Credentials{}, 1<<20)
	if !errors.Is(err, ErrPlatform) || !strings.Contains(err.Error(), "linux/riscv64") {
		t.Errorf("got %v", err)
	}
}

// TestBrokenOff: a connection that breaks in the middle of a layer is taken up
// where it broke.
func TestBrokenOff(t *testing.T) {
	s := newShop(t)
	big := make([]byte, 1<<20)
	for i := range big {
		big[i] = byte(i*i>>8) ^ byte(i*7919>>3)
	}
	n := s.push(t, "a:1", "amd64", string(big), "two")
	var cuts, resumed atomic.Int32
	s.change = func(h http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if !strings.Contains(r.URL.Path, "/blobs/") {
				h.ServeHTTP(w, r)
				return
			}
			asked := r.Header.Get("Range")
			r.Header.Del("Range")
			rec := httptest.NewRecorder()
			h.ServeHTTP(rec, r)
			body := rec.Body.Bytes()
			if asked == "" && len(body) > 1<<16 {
				cuts.Add(1)
				w.Header().Set("Content-Length", "999999999")
				_, _ = w.Write(body[:len(body)/2])
				return // the server closes the connection: too little was written
			}
			if asked != "" {
				resumed.Add(1)
				r.Header.Set("Range", asked)
			}
			http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(body))
		})
	}
	if _, _, err := newPuller(t, s).pull(n, Credentials{}, 4<<20); err != nil {
		t.Fatal(err)
	}
	if cuts.Load() != 1 || resumed.Load() != 1 {
		t.Errorf("broken off %d times, resumed %d times", cuts.Load(), resumed.Load())
	}
}

// TestFiles: a file is kept by its identifier, under the store's bound.
func TestFiles(t *testing.T) {
	dir := t.TempDir()
	store, err := OpenStore(filepath.Join(dir, "store"), 3<<10)
	if err != nil {
		t.Fatal(err)
	}
	fetched := filepath.Join(dir, "fetched")
	if err := os.WriteFile(fetched, bytes.Repeat([]byte("x"), 2<<10), 0o600); err != nil {
		t.Fatal(err)
	}
	if store.Take([]byte("id"), filepath.Join(dir, "before")) {
		t.Error("taken before it was given")
	}
	if err := store.Give([]byte("id"), fetched); err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(fetched); err != nil { // the lease that brought it is over
		t.Fatal(err)
	}
	taken := filepath.Join(dir, "taken")
	if !store.Take([]byte("id"), taken) || !store.Has(HintFile([]byte("id"))) {
		t.Error("what was given is not there")
	}
	if err := os.Remove(taken); err != nil {
		t.Fatal(err)
	}
	if err := store.room(2 << 10); err != nil {
		t.Fatal(err)
	}
	if store.Has(HintFile([]byte("id"))) {
		t.Error("more is kept than the bound allows")
	}
}
