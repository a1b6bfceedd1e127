package content

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	chunker "github.com/ipfs/boxo/chunker"
	"github.com/ipfs/boxo/ipld/merkledag"
	"github.com/ipfs/boxo/ipld/unixfs"
	"github.com/ipfs/boxo/ipld/unixfs/hamt"
	"github.com/ipfs/boxo/ipld/unixfs/importer/balanced"
	"github.com/ipfs/boxo/ipld/unixfs/importer/helpers"
	"github.com/ipfs/go-cid"
	ipld "github.com/ipfs/go-ipld-format"
)

// Source is a file or folder that can be served. Its inner nodes are in memory
// (about 50 bytes per MiB of data, and the names), its leaves are read again from
// disk when they are sent. It is immutable and safe for concurrent use.
type Source struct {
	root  *entry
	inner innerNodes
	bytes uint64
	files int
}

// entry is a file or folder of a Source.
type entry struct {
	cid  cid.Cid
	size uint64 // cumulative size of the DAG, as links carry it

	dir      bool
	children map[string]*entry // of a folder
	path     string            // of a file on disk
	stamp    stamp             // of a file on disk, when it was read
	data     []byte            // of a file in memory, if path is empty
	length   uint64            // of a file
}

// Root is the content's identifier.
func (s *Source) Root() cid.Cid { return s.root.cid }

// Size is the sum of the files' lengths, in bytes.
func (s *Source) Size() uint64 { return s.bytes }

// Files is the number of files; a single file counts as one.
func (s *Source) Files() int { return s.files }

// IsDir reports whether the content is a folder.
func (s *Source) IsDir() bool { return s.root.dir }

// Build is BuildWithin with limits that only guard this machine's memory: a million
// entries, nested 64 deep, of any length.
func Build(ctx context.Context, path string) (*Source, error) {
	return BuildWithin(ctx, path, Limits{Bytes: maxBytes, Entries: 1_000_000, Depth: 64})
}

// BuildWithin makes a Source of the file or folder at path, reading everything
// once. path itself may be a symlink; one below it, or a device, a socket and the
// like, is ErrUnsupported, named. What exceeds lim is ErrLimit: use it for folders
// that a stranger's program filled. The files must stay as they are while they are
// served.
func BuildWithin(ctx context.Context, path string, lim Limits) (*Source, error) {
	abs, err := filepath.Abs(path)
	if err != nil {
		return nil, fmt.Errorf("read content: %w", err)
	}
	info, err := os.Stat(abs)
	if err != nil {
		return nil, fmt.Errorf("read content: %w", err)
	}
	lim.EnsureDefaults()
	b := builder{ctx: ctx, lim: lim, src: &Source{inner: make(innerNodes)}}
	if b.src.root, err = b.build(abs, info.Mode(), 0); err != nil {
		return nil, fmt.Errorf("read content: %w", err)
	}
	return b.src, nil
}

// BuildBytes makes a Source of a file held in memory; data must not be changed.
func BuildBytes(data []byte) (*Source, error) {
	b := builder{ctx: context.Background(), lim: Limits{Bytes: maxBytes}, src: &Source{inner: make(innerNodes)}}
	e := &entry{data: data}
	if err := b.file(e, bytes.NewReader(data)); err != nil {
		return nil, err
	}
	b.src.root = e
	return b.src, nil
}

// stamp tells cheaply whether a file is still what it was. It can be fooled, and
// then the receiver notices; it is there so that an honest holder whose file was
// edited says so, instead of being blamed for sending wrong blocks. (Hashing every
// leaf again to know for sure would halve the speed.)
type stamp struct {
	size     int64
	modified time.Time
}

func stampOf(f *os.File) (stamp, error) {
	info, err := f.Stat()
	if err != nil {
		return stamp{}, err
	}
	return stamp{info.Size(), info.ModTime()}, nil
}

type builder struct {
	ctx     context.Context
	lim     Limits
	src     *Source
	entries int
	chunk   []byte // one buffer for all files
}

func (b *builder) build(path string, mode fs.FileMode, depth int) (*entry, error) {
	if err := b.ctx.Err(); err != nil {
		return nil, err
	}
	if b.entries++; b.entries > b.lim.Entries {
		return nil, fmt.Errorf("%w: more than %d files and folders", ErrLimit, b.lim.Entries)
	}
	switch {
	case mode.IsDir() && depth >= b.lim.Depth:
		return nil, fmt.Errorf("%w: %s is nested deeper than %d folders", ErrLimit, path, b.lim.Depth)
	case mode.IsDir():
		return b.folder(path, depth+1)
	case mode.IsRegular():
		f, err := os.Open(path)
		if err != nil {
			return nil, err
		}
		defer func() { _ = f.Close() }()
		e := &entry{path: path}
		if e.stamp, err = stampOf(f); err != nil {
			return nil, err
		}
		if err := b.file(e, contextReader{b.ctx, f}); err != nil {
			return nil, fmt.Errorf("%s: %w", path, err)
		}
		return e, nil
	}
	return nil, fmt.Errorf("%w: %s is a %s", ErrUnsupported, path, kindName(mode))
}

func kindName(mode fs.FileMode) string {
	switch {
	case mode&fs.ModeSymlink != 0:
		return "symlink"
	case mode&fs.ModeNamedPipe != 0:
		return "named pipe"
	case mode&fs.ModeSocket != 0:
		return "socket"
	}
	return "device or special file"
}

func (b *builder) file(e *entry, r io.Reader) error {
	if b.chunk == nil {
		b.chunk = make([]byte, chunkSize)
	}
	chunks := &splitter{r: r, buf: b.chunk, left: b.lim.Bytes - b.src.bytes}
	params := helpers.DagBuilderParams{
		Maxlinks: helpers.DefaultLinksPerBlock, RawLeaves: true, CidBuilder: innerPrefix, Dagserv: b.src.inner,
	}
	db, err := params.New(chunks)
	if err != nil {
		return err
	}
	node, err := balanced.Layout(db)
	if err != nil {
		return err
	}
	if e.size, err = node.Size(); err != nil {
		return err
	}
	e.cid, e.length = node.Cid(), chunks.read
	b.src.bytes += chunks.read
	b.src.files++
	return nil
}

func (b *builder) folder(path string, depth int) (*entry, error) {
	names, err := os.ReadDir(path) // sorted by name
	if err != nil {
		return nil, err
	}
	e := &entry{dir: true, children: make(map[string]*entry, len(names))}
	estimate := 0
	for _, d := range names {
		if err := checkName(d.Name(), b.lim.Name); err != nil {
			return nil, fmt.Errorf("%s: %w", path, err)
		}
		child, err := b.build(filepath.Join(path, d.Name()), d.Type(), depth)
		if err != nil {
			return nil, err
		}
		e.children[d.Name()] = child
		estimate += len(d.Name()) + 56 // a link: CID, sizes and protobuf framing
	}
	node, err := b.folderNode(names, e.children, estimate)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	if err := b.src.inner.Add(b.ctx, node); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	e.cid = node.Cid()
	e.size, err = node.Size()
	return e, err
}

func (b *builder) folderNode(names []fs.DirEntry, children map[string]*entry, estimate int) (ipld.Node, error) {
	if estimate > shardAbove {
		shard, err := hamt.NewShard(b.src.inner, shardFanout)
		if err != nil {
			return nil, err
		}
		shard.SetCidBuilder(innerPrefix)
		for _, d := range names {
			c := children[d.Name()]
			if err := shard.SetLink(b.ctx, d.Name(), &ipld.Link{Name: d.Name(), Size: c.size, Cid: c.cid}); err != nil {
				return nil, err
			}
		}
		return shard.Node()
	}
	node := unixfs.EmptyDirNode()
	if err := node.SetCidBuilder(innerPrefix); err != nil {
		return nil, err
	}
	for _, d := range names {
		c := children[d.Name()]
		if err := node.AddRawLink(d.Name(), &ipld.Link{Size: c.size, Cid: c.cid}); err != nil {
			return nil, err
		}
	}
	return node, nil
}

// innerNodes keeps the encoded inner nodes of a DAG under construction and lets
// the leaves go. It is all of a DAGService that building needs.
type innerNodes map[cid.Cid][]byte

// Add implements ipld.DAGService.
func (n innerNodes) Add(_ context.Context, node ipld.Node) error {
	if p, ok := node.(*merkledag.ProtoNode); ok {
		if raw := p.RawData(); len(raw) <= maxInner {
			n[p.Cid()] = raw
		} else {
			return fmt.Errorf("%w: inner node of %d bytes, at most %d", ErrLimit, len(raw), maxInner)
		}
	}
	return nil
}

// AddMany implements ipld.DAGService.
func (n innerNodes) AddMany(ctx context.Context, nodes []ipld.Node) error {
	for _, node := range nodes {
		if err := n.Add(ctx, node); err != nil {
			return err
		}
	}
	return nil
}

// Get implements ipld.DAGService, for inner nodes.
func (n innerNodes) Get(_ context.Context, c cid.Cid) (ipld.Node, error) {
	raw, ok := n[c]
	if !ok {
		return nil, ipld.ErrNotFound{Cid: c}
	}
	return merkledag.DecodeProtobuf(raw)
}

var errBuildOnly = errors.New("not needed to build a dag")

// GetMany implements ipld.DAGService.
func (innerNodes) GetMany(context.Context, []cid.Cid) <-chan *ipld.NodeOption {
	out := make(chan *ipld.NodeOption, 1)
	out <- &ipld.NodeOption{Err: errBuildOnly}
	close(out)
	return out
}

// Remove implements ipld.DAGService.
func (innerNodes) Remove(context.Context, cid.Cid) error { return errBuildOnly }

// RemoveMany implements ipld.DAGService.
func (innerNodes) RemoveMany(context.Context, []cid.Cid) error { return errBuildOnly }

// splitter cuts a file into leaves. It hands out the same buffer each time: the
// layout names a leaf as soon as it has it, and innerNodes lets it go. (boxo's own
// splitter allocates a whole chunk for every file, however small.)
type splitter struct {
	r          io.Reader
	buf        []byte
	read, left uint64
}

var _ chunker.Splitter = (*splitter)(nil)

// Reader implements chunker.Splitter.
func (s *splitter) Reader() io.Reader { return s.r }

// NextBytes implements chunker.Splitter.
func (s *splitter) NextBytes() ([]byte, error) {
	n, err := io.ReadFull(s.r, s.buf)
	if n == 0 {
		return nil, err // io.EOF at the end
	}
	if err != nil && !errors.Is(err, io.ErrUnexpectedEOF) {
		return nil, err
	}
	if s.read += uint64(n); s.read > s.left {
		return nil, fmt.Errorf("%w: more bytes than allowed", ErrLimit)
	}
	return s.buf[:n], nil
}

// contextReader makes a long read of a large file end with its context.
type contextReader struct {
	ctx context.Context
	r   io.Reader
}

func (c contextReader) Read(p []byte) (int, error) {
	if err := c.ctx.Err(); err != nil {
		return 0, err
	}
	return c.r.Read(p)
}
