// Package content moves files and folders between the two ends of a lease as
// content-addressed DAGs: UnixFS nodes, sent depth-first as a CARv1 stream, and
// verified block by block against the identifier the receiver asked for.
//
// The receiver walks the DAG as it arrives, so it knows which block must come
// next, holds one path of inner nodes in memory, and writes leaves straight to
// their file. Repeated blocks are sent again, never remembered. Anything that is
// not the expected block ends the transfer, and nothing is left at the
// destination.
//
// It announces nothing to a DHT, keeps no block store, serves only what was added
// to a Server for those whom the Authorizer admits, and knows neither symlinks nor
// file modes.
package content

import (
	"context"
	"errors"
	"io"

	"github.com/ipfs/go-cid"
	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/moyai-network/moyai/p2p"
)

// What a transfer may fail with, besides the network's and the file system's
// errors.
var (
	ErrUnauthorized = errors.New("peer is not allowed to fetch this")
	ErrNotFound     = errors.New("content is not here")
	ErrMismatch     = errors.New("received block does not match its identifier")
	ErrLimit        = errors.New("content exceeds what was allowed")
	ErrUnsupported  = errors.New("content is not a plain file or folder")
	ErrExists       = errors.New("destination already exists")
	ErrDiskFull     = errors.New("disk is full")
	ErrChanged      = errors.New("file changed while it was being served")
)

// Source is a file or folder that can be served. Its inner nodes are in memory,
// its leaves are read again from disk when they are sent.
type Source struct {
	root  cid.Cid
	size  uint64
	files int
}

// Root is the content's identifier.
func (s *Source) Root() cid.Cid { return s.root }

// Size is the sum of the files' sizes, in bytes.
func (s *Source) Size() uint64 { return s.size }

// Files is the number of files; a single file counts as one.
func (s *Source) Files() int { return s.files }

// Build makes a Source of the file or folder at path, reading it once. Symlinks,
// devices and the like are ErrUnsupported, named by path.
func Build(ctx context.Context, path string) (*Source, error) { return nil, errors.ErrUnsupported }

// BuildBytes makes a Source of a file held in memory.
func BuildBytes(b []byte) (*Source, error) { return nil, errors.ErrUnsupported }

// Limits bound what a receiver accepts. EnsureDefaults fills zero fields.
type Limits struct {
	Bytes   uint64 // sum of file sizes
	Entries int    // files and folders
	Depth   int    // nesting of folders
	Name    int    // bytes of one name
}

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

// Authorizer decides whether remote may have what it asks for. A nil error
// admits; the error's text is logged here and not told to the remote.
type Authorizer func(ctx context.Context, remote peer.ID, get Get) error

// Server answers Gets on a host.
type Server struct{}

// Serve starts answering on h.
func Serve(h *p2p.Host, may Authorizer) *Server { return &Server{} }

// Add offers a source under a scope until Remove; adding it again is harmless.
func (s *Server) Add(scope []byte, src *Source) {}

// Remove withdraws everything under a scope. Transfers under way go on.
func (s *Server) Remove(scope []byte) {}

// Close stops answering.
func (s *Server) Close() {}

// Fetch gets get.Root from a peer and puts the file or folder at dest, which must
// not exist: it is written as dest+".partial" and renamed when every block was
// verified. On any error nothing is left. progress, if not nil, is called with the
// file bytes written so far.
func Fetch(ctx context.Context, h *p2p.Host, from peer.AddrInfo, get Get, dest string, lim Limits, progress func(written uint64)) error {
	return errors.ErrUnsupported
}

// FetchBytes gets a file of at most limit bytes into memory.
func FetchBytes(ctx context.Context, h *p2p.Host, from peer.AddrInfo, get Get, limit int) ([]byte, error) {
	return nil, io.ErrUnexpectedEOF
}
