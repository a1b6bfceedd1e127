package content_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/ipld/go-car/v2"
	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/moyai-network/moyai/p2p"
	"github.com/moyai-network/moyai/p2p/content"
	"github.com/moyai-network/moyai/p2p/p2ptest"
)

var scope = bytes.Repeat([]byte{7}, 32)

// pair is a holder that serves and a receiver that fetches from it.
type pair struct {
	holder, receiver *p2p.Host
	server           *content.Server
}

func newPair(t testing.TB, may content.Authorizer, configure ...func(*p2p.Config)) pair {
	t.Helper()
	if may == nil {
		may = func(context.Context, peer.ID, content.Get) error { return nil }
	}
	p := pair{holder: p2ptest.NewHost(t, configure...), receiver: p2ptest.NewHost(t, configure...)}
	p.server = content.Serve(p.holder, may)
	t.Cleanup(p.server.Close)
	return p
}

func (p pair) fetch(t testing.TB, src *content.Source, dest string, lim content.Limits) error {
	t.Helper()
	p.server.Add(scope, src)
	get := content.Get{Scope: scope, Root: src.Root().Bytes()}
	return content.Fetch(p2ptest.Context(t), p.receiver, p.holder.AddrInfo(), get, dest, lim, nil)
}

func build(t testing.TB, path string) *content.Source {
	t.Helper()
	src, err := content.Build(p2ptest.Context(t), path)
	if err != nil {
		t.Fatal(err)
	}
	return src
}

// tree is a folder's content by slash-separated path; a folder ends in "/".
type tree map[string]string

func (want tree) write(t testing.TB, root string) {
	t.Helper()
	for name, data := range want {
		path := filepath.Join(root, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if strings.HasSuffix(name, "/") {
			if err := os.MkdirAll(path, 0o755); err != nil {
				t.Fatal(err)
			}
		} else if err := os.WriteFile(path, []byte(data), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

func readTree(t testing.TB, root string) tree {
	t.Helper()
	got := tree{}
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil || path == root {
			return err
		}
		name := filepath.ToSlash(strings.TrimPrefix(path, root+string(filepath.Separator)))
		if d.IsDir() {
			got[name+"/"] = ""
			return nil
		}
		data, err := os.ReadFile(path)
		got[name] = string(data)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return got
}

func random(n int, seed uint64) []byte {
	b := make([]byte, n)
	_, _ = rand.NewChaCha8([32]byte{byte(seed), byte(seed >> 8)}).Read(b)
	return b
}

func TestFileRoundTrip(t *testing.T) {
	const mib = 1 << 20
	p := newPair(t, nil)
	for _, size := range []int{0, 1, mib - 1, mib, mib + 1, 5*mib + 17} {
		t.Run(fmt.Sprint(size), func(t *testing.T) {
			data := random(size, uint64(size))
			path, dest := filepath.Join(t.TempDir(), "in"), filepath.Join(t.TempDir(), "out")
			if err := os.WriteFile(path, data, 0o600); err != nil {
				t.Fatal(err)
			}
			src := build(t, path)
			if src.Size() != uint64(size) || src.Files() != 1 || src.IsDir() {
				t.Fatalf("size %d, files %d, folder %v", src.Size(), src.Files(), src.IsDir())
			}
			if err := p.fetch(t, src, dest, content.Limits{Bytes: uint64(max(size, 1))}); err != nil {
				t.Fatal(err)
			}
			got, err := os.ReadFile(dest)
			if err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(got, data) {
				t.Fatal("file differs")
			}
			memory, err := content.BuildBytes(data)
			if err != nil {
				t.Fatal(err)
			}
			if memory.Root() != src.Root() {
				t.Fatalf("file has identifier %s on disk and %s in memory", src.Root(), memory.Root())
			}
		})
	}
}

func TestRepeatedBlocksAreSentAgain(t *testing.T) {
	p := newPair(t, nil)
	src, err := content.BuildBytes(make([]byte, 9<<20)) // one leaf, nine times
	if err != nil {
		t.Fatal(err)
	}
	p.server.Add(scope, src)
	got, err := content.FetchBytes(p2ptest.Context(t), p.receiver, p.holder.AddrInfo(), content.Get{Scope: scope, Root: src.Root().Bytes()}, 9<<20)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, make([]byte, 9<<20)) {
		t.Fatal("file differs")
	}
}

func TestFolderRoundTrip(t *testing.T) {
	many := tree{}
	for i := range 1500 { // with names as long as these, too many for one node: the folder is sharded
		many[fmt.Sprintf("%0200d.png", i)] = fmt.Sprint(i)
	}
	many["deep/below/x"] = "x"
	many["deep/"], many["deep/below/"] = "", ""
	cases := map[string]tree{
		"empty":   {},
		"nested":  {"a": "1", "b/": "", "b/c": "", "b/d/": "", "b/d/e": string(random(3<<20, 1)), "empty/": "", "ünï 催合い": "x"},
		"sharded": many,
	}
	p := newPair(t, nil)
	for name, want := range cases {
		t.Run(name, func(t *testing.T) {
			in, dest := t.TempDir(), filepath.Join(t.TempDir(), "out")
			want.write(t, in)
			if err := p.fetch(t, build(t, in), dest, content.Limits{}); err != nil {
				t.Fatal(err)
			}
			got := readTree(t, dest)
			if len(got) != len(want) {
				t.Fatalf("%d entries, want %d", len(got), len(want))
			}
			for name, data := range want {
				if have, ok := got[name]; !ok || have != data {
					t.Errorf("%s differs or is missing", name)
				}
			}
		})
	}
}

// The identifiers are those that any other UnixFS implementation gives.
func TestGoldenIdentifiers(t *testing.T) {
	hello, err := content.BuildBytes([]byte("hello world"))
	if err != nil {
		t.Fatal(err)
	}
	if got, want := hello.Root().String(), "bafkreifzjut3te2nhyekklss27nh3k72ysco7y32koao5eei66wof36n5e"; got != want {
		t.Errorf("hello world is %s, want %s", got, want)
	}
	if got, want := build(t, t.TempDir()).Root().String(), "bafybeiczsscdsbs7ffqz55asqdf3smv6klcw3gofszvwlyarci47bgf354"; got != want {
		t.Errorf("empty folder is %s, want %s", got, want)
	}
}

func TestCARIsReadableByOthers(t *testing.T) {
	in := t.TempDir()
	tree{"a": string(random(3<<20, 2)), "b/c": "small", "b/": ""}.write(t, in)
	src := build(t, in)
	var buf bytes.Buffer
	if err := src.WriteCAR(context.Background(), &buf); err != nil {
		t.Fatal(err)
	}
	r, err := car.NewBlockReader(&buf) // verifies every block's hash
	if err != nil {
		t.Fatal(err)
	}
	if r.Version != 1 || len(r.Roots) != 1 || r.Roots[0] != src.Root() {
		t.Fatalf("version %d, roots %v", r.Version, r.Roots)
	}
	blocks := 0
	for {
		if _, err := r.Next(); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			t.Fatal(err)
		}
		blocks++
	}
	if want := 1 + 1 + 3 + 1 + 1; blocks != want { // root, a and its leaves, b, c
		t.Errorf("%d blocks, want %d", blocks, want)
	}
}

// A large file must not be held in memory, by either side.
func TestLargeFileBoundedMemory(t *testing.T) {
	if testing.Short() {
		t.Skip("moves 200 MB")
	}
	const size, bound = 200_000_000, 64 << 20
	path, dest := filepath.Join(t.TempDir(), "in"), filepath.Join(t.TempDir(), "out")
	writeRandom(t, path, size)
	p := newPair(t, nil)
	peak, stop := watchHeap()
	err := p.fetch(t, build(t, path), dest, content.Limits{Bytes: size})
	stop()
	if err != nil {
		t.Fatal(err)
	}
	if grown := peak.Load(); grown > bound {
		t.Errorf("heap grew by %d MiB, want at most %d", grown>>20, bound>>20)
	}
	if !sameFile(t, path, dest) {
		t.Fatal("file differs")
	}
}

func writeRandom(t testing.TB, path string, size int64) {
	t.Helper()
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.CopyN(f, rand.NewChaCha8([32]byte{1}), size); err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
}

// watchHeap samples how much the heap in use exceeds what it was.
func watchHeap() (peak *atomic.Uint64, stop func()) {
	runtime.GC()
	var before runtime.MemStats
	runtime.ReadMemStats(&before)
	peak, done, stopped := new(atomic.Uint64), make(chan struct{}), make(chan struct{})
	go func() {
		defer close(stopped)
		for {
			var now runtime.MemStats
			runtime.ReadMemStats(&now)
			if now.HeapInuse > before.HeapInuse {
				peak.Store(max(peak.Load(), now.HeapInuse-before.HeapInuse))
			}
			select {
			case <-done:
				return
			case <-time.After(5 * time.Millisecond):
			}
		}
	}()
	return peak, func() { close(done); <-stopped }
}

func sameFile(t testing.TB, a, b string) bool {
	t.Helper()
	fa, err := os.Open(a)
	if err != nil {
		t.Fatal(err)
	}
	defer fa.Close()
	fb, err := os.Open(b)
	if err != nil {
		t.Fatal(err)
	}
	defer fb.Close()
	bufA, bufB := make([]byte, 1<<20), make([]byte, 1<<20)
	for {
		na, errA := io.ReadFull(fa, bufA)
		nb, errB := io.ReadFull(fb, bufB)
		if !bytes.Equal(bufA[:na], bufB[:nb]) {
			return false
		}
		if errA != nil || errB != nil {
			return errors.Is(errA, io.EOF) == errors.Is(errB, io.EOF)
		}
	}
}

func BenchmarkFetch(b *testing.B) {
	const size = 128 << 20
	path := filepath.Join(b.TempDir(), "in")
	writeRandom(b, path, size)
	for _, transport := range []string{"/ip4/127.0.0.1/udp/0/quic-v1", "/ip4/127.0.0.1/tcp/0"} {
		b.Run(transport, func(b *testing.B) {
			p := newPair(b, nil, func(c *p2p.Config) { c.Listen = []string{transport} })
			src := build(b, path)
			b.SetBytes(size)
			for b.Loop() {
				dest := filepath.Join(b.TempDir(), "out")
				if err := p.fetch(b, src, dest, content.Limits{Bytes: size}); err != nil {
					b.Fatal(err)
				}
				_ = os.Remove(dest)
			}
		})
	}
}

func BenchmarkBuild(b *testing.B) {
	const size = 256 << 20
	path := filepath.Join(b.TempDir(), "in")
	writeRandom(b, path, size)
	b.SetBytes(size)
	for b.Loop() {
		build(b, path)
	}
}
