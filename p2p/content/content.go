// Package content moves files and folders between the two ends of a lease as
// content-addressed DAGs: UnixFS nodes, sent depth-first as a CARv1 stream, and
// verified block by block against the identifier that the receiver asked for.
//
// The receiver walks the DAG as it arrives, so it knows which block must come
// next; it holds one path of inner nodes in memory and writes leaves straight to
// their file. Repeated blocks are sent again, never remembered. Anything that is
// not the expected block ends the transfer, and nothing is left at the
// destination.
//
// It announces nothing to a DHT, keeps no block store, serves only what was added
// to a Server and only to those whom the Authorizer admits, and carries neither
// symlinks nor owners, times and modes of files.
package content

import (
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/ipfs/go-cid"
	mh "github.com/multiformats/go-multihash"
)

// What a transfer may fail with, besides the errors of the network and of the
// file system.
var (
	// ErrUnauthorized: the holder's Authorizer refused this peer.
	ErrUnauthorized = errors.New("not allowed to fetch this")
	// ErrNotFound: the holder has nothing under this scope and root.
	ErrNotFound = errors.New("content is not there")
	// ErrBusy: the holder serves as many transfers as it can, or is only starting; try
	// again.
	ErrBusy = errors.New("holder is busy")
	// ErrMismatch: a block was not the one that the identifier demands. The sender
	// has been struck.
	ErrMismatch = errors.New("received block does not match its identifier")
	// ErrLimit: more bytes, entries, depth or longer names than Limits allow.
	ErrLimit = errors.New("content exceeds what is allowed")
	// ErrUnsupported: a symlink, device, hostile name or unknown kind of node.
	ErrUnsupported = errors.New("content is not made of plain files and folders")
	// ErrExists: the destination is already there; nothing was fetched.
	ErrExists = errors.New("destination already exists")
	// ErrDiskFull: no space (or quota) left at the destination.
	ErrDiskFull = errors.New("disk is full")
	// ErrChanged: a file is no longer what it was when the Source was built.
	ErrChanged = errors.New("file changed after its identifier was made")
)

const (
	// chunkSize is the length of a leaf. Large, because every leaf costs a frame
	// and a hash start; small enough that a few in flight do not matter.
	chunkSize = 1 << 20
	// maxLeaf bounds a leaf that others made.
	maxLeaf = 2 << 20
	// maxInner bounds an inner node. Ours stay below 300 KiB, since larger folders
	// are sharded.
	maxInner = 512 << 10
	// shardAbove is the estimated size from which a folder is sharded.
	shardAbove = 256 << 10
	// shardFanout is the only one accepted, and the one everybody uses.
	shardFanout = 256
	// shardPrefix is the length of the hexadecimal slot before a shard's names.
	shardPrefix = 2
)

// leafPrefix and innerPrefix say how blocks are named: CIDv1, SHA-256.
var (
	leafPrefix  = cid.Prefix{Version: 1, Codec: cid.Raw, MhType: mh.SHA2_256, MhLength: 32}
	innerPrefix = cid.Prefix{Version: 1, Codec: cid.DagProtobuf, MhType: mh.SHA2_256, MhLength: 32}
)

// ParseRoot reads a CID's bytes and refuses what this package does not carry.
func ParseRoot(b []byte) (cid.Cid, error) {
	c, err := cid.Cast(b)
	if err != nil {
		return cid.Undef, fmt.Errorf("content identifier: %w", err)
	}
	return c, checkCID(c)
}

func checkCID(c cid.Cid) error {
	if p := c.Prefix(); p != leafPrefix && p != innerPrefix {
		return fmt.Errorf("%w: identifier %s is not a CIDv1 of a raw or dag-pb block with SHA-256", ErrUnsupported, c)
	}
	return nil
}

// carHeader is the only CARv1 header there can be for one root: the dag-cbor map
// {"roots": [root], "version": 1} behind its length. The receiver compares bytes
// instead of decoding.
func carHeader(root cid.Cid) []byte {
	link := append([]byte{0}, root.Bytes()...) // dag-cbor puts a zero before a CID's bytes
	body := []byte("\xa2\x65roots\x81\xd8\x2a\x58")
	body = append(append(body, byte(len(link))), link...)
	body = append(body, "\x67version\x01"...)
	return append(binary.AppendUvarint(nil, uint64(len(body))), body...)
}
