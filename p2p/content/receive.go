package content

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"

	"github.com/ipfs/boxo/ipld/merkledag"
	"github.com/ipfs/boxo/ipld/unixfs"
	"github.com/ipfs/go-cid"
)

// sink is where verified bytes go. Paths are relative, slash-separated and made
// of checked names.
type sink interface {
	mkdir(path string) error
	create(path string) (io.WriteCloser, error)
}

// carReader is what the receiver reads from.
type carReader interface {
	io.Reader
	io.ByteReader
}

// receiver walks the DAG of a CARv1 stream in the order in which Source.WriteCAR
// writes it, and trusts nothing in it.
type receiver struct {
	ctx      context.Context
	in       carReader
	patience func() // called before each block: renews the read deadline
	lim      Limits
	to       sink
	progress func(written uint64)

	received uint64 // bytes of blocks, with their framing
	written  uint64 // bytes of files
	entries  int
	held     int    // bytes of the inner nodes on the path to the current block
	name     []byte // scratch for a section's CID
	leaf     []byte // scratch for a leaf
}

const (
	// maxHeld bounds the inner nodes on one path.
	maxHeld = 8 << 20
	// maxFileDepth bounds the tree of one file: 174⁴ leaves are 900 TiB.
	maxFileDepth = 8
	// maxShardDepth bounds the tree of one folder: names' hashes have 64 bits, of
	// which every level uses 8.
	maxShardDepth = 9
)

// receive reads the DAG of root into the sink, as name. Whatever follows the last
// block is not read.
func (r *receiver) receive(root cid.Cid, name string) error {
	want := carHeader(root)
	got := make([]byte, len(want))
	r.patience()
	if _, err := io.ReadFull(r.in, got); err != nil {
		return fmt.Errorf("read header: %w", err)
	}
	if !bytes.Equal(got, want) {
		return fmt.Errorf("%w: stream is not a CARv1 of %s", ErrMismatch, root)
	}
	return r.tree(root, name, 0)
}

// tree receives the file or folder whose first block is want.
func (r *receiver) tree(want cid.Cid, at string, depth int) error {
	if r.entries++; r.entries > r.lim.Entries {
		return fmt.Errorf("%w: more than %d files and folders", ErrLimit, r.lim.Entries)
	}
	if err := checkCID(want); err != nil {
		return fmt.Errorf("%s: %w", at, err)
	}
	if want.Prefix().Codec == cid.Raw {
		return r.file(at, func(w io.Writer) error { return r.leafBlock(want, w, true) })
	}
	n, err := r.innerBlock(want)
	if err != nil {
		return fmt.Errorf("%s: %w", at, err)
	}
	defer r.release(n)
	switch n.fs.Type() {
	case unixfs.TFile, unixfs.TRaw:
		if left := r.lim.Bytes - r.written; n.fs.FileSize() > left {
			return fmt.Errorf("%w: %s claims %d bytes, %d more are allowed", ErrLimit, at, n.fs.FileSize(), left)
		}
		before := r.written
		err := r.file(at, func(w io.Writer) error { return r.fileNode(n, w, 1) })
		if err == nil && r.written-before != n.fs.FileSize() {
			err = fmt.Errorf("%w: %s has %d bytes but claims %d", ErrUnsupported, at, r.written-before, n.fs.FileSize())
		}
		return err
	case unixfs.TDirectory, unixfs.THAMTShard:
		if depth >= r.lim.Depth {
			return fmt.Errorf("%w: %s is nested deeper than %d folders", ErrLimit, at, r.lim.Depth)
		}
		if err := r.to.mkdir(at); err != nil {
			return occupied(at, err)
		}
		if n.fs.Type() == unixfs.THAMTShard {
			return r.shard(n, at, depth+1, 1)
		}
		return r.folder(n, at, depth+1)
	}
	return fmt.Errorf("%w: %s is a %s", ErrUnsupported, at, n.fs.Type())
}

func (r *receiver) folder(n *innerNode, at string, depth int) error {
	for _, link := range n.node.Links() {
		if err := checkName(link.Name, r.lim.Name); err != nil {
			return fmt.Errorf("%s: %w", at, err)
		}
		if err := r.tree(link.Cid, path.Join(at, link.Name), depth); err != nil {
			return err
		}
	}
	return nil
}

func (r *receiver) shard(n *innerNode, at string, depth, level int) error {
	if n.fs.Fanout() != shardFanout || level > maxShardDepth {
		return fmt.Errorf("%w: %s is a folder sharded in an unknown way", ErrUnsupported, at)
	}
	for _, link := range n.node.Links() {
		if len(link.Name) < shardPrefix {
			return fmt.Errorf("%w: %s is a folder sharded in an unknown way", ErrUnsupported, at)
		}
		if name := link.Name[shardPrefix:]; name != "" {
			if err := checkName(name, r.lim.Name); err != nil {
				return fmt.Errorf("%s: %w", at, err)
			}
			if err := r.tree(link.Cid, path.Join(at, name), depth); err != nil {
				return err
			}
			continue
		}
		if err := r.subshard(link.Cid, at, depth, level+1); err != nil {
			return err
		}
	}
	return nil
}

func (r *receiver) subshard(want cid.Cid, at string, depth, level int) error {
	n, err := r.innerBlock(want)
	if err != nil {
		return fmt.Errorf("%s: %w", at, err)
	}
	defer r.release(n)
	if n.fs.Type() != unixfs.THAMTShard {
		return fmt.Errorf("%w: %s has a shard that is a %s", ErrUnsupported, at, n.fs.Type())
	}
	return r.shard(n, at, depth, level)
}

// file creates a file and lets fill write it.
func (r *receiver) file(at string, fill func(io.Writer) error) error {
	w, err := r.to.create(at)
	if err != nil {
		return occupied(at, err)
	}
	if err := errors.Join(fill(w), w.Close()); err != nil {
		return fmt.Errorf("%s: %w", at, err)
	}
	return nil
}

func (r *receiver) fileNode(n *innerNode, w io.Writer, level int) error {
	if level > maxFileDepth {
		return fmt.Errorf("%w: file's tree is deeper than %d", ErrUnsupported, maxFileDepth)
	}
	// Others put data into inner nodes; we never do.
	if data := n.fs.Data(); len(data) > 0 {
		if err := r.write(w, data); err != nil {
			return err
		}
	}
	for _, link := range n.node.Links() {
		if err := r.fileChild(link.Cid, w, level); err != nil {
			return err
		}
	}
	return nil
}

func (r *receiver) fileChild(want cid.Cid, w io.Writer, level int) error {
	if err := checkCID(want); err != nil {
		return err
	}
	if want.Prefix().Codec == cid.Raw {
		return r.leafBlock(want, w, false)
	}
	n, err := r.innerBlock(want)
	if err != nil {
		return err
	}
	defer r.release(n)
	if t := n.fs.Type(); t != unixfs.TFile && t != unixfs.TRaw {
		return fmt.Errorf("%w: a %s within a file", ErrUnsupported, t)
	}
	return r.fileNode(n, w, level+1)
}

// innerNode is a decoded node that is held while its children are received.
type innerNode struct {
	node *merkledag.ProtoNode
	fs   *unixfs.FSNode
	size int
}

func (r *receiver) release(n *innerNode) { r.held -= n.size }

func (r *receiver) innerBlock(want cid.Cid) (*innerNode, error) {
	if err := checkCID(want); err != nil {
		return nil, err
	}
	if want.Prefix().Codec != cid.DagProtobuf {
		return nil, fmt.Errorf("%w: a leaf where a node belongs", ErrUnsupported)
	}
	raw, err := r.block(want, maxInner, nil)
	if err != nil {
		return nil, err
	}
	if r.held+len(raw) > maxHeld {
		return nil, fmt.Errorf("%w: nested nodes of more than %d bytes", ErrLimit, maxHeld)
	}
	node, err := merkledag.DecodeProtobuf(raw)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrUnsupported, err)
	}
	fsNode, err := unixfs.FSNodeFromBytes(node.Data())
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrUnsupported, err)
	}
	r.held += len(raw)
	return &innerNode{node, fsNode, len(raw)}, nil
}

// leafBlock receives a leaf into w. An empty one is only good as a whole file:
// elsewhere it would be a way to send forever without writing anything.
func (r *receiver) leafBlock(want cid.Cid, w io.Writer, wholeFile bool) error {
	data, err := r.block(want, maxLeaf, &r.leaf)
	if err != nil {
		return err
	}
	if len(data) == 0 && !wholeFile {
		return fmt.Errorf("%w: empty leaf within a file", ErrUnsupported)
	}
	return r.write(w, data)
}

func (r *receiver) write(w io.Writer, data []byte) error {
	if left := r.lim.Bytes - r.written; uint64(len(data)) > left {
		return fmt.Errorf("%w: more than %d bytes", ErrLimit, r.lim.Bytes)
	}
	if _, err := w.Write(data); err != nil {
		return err
	}
	r.written += uint64(len(data))
	r.progress(r.written)
	return nil
}

// block reads the next section, which must be want with at most limit bytes, into
// scratch (or fresh memory), and verifies it.
func (r *receiver) block(want cid.Cid, limit int, scratch *[]byte) ([]byte, error) {
	if err := r.ctx.Err(); err != nil {
		return nil, err
	}
	r.patience()
	name := want.Bytes()
	n, err := readLength(r.in, uint64(len(name)), uint64(len(name)+limit))
	if err != nil {
		return nil, fmt.Errorf("block %s: %w", want, err)
	}
	if r.received += n; r.received > r.lim.received() {
		return nil, fmt.Errorf("%w: more than %d bytes of blocks", ErrLimit, r.lim.received())
	}
	r.name = sized(r.name, len(name))
	if _, err := io.ReadFull(r.in, r.name); err != nil {
		return nil, fmt.Errorf("block %s: %w", want, cut(err))
	}
	if !bytes.Equal(r.name, name) {
		return nil, fmt.Errorf("%w: another block where %s belongs", ErrMismatch, want)
	}
	var fresh []byte
	if scratch == nil {
		scratch = &fresh
	}
	*scratch = sized(*scratch, int(n)-len(name))
	if _, err := io.ReadFull(r.in, *scratch); err != nil {
		return nil, fmt.Errorf("block %s: %w", want, cut(err))
	}
	if !matches(want, *scratch) {
		return nil, fmt.Errorf("%w: %s", ErrMismatch, want)
	}
	return *scratch, nil
}

// readLength reads a section's varint length and holds it to its bounds before
// anything is allocated for it.
func readLength(in io.ByteReader, low, high uint64) (uint64, error) {
	var n uint64
	for shift := 0; shift < 28; shift += 7 {
		b, err := in.ReadByte()
		if err != nil {
			return 0, cut(err)
		}
		n |= uint64(b&0x7f) << shift
		if b >= 0x80 {
			continue
		}
		if n < low || n > high {
			return 0, fmt.Errorf("%w: %d bytes announced, want %d to %d", ErrMismatch, n, low, high)
		}
		return n, nil
	}
	return 0, fmt.Errorf("%w: length does not end", ErrMismatch)
}

// matches reports whether data is the block that id names; id passed checkCID.
func matches(id cid.Cid, data []byte) bool {
	sum := sha256.Sum256(data)
	digest := id.Hash()
	return bytes.Equal(digest[len(digest)-sha256.Size:], sum[:])
}

// sized returns a slice of n bytes, b's own memory if it suffices.
func sized(b []byte, n int) []byte {
	if cap(b) < n {
		return make([]byte, n)
	}
	return b[:n]
}

// cut says that the stream ended where it may not.
func cut(err error) error {
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}

// occupied blames the DAG for a name it uses twice.
func occupied(at string, err error) error {
	if errors.Is(err, fs.ErrExist) {
		return fmt.Errorf("%w: two entries are called %s here", ErrUnsupported, at)
	}
	return err
}
