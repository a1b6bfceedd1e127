package content_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/ipfs/boxo/ipld/merkledag"
	"github.com/ipfs/boxo/ipld/unixfs"
	"github.com/ipfs/go-cid"
	ipld "github.com/ipfs/go-ipld-format"
	"github.com/libp2p/go-libp2p/core/peer"
	mh "github.com/multiformats/go-multihash"

	"github.com/moyai-network/moyai/p2p"
	"github.com/moyai-network/moyai/p2p/content"
	"github.com/moyai-network/moyai/p2p/p2ptest"
)

// block is a block as it goes into a stream: its bytes need not match its name.
type block struct {
	cid  cid.Cid
	data []byte
}

var prefix = cid.Prefix{Version: 1, Codec: cid.DagProtobuf, MhType: mh.SHA2_256, MhLength: 32}

func leaf(data []byte) block {
	return block{must(prefix.WithCodec(cid.Raw).Sum(data)), data}
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

type link struct {
	name string
	to   cid.Cid
}

// node makes a dag-pb block of UnixFS data and links, in the order given.
func node(data []byte, links ...link) block {
	n := merkledag.NodeWithData(data)
	if err := n.SetCidBuilder(prefix); err != nil {
		panic(err)
	}
	for _, l := range links {
		if err := n.AddRawLink(l.name, &ipld.Link{Cid: l.to}); err != nil {
			panic(err)
		}
	}
	return block{n.Cid(), n.RawData()}
}

func folder(links ...link) block { return node(unixfs.FolderPBData(), links...) }

// file claims size bytes in all.
func file(size uint64, links ...link) block {
	n := unixfs.NewFSNode(unixfs.TFile)
	for range links {
		n.AddBlockSize(size / uint64(len(links)))
	}
	n.UpdateFilesize(int64(size) - int64(n.FileSize()))
	return node(must(n.GetBytes()), links...)
}

func header(root cid.Cid) []byte {
	body := append([]byte("\xa2\x65roots\x81\xd8\x2a\x58\x25\x00"), root.Bytes()...)
	body = append(body, "\x67version\x01"...)
	return append(binary.AppendUvarint(nil, uint64(len(body))), body...)
}

func (b block) section() []byte {
	out := binary.AppendUvarint(nil, uint64(len(b.cid.Bytes())+len(b.data)))
	return append(append(out, b.cid.Bytes()...), b.data...)
}

func carOf(root cid.Cid, blocks ...block) []byte {
	out := header(root)
	for _, b := range blocks {
		out = append(out, b.section()...)
	}
	return out
}

// reply is the answer of the content protocol, as anyone may send it.
type reply struct {
	Status uint64 `cbor:"1,keyasint"`
	Bytes  uint64 `cbor:"2,keyasint"`
}

func (*reply) Validate() error { return nil }

// hostile answers every Get with the given claim and what write writes.
func hostile(t testing.TB, claim uint64, write func(w io.Writer)) *p2p.Host {
	t.Helper()
	h := p2ptest.NewHost(t)
	h.Handle(p2p.ContentProtocol, func(_ context.Context, s *p2p.Stream) {
		var get content.Get
		if s.Recv(16<<10, time.Minute, &get) == nil && s.Send(256, &reply{Bytes: claim}) == nil {
			write(s.Raw())
		}
		_ = s.Close()
	})
	return h
}

type hostileCase struct {
	name   string
	root   cid.Cid
	stream []byte
	want   error
}

func TestHostileStreams(t *testing.T) {
	small, other := leaf([]byte("small")), leaf([]byte("other"))
	mib := leaf(make([]byte, 1<<20))
	empty := leaf(nil)
	two := file(10, link{"", small.cid}, link{"", other.cid})
	repeat := func(b block, n int) (links []link, blocks []block) {
		for range n {
			links, blocks = append(links, link{"", b.cid}), append(blocks, b)
		}
		return links, blocks
	}
	bombLinks, bombBlocks := repeat(mib, 64)
	bomb := file(64<<20, bombLinks...)
	quietBomb := file(1, bombLinks...) // claims one byte
	emptyLinks, emptyBlocks := repeat(empty, 1000)
	hollow := file(0, emptyLinks...)

	named := func(names ...string) []byte {
		var links []link
		blocks := []block{{}}
		for _, n := range names {
			links, blocks = append(links, link{n, small.cid}), append(blocks, small)
		}
		blocks[0] = folder(links...)
		return carOf(blocks[0].cid, blocks...)
	}
	nested := func(depth int, wrap func(cid.Cid) block) []byte {
		chain := []block{small}
		for range depth {
			chain = append(chain, wrap(chain[len(chain)-1].cid))
		}
		root := chain[len(chain)-1].cid
		for i, j := 0, len(chain)-1; i < j; i, j = i+1, j-1 {
			chain[i], chain[j] = chain[j], chain[i]
		}
		return carOf(root, chain...)
	}
	// A folder of 50 links to a folder of 50 links …: 50⁵ entries from six blocks.
	level, tower := folder(), []block{folder()}
	for range 5 {
		var links []link
		for i := range 50 {
			links = append(links, link{string(rune('a'+i/26)) + string(rune('a'+i%26)), level.cid})
		}
		level = folder(links...)
		tower = append(tower, level)
	}
	symlink := node(must(unixfs.SymlinkData("/etc/passwd")))
	badShard := node(must(unixfs.HAMTShardData([]byte{1}, 16, 0x22)), link{"0x", small.cid})
	flipped := block{small.cid, []byte("smalL")}

	cases := []hostileCase{
		{"block with one bit changed", small.cid, carOf(small.cid, flipped), content.ErrMismatch},
		{"another block than asked for", small.cid, carOf(small.cid, other), content.ErrMismatch},
		{"another root in the header", small.cid, carOf(other.cid, small), content.ErrMismatch},
		{"not a car at all", small.cid, bytes.Repeat([]byte("x"), 200), content.ErrMismatch},
		{"block of 4 GiB", small.cid, append(header(small.cid), 0x80, 0x80, 0x80, 0x80, 0x10), content.ErrMismatch},
		{"block of 200 MiB", small.cid, append(header(small.cid), 0x80, 0x80, 0x80, 0x64), content.ErrMismatch},
		{"length that does not end", small.cid, append(header(small.cid), bytes.Repeat([]byte{0xff}, 100)...), content.ErrMismatch},
		{"block shorter than its name", small.cid, append(header(small.cid), 3, 1, 2, 3), content.ErrMismatch},
		{"cut within a block", small.cid, carOf(small.cid, small)[:100], io.ErrUnexpectedEOF},
		{"cut between blocks", two.cid, carOf(two.cid, two, small), io.ErrUnexpectedEOF},
		{"name ..", folder(link{"..", small.cid}).cid, named(".."), content.ErrUnsupported},
		{"name with slash", folder(link{"../x", small.cid}).cid, named("../x"), content.ErrUnsupported},
		{"absolute name", folder(link{"/tmp/x", small.cid}).cid, named("/tmp/x"), content.ErrUnsupported},
		{"empty name", folder(link{"", small.cid}).cid, named(""), content.ErrUnsupported},
		{"name with zero byte", folder(link{"a\x00b", small.cid}).cid, named("a\x00b"), content.ErrUnsupported},
		{"name with escape sequence", folder(link{"a\x1b[2J", small.cid}).cid, named("a\x1b[2J"), content.ErrUnsupported},
		{"name with backslash", folder(link{`..\x`, small.cid}).cid, named(`..\x`), content.ErrUnsupported},
		{"name twice", folder(link{"a", small.cid}, link{"a", small.cid}).cid, named("a", "a"), content.ErrUnsupported},
		{"name of 300 bytes", folder(link{strings.Repeat("n", 300), small.cid}).cid, named(strings.Repeat("n", 300)), content.ErrLimit},
		{"symlink", symlink.cid, carOf(symlink.cid, symlink), content.ErrUnsupported},
		{"unknown sharding", badShard.cid, carOf(badShard.cid, badShard, small), content.ErrUnsupported},
		{"folder that is not protobuf", node([]byte("?")).cid, carOf(node([]byte("?")).cid, node([]byte("?"))), content.ErrUnsupported},
		{"expands past the bytes allowed", bomb.cid, carOf(bomb.cid, append([]block{bomb}, bombBlocks...)...), content.ErrLimit},
		{"expands past what it claims", quietBomb.cid, carOf(quietBomb.cid, append([]block{quietBomb}, bombBlocks...)...), content.ErrLimit},
		{"empty leaves", hollow.cid, carOf(hollow.cid, append([]block{hollow}, emptyBlocks...)...), content.ErrUnsupported},
		{"lies about its size", file(4, link{"", small.cid}).cid, carOf(file(4, link{"", small.cid}).cid, file(4, link{"", small.cid}), small), content.ErrUnsupported},
	}
	folders := nested(40, func(c cid.Cid) block { return folder(link{"d", c}) })
	files := nested(40, func(c cid.Cid) block { return file(5, link{"", c}) })
	cases = append(cases,
		hostileCase{"folders nested too deep", rootOf(folders), folders, content.ErrLimit},
		hostileCase{"file tree too deep", rootOf(files), files, content.ErrUnsupported})

	receiver := p2ptest.NewHost(t)
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			h := hostile(t, 0, func(w io.Writer) { _, _ = w.Write(c.stream) })
			refused(t, receiver, h, c.root, content.Limits{Bytes: 10 << 20, Entries: 1000}, c.want)
		})
	}
	t.Run("tower of folders", func(t *testing.T) {
		h := hostile(t, 0, func(w io.Writer) { sendTower(w, tower) })
		refused(t, receiver, h, level.cid, content.Limits{Entries: 1000}, content.ErrLimit)
	})
	t.Run("claims more than is allowed", func(t *testing.T) {
		h := hostile(t, 11<<20, func(io.Writer) {})
		refused(t, receiver, h, small.cid, content.Limits{Bytes: 10 << 20}, content.ErrLimit)
	})
	t.Run("never-ending stream", func(t *testing.T) {
		h := hostile(t, 0, func(w io.Writer) {
			_, err := w.Write(append(header(bomb.cid), bomb.section()...))
			for err == nil {
				_, err = w.Write(mib.section())
			}
		})
		refused(t, receiver, h, bomb.cid, content.Limits{Bytes: 65 << 20, Entries: 10}, nil) // reads what it asked for and hangs up
	})
	t.Run("stalls", func(t *testing.T) {
		h := hostile(t, 0, func(w io.Writer) {
			_, _ = w.Write(header(small.cid))
			_, _ = w.(io.Reader).Read(make([]byte, 1)) // until the receiver hangs up
		})
		ctx, cancel := context.WithTimeout(context.Background(), 100*time.Millisecond)
		defer cancel()
		dest := filepath.Join(t.TempDir(), "out")
		err := content.Fetch(ctx, receiver, h.AddrInfo(), content.Get{Scope: scope, Root: small.cid.Bytes()}, dest, content.Limits{}, nil)
		if !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("got %v, want the context's reason", err)
		}
		nothingLeft(t, dest)
	})
}

// rootOf reads the root back from a stream's header.
func rootOf(stream []byte) cid.Cid {
	at := bytes.Index(stream, []byte("\x58\x25\x00")) + 3
	return must(cid.Cast(stream[at : at+36]))
}

func sendTower(w io.Writer, tower []block) {
	top := len(tower) - 1
	_, err := w.Write(header(tower[top].cid))
	var send func(level int)
	send = func(level int) {
		if err != nil {
			return
		}
		if _, err = w.Write(tower[level].section()); level > 0 {
			for range 50 {
				send(level - 1)
			}
		}
	}
	send(top)
}

// refused fetches and wants err (nil: success), and in case of an error nothing
// left on disk.
func refused(t *testing.T, receiver, from *p2p.Host, root cid.Cid, lim content.Limits, want error) {
	t.Helper()
	dest := filepath.Join(t.TempDir(), "out")
	err := content.Fetch(p2ptest.Context(t), receiver, from.AddrInfo(), content.Get{Scope: scope, Root: root.Bytes()}, dest, lim, nil)
	if !errors.Is(err, want) {
		t.Errorf("got %v, want %v", err, want)
	}
	if want != nil {
		nothingLeft(t, dest)
	}
}

func nothingLeft(t *testing.T, dest string) {
	t.Helper()
	left, err := os.ReadDir(filepath.Dir(dest))
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range left {
		t.Errorf("%s was left", e.Name())
	}
}

// A holder that keeps sending wrong blocks is sent away.
func TestLiarIsBanned(t *testing.T) {
	small := leaf([]byte("small"))
	liar := hostile(t, 0, func(w io.Writer) { _, _ = w.Write(carOf(small.cid, block{small.cid, []byte("wrong")})) })
	receiver := p2ptest.NewHost(t)
	for i := 0; !receiver.Banned(liar.ID()); i++ {
		if i > 10 {
			t.Fatal("never banned")
		}
		_, err := content.FetchBytes(p2ptest.Context(t), receiver, liar.AddrInfo(), content.Get{Scope: scope, Root: small.cid.Bytes()}, 100)
		if !errors.Is(err, content.ErrMismatch) {
			t.Fatal(err)
		}
	}
}

func TestAuthorizer(t *testing.T) {
	var p pair
	p = newPair(t, func(_ context.Context, remote peer.ID, get content.Get) error {
		if remote != p.receiver.ID() || string(get.Access) != "password" {
			return errors.New("a secret reason")
		}
		return nil
	})
	refusals := make(chan error, 10)
	p.server.OnFail(func(_ peer.ID, err error) { refusals <- err })
	src, err := content.BuildBytes([]byte("data"))
	if err != nil {
		t.Fatal(err)
	}
	p.server.Add(scope, src)
	get := content.Get{Scope: scope, Root: src.Root().Bytes(), Access: []byte("password")}
	from := func(h *p2p.Host, g content.Get) error {
		_, err := content.FetchBytes(p2ptest.Context(t), h, p.holder.AddrInfo(), g, 100)
		return err
	}
	if err := from(p.receiver, get); err != nil {
		t.Fatal(err)
	}
	if err := from(p2ptest.NewHost(t), get); !errors.Is(err, content.ErrUnauthorized) || strings.Contains(err.Error(), "secret") {
		t.Errorf("stranger: %v", err)
	}
	if err := <-refusals; !strings.Contains(err.Error(), "secret") {
		t.Errorf("the log says %v", err)
	}
	wrong := get
	wrong.Access = nil
	if err := from(p.receiver, wrong); !errors.Is(err, content.ErrUnauthorized) {
		t.Errorf("no access: %v", err)
	}
	elsewhere := get
	elsewhere.Scope = []byte("another order")
	if err := from(p.receiver, elsewhere); !errors.Is(err, content.ErrNotFound) {
		t.Errorf("another scope: %v", err)
	}
	p.server.Remove(scope)
	if err := from(p.receiver, get); !errors.Is(err, content.ErrNotFound) {
		t.Errorf("removed: %v", err)
	}
}

// A holder whose file was edited says so to itself and does not send it.
func TestChangedFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "in")
	if err := os.WriteFile(path, random(3<<20, 1), 0o600); err != nil {
		t.Fatal(err)
	}
	p := newPair(t, nil)
	failed := make(chan error, 1)
	p.server.OnFail(func(_ peer.ID, err error) { failed <- err })
	src := build(t, path)
	if err := os.WriteFile(path, random(3<<20+1, 2), 0o600); err != nil {
		t.Fatal(err)
	}
	dest := filepath.Join(t.TempDir(), "out")
	if err := p.fetch(t, src, dest, content.Limits{}); err == nil {
		t.Error("a changed file was fetched")
	}
	nothingLeft(t, dest)
	if err := <-failed; !errors.Is(err, content.ErrChanged) {
		t.Errorf("the holder's log says %v", err)
	}
	if p.receiver.Banned(p.holder.ID()) {
		t.Error("the holder was banned")
	}
}

func TestDestination(t *testing.T) {
	p := newPair(t, nil)
	src, err := content.BuildBytes([]byte("data"))
	if err != nil {
		t.Fatal(err)
	}
	dest := filepath.Join(t.TempDir(), "out")
	// What an interrupted fetch left is no obstacle, even where a file takes the place of a folder.
	if err := os.MkdirAll(dest+".partial/x", 0o755); err != nil {
		t.Fatal(err)
	}
	if err := p.fetch(t, src, dest, content.Limits{}); err != nil {
		t.Fatal(err)
	}
	if err := p.fetch(t, src, dest, content.Limits{}); !errors.Is(err, content.ErrExists) {
		t.Errorf("second fetch: %v, want ErrExists", err)
	}
	if got, err := os.ReadFile(dest); err != nil || string(got) != "data" {
		t.Errorf("read %q, %v", got, err)
	}
}

func TestBuildRefuses(t *testing.T) {
	ctx := context.Background()
	dir := t.TempDir()
	tree{"a": "12345", "b/c": "1", "b/": ""}.write(t, dir)
	for name, lim := range map[string]content.Limits{
		"bytes": {Bytes: 5}, "entries": {Entries: 3}, "depth": {Depth: 1},
	} {
		if _, err := content.BuildWithin(ctx, dir, lim); !errors.Is(err, content.ErrLimit) {
			t.Errorf("%s: %v, want ErrLimit", name, err)
		}
	}
	if _, err := content.BuildWithin(ctx, dir, content.Limits{Bytes: 6, Entries: 4, Depth: 2}); err != nil {
		t.Errorf("within its limits: %v", err)
	}
	if err := os.Symlink("/etc/passwd", filepath.Join(dir, "b", "link")); err != nil {
		t.Fatal(err)
	}
	if _, err := content.Build(ctx, dir); !errors.Is(err, content.ErrUnsupported) || !strings.Contains(err.Error(), "link") {
		t.Errorf("symlink: %v", err)
	}
	cancelled, cancel := context.WithCancel(ctx)
	cancel()
	if _, err := content.Build(cancelled, dir); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
}
