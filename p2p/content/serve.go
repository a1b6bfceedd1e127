package content

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"sync"
	"time"

	"github.com/ipfs/boxo/ipld/merkledag"
	"github.com/ipfs/boxo/ipld/unixfs"
	"github.com/ipfs/go-cid"
	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/moyai-network/moyai/p2p"
)

const (
	maxGet    = 10 << 10
	maxAnswer = 256
	maxScope  = 64

	// blockTimeout is how long one block (1 MiB, mostly) may take, either way: a
	// line of 20 kB/s passes, a peer that stalls does not.
	blockTimeout = time.Minute

	// maxTransfers bounds how many transfers a Server runs at once, since each
	// holds a file and a buffer.
	maxTransfers = 64
)

// Get asks for a DAG.
type Get struct {
	// Scope is what the content was added under: the order's hash.
	Scope []byte `cbor:"1,keyasint"`
	// Root is the wanted CID's bytes.
	Root []byte `cbor:"2,keyasint"`
	// Access is a signed wire.Access for the order, or empty where the peer's
	// identity is enough.
	Access []byte `cbor:"3,keyasint,omitempty"`
}

// Validate implements p2p.Message.
func (g *Get) Validate() error {
	switch {
	case len(g.Scope) == 0 || len(g.Scope) > maxScope:
		return fmt.Errorf("scope has %d bytes, want 1 to %d", len(g.Scope), maxScope)
	case len(g.Access) > p2p.MaxSigned:
		return fmt.Errorf("access has %d bytes, at most %d", len(g.Access), p2p.MaxSigned)
	}
	_, err := ParseRoot(g.Root)
	return err
}

type status uint64

const (
	statusOK status = iota
	statusUnauthorized
	statusNotFound
	statusBusy
)

// answer precedes the CAR stream, which follows only statusOK.
type answer struct {
	Status status `cbor:"1,keyasint"`
	Bytes  uint64 `cbor:"2,keyasint,omitempty"` // sum of file lengths, as claimed
}

// Validate implements p2p.Message.
func (a *answer) Validate() error {
	if a.Status > statusBusy {
		return fmt.Errorf("unknown status %d", a.Status)
	}
	return nil
}

func (a *answer) err() error {
	return [...]error{nil, ErrUnauthorized, ErrNotFound, ErrBusy}[a.Status]
}

// Authorizer decides whether remote may have what it asks for; nil admits. The
// reason is logged here and not told to the remote, who learns only
// ErrUnauthorized, or ErrBusy if it was that: to be asked again.
type Authorizer func(ctx context.Context, remote peer.ID, get Get) error

// Server answers Gets on a host, from the sources it was given.
type Server struct {
	may    Authorizer
	remove func()
	slots  chan struct{}
	onFail func(remote peer.ID, err error)

	mu      sync.Mutex
	sources map[string]map[cid.Cid]*Source // by scope, by root
}

// Serve starts answering on h. One Server per host.
func Serve(h *p2p.Host, may Authorizer) *Server {
	s := &Server{
		may: may, slots: make(chan struct{}, maxTransfers),
		sources: make(map[string]map[cid.Cid]*Source),
		onFail:  func(peer.ID, error) {},
	}
	s.remove = h.Handle(p2p.ContentProtocol, s.handle)
	return s
}

// OnFail sets a function that is told of every transfer that was refused or
// failed, for the log. Call it before the first Add.
func (s *Server) OnFail(fn func(remote peer.ID, err error)) { s.onFail = fn }

// Add offers a source under a scope until Remove; adding it again is harmless.
func (s *Server) Add(scope []byte, src *Source) {
	s.mu.Lock()
	defer s.mu.Unlock()
	roots := s.sources[string(scope)]
	if roots == nil {
		roots = make(map[cid.Cid]*Source)
		s.sources[string(scope)] = roots
	}
	roots[src.Root()] = src
}

// Remove withdraws everything under a scope. Transfers under way go on, and fail
// if their files go away.
func (s *Server) Remove(scope []byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.sources, string(scope))
}

// Close stops answering new Gets.
func (s *Server) Close() { s.remove() }

func (s *Server) find(scope []byte, root cid.Cid) *Source {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.sources[string(scope)][root]
}

func (s *Server) handle(ctx context.Context, stream *p2p.Stream) {
	if err := s.serve(ctx, stream); err != nil {
		stream.Reset()
		s.onFail(stream.Peer(), err)
		return
	}
	_ = stream.Close()
}

func (s *Server) serve(ctx context.Context, stream *p2p.Stream) error {
	var get Get
	if err := stream.Recv(maxGet, p2p.FrameTimeout, &get); err != nil {
		return err
	}
	select {
	case s.slots <- struct{}{}:
		defer func() { <-s.slots }()
	default:
		return s.refuse(stream, statusBusy, ErrBusy)
	}
	// Permission first, so that a stranger cannot learn what is here.
	err := s.may(ctx, stream.Peer(), get)
	if errors.Is(err, ErrBusy) {
		return s.refuse(stream, statusBusy, err)
	}
	if err != nil {
		return s.refuse(stream, statusUnauthorized, fmt.Errorf("%w: %w", ErrUnauthorized, err))
	}
	root, err := ParseRoot(get.Root)
	if err != nil {
		return err
	}
	src := s.find(get.Scope, root)
	if src == nil {
		return s.refuse(stream, statusNotFound, ErrNotFound)
	}
	if err := stream.Send(maxAnswer, &answer{Status: statusOK, Bytes: src.Size()}); err != nil {
		return err
	}
	raw := stream.Raw()
	return src.writeCAR(ctx, deadlineWriter{raw, raw.SetWriteDeadline})
}

// refuse tells the remote and returns why for the log. The stream is closed in
// order, not reset, or the answer could be lost.
func (s *Server) refuse(stream *p2p.Stream, st status, why error) error {
	if err := stream.Send(maxAnswer, &answer{Status: st}); err != nil {
		return errors.Join(why, err)
	}
	s.onFail(stream.Peer(), why)
	return nil
}

// deadlineWriter gives every write its own deadline.
type deadlineWriter struct {
	w   io.Writer
	set func(time.Time) error
}

func (d deadlineWriter) Write(p []byte) (int, error) {
	_ = d.set(time.Now().Add(blockTimeout))
	return d.w.Write(p)
}

// WriteCAR writes the whole DAG as CARv1, depth first, repeated blocks repeated.
// Errors: ErrChanged, named; ctx's, the file system's or w's.
func (s *Source) WriteCAR(ctx context.Context, w io.Writer) error { return s.writeCAR(ctx, w) }

func (s *Source) writeCAR(ctx context.Context, w io.Writer) error {
	c := carWriter{ctx: ctx, w: w, src: s, buf: make([]byte, 0, carBuffer)}
	if _, err := w.Write(carHeader(s.root.cid)); err != nil {
		return err
	}
	if err := c.entry(s.root); err != nil {
		return err
	}
	return c.flush()
}

// carBuffer gathers small blocks, of folders with many small files, into one
// write.
const carBuffer = chunkSize + 1024

// carWriter walks a Source and writes its blocks.
type carWriter struct {
	ctx context.Context
	w   io.Writer
	src *Source
	buf []byte // blocks not yet written
}

func (c *carWriter) flush() error {
	if err := c.ctx.Err(); err != nil {
		return err
	}
	_, err := c.w.Write(c.buf)
	c.buf = c.buf[:0]
	return err
}

// section reserves room for a block of n bytes and returns it to be filled.
func (c *carWriter) section(id cid.Cid, n int) ([]byte, error) {
	name := id.Bytes()
	if len(c.buf)+binary.MaxVarintLen64+len(name)+n > cap(c.buf) {
		if err := c.flush(); err != nil {
			return nil, err
		}
	}
	c.buf = binary.AppendUvarint(c.buf, uint64(len(name)+n))
	c.buf = append(c.buf, name...)
	at := len(c.buf)
	c.buf = c.buf[:at+n] // within its capacity, or it would have been flushed
	return c.buf[at:], nil
}

func (c *carWriter) innerBlock(id cid.Cid) (*merkledag.ProtoNode, error) {
	raw, ok := c.src.inner[id]
	if !ok {
		return nil, fmt.Errorf("source lacks its own node %s", id)
	}
	room, err := c.section(id, len(raw))
	if err != nil {
		return nil, err
	}
	copy(room, raw)
	return merkledag.DecodeProtobuf(raw)
}

func (c *carWriter) entry(e *entry) error {
	if e.dir {
		return c.folder(e, e.cid)
	}
	return c.file(e)
}

func (c *carWriter) folder(e *entry, id cid.Cid) error {
	node, err := c.innerBlock(id)
	if err != nil {
		return err
	}
	fsNode, err := unixfs.FSNodeFromBytes(node.Data())
	if err != nil {
		return err
	}
	sharded := fsNode.Type() == unixfs.THAMTShard
	for _, link := range node.Links() {
		name := link.Name
		if sharded {
			if name = name[shardPrefix:]; name == "" {
				if err := c.folder(e, link.Cid); err != nil {
					return err
				}
				continue
			}
		}
		if err := c.entry(e.children[name]); err != nil {
			return err
		}
	}
	return nil
}

func (c *carWriter) file(e *entry) error {
	if e.path == "" {
		return c.fileNode(&leafReader{r: bytes.NewReader(e.data), left: e.length}, e.cid)
	}
	f, err := os.Open(e.path)
	if errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("%w: %s is gone", ErrChanged, e.path)
	}
	if err != nil {
		return fmt.Errorf("serve content: %w", err)
	}
	defer func() { _ = f.Close() }()
	if err := e.unchanged(f); err != nil {
		return err
	}
	if err := c.fileNode(&leafReader{r: f, left: e.length}, e.cid); err != nil {
		return fmt.Errorf("%s: %w", e.path, err)
	}
	// What was read last may still wait in c.buf, and must not leave if it is wrong.
	return e.unchanged(f)
}

func (e *entry) unchanged(f *os.File) error {
	now, err := stampOf(f)
	if err != nil {
		return fmt.Errorf("serve content: %w", err)
	}
	if now.size != e.stamp.size || !now.modified.Equal(e.stamp.modified) {
		return fmt.Errorf("%w: %s", ErrChanged, e.path)
	}
	return nil
}

func (c *carWriter) fileNode(leaves *leafReader, id cid.Cid) error {
	if id.Prefix().Codec == cid.Raw {
		room, err := c.section(id, int(min(leaves.left, chunkSize)))
		if err != nil {
			return err
		}
		return leaves.next(room)
	}
	node, err := c.innerBlock(id)
	if err != nil {
		return err
	}
	for _, link := range node.Links() {
		if err := c.fileNode(leaves, link.Cid); err != nil {
			return err
		}
	}
	return nil
}

// leafReader reads a file's leaves again, in order.
type leafReader struct {
	r    io.Reader
	left uint64
}

func (l *leafReader) next(room []byte) error {
	_, err := io.ReadFull(l.r, room)
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return fmt.Errorf("%w: it is shorter", ErrChanged)
	}
	if err != nil {
		return fmt.Errorf("serve content: %w", err)
	}
	l.left -= uint64(len(room))
	return nil
}
